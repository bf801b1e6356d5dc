"""Hostile files: models that lie, and honest ones that were cut, bitten, or whose weights lie where they must not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
from hostile.lies import all_lies, model, node, tensor
from models import cnn, mlp, transformer_block
from onnx import ModelProto, TensorProto

SEED = 4
HONEST: dict[str, Callable[[], ModelProto]] = {"mlp": lambda: mlp(2), "cnn": cnn, "transformer": transformer_block}


def write_all(folder: Path) -> dict[str, Path]:
    """Writes every file; by name. Those of lies begin with `lie_`: they must be refused."""
    found: dict[str, Path] = {}
    for name, data in (*_lies(), *_cut(), *_bitten(), *_no_models()):
        found[name] = folder / f"{name}.onnx"
        found[name].write_bytes(data)
    for name, made in _external(folder):
        found[name] = folder / f"{name}.onnx"
        onnx.save(made, found[name])
    return found


ODD = (
    "if_outputs", "nan_alpha", "nan_epsilon", "trilu", "loop_minus", "loop_forever", "loop_long", "tensor_both",
    "constant_both", "many_operands", "rank_70", "shadow_itself", "shadow_argument", "noted_sequence", "noted_ghost",
)  # fmt: skip
"""Strange, and no lies: they may run or be refused."""


def _lies() -> Iterator[tuple[str, bytes]]:
    for name, made in all_lies().items():
        yield f"{'odd' if name in ODD else 'lie'}_{name}", made.SerializeToString()
    for levels in (1000, 3000):
        yield f"lie_nested_{levels}", _nested(levels)


def _cut() -> Iterator[tuple[str, bytes]]:
    """Honest models that end early."""
    drawn = random.Random(SEED)
    for name, made in HONEST.items():
        data = made().SerializeToString()
        for at in range(15):
            yield f"cut_{name}_{at}", data[: drawn.randrange(1, len(data))]


def _bitten() -> Iterator[tuple[str, bytes]]:
    """Honest models of which a few bytes are others: most are no models any more, some are as good as before."""
    drawn = random.Random(SEED)
    for name, made in HONEST.items():
        data = made().SerializeToString()
        structure = [at for at in range(len(data)) if at < 400 or at > len(data) - 2500]
        for at in range(40):
            bitten = bytearray(data)
            for _ in range(drawn.choice((1, 1, 2, 5))):
                bitten[drawn.choice(structure)] = drawn.randrange(256)
            yield f"bitten_{name}_{at}", bytes(bitten)


def _no_models() -> Iterator[tuple[str, bytes]]:
    drawn = random.Random(SEED)
    yield "lie_empty", b""
    yield "lie_zeroes", bytes(1_000_000)
    yield "lie_noise", drawn.randbytes(100_000)
    yield "lie_text", b"PK\x03\x04" + b"no model\n" * 99
    yield "lie_tensor", tensor("w", [2], b"\0" * 8).SerializeToString()
    yield "lie_graph", mlp(2).graph.SerializeToString()
    yield "lie_no_output", _without_output()


def _without_output() -> bytes:
    made = model([node("Relu", "x")])
    del made.graph.output[:]
    return made.SerializeToString()


def _nested(levels: int) -> bytes:
    """A graph in a node's attribute, whose node has one, and so on: deeper than protobuf goes."""
    data = b""
    for _ in range(levels):
        attribute = _field(1, b"body") + _field(6, data) + b"\xa0\x01\x05"
        data = _field(1, _field(4, b"If") + _field(3, b"bad") + _field(5, attribute)) + _field(2, b"g")
    return b"\x08\x08" + _field(7, data) + _field(8, b"\x10\x12")


def _field(number: int, data: bytes) -> bytes:
    """A field of protobuf that holds bytes."""
    length, size = b"", len(data)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def _external(folder: Path) -> Iterator[tuple[str, ModelProto]]:
    """Weights in other files: outside of the model's folder, missing, or not of the size that they say."""
    inside = folder / "inside.bin"
    inside.write_bytes(bytes(64))
    outside = folder.parent / "outside.bin"
    outside.write_bytes(bytes(64))
    (folder / "link.bin").symlink_to(outside)
    (folder / "loop.bin").symlink_to(folder / "loop.bin")
    places = {
        "above": {"location": "../outside.bin"}, "absolute": {"location": str(outside)},
        "passwd": {"location": "/etc/passwd"}, "link": {"location": "link.bin"}, "loop": {"location": "loop.bin"},
        "around": {"location": f"inside/../../{folder.parent.name}/outside.bin"},
        "windows": {"location": "C:\\outside.bin"}, "missing": {"location": "missing.bin"},
        "nowhere": {}, "folder": {"location": "."}, "device": {"location": "/dev/zero"}, "null": {"location": "a\0b"},
        "long": {"location": "a" * 5000}, "behind": {"location": "inside.bin", "offset": "60"},
        "minus": {"location": "inside.bin", "offset": "-4"}, "far": {"location": "inside.bin", "offset": str(1 << 70)},
        "words": {"location": "inside.bin", "offset": "one"}, "length": {"location": "inside.bin", "length": "4"},
    }  # fmt: skip
    for name, entries in places.items():
        weight = TensorProto(name="w", dims=[2, 3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        for key, value in entries.items():
            weight.external_data.add(key=key, value=value)
        yield f"lie_external_{name}", model([node("Add", "x", "w")], {"w": weight})
