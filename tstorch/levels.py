"""The levels of the IR, and what may stand at each: the one table that `verify-level` checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, IntegerAttr, ModuleOp, StringAttr, i64

from tstorch.diagnostics import LevelError


class Level(StrEnum):
    """Where compilation can stop, in order. `ARTIFACT` is a file, the others are text."""

    ONNX = "onnx"
    PRIM = "prim"
    FLOW = "flow"
    LOOP = "loop"
    WGSL = "wgsl"
    BUF = "buf"
    ARTIFACT = "artifact"

    @property
    def order(self) -> int:
        """Position in the order of compilation, from 0."""
        return list(Level).index(self)


@dataclass(frozen=True)
class Legal:
    """One row: what the host's code and the kernels may hold at a level.

    An op is named by its dialect, or in full where only that op is legal. `elements` are the legal element types of
    tensors, as printed. `left_by` says which pass removes what is illegal at the next level.
    """

    host: frozenset[str]
    kernel: frozenset[str]
    elements: frozenset[str]
    left_by: Mapping[str, str]


# The ops whose body runs on the device: everything inside them is held against `Legal.kernel`.
KERNEL_OPS = frozenset({"flow.kernel", "loop.kernel", "wgsl.module"})

_FRAME = frozenset({"builtin", "func"})
# What the host's code may hold once kernels are formed: dispatches, data, and views of what stands in memory. Of
# constants only those without elements.
_DATA = frozenset({"prim.constant", "prim.weight", "prim.derived", "prim.reshape", "prim.slice", "prim.concatenate"})
_HOST = _FRAME | {"program", "flow.dispatch"} | _DATA

_INTEGERS = frozenset({"i1", "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64", "i4", "ui4", "i2", "ui2"})
_SMALL = frozenset({"bf16", "f8E4M3FN", "f8E4M3FNUZ", "f8E5M2", "f8E5M2FNUZ", "f8E8M0FNU", "f4E2M1FN"})
_ANY_ELEMENT = _INTEGERS | _SMALL | {"f16", "f32", "f64"}
_STORABLE = frozenset({"i1", "i8", "ui8", "i16", "ui16", "i32", "ui32", "f16", "f32"})
_SCALAR = ("arith", "math", "memref", "vector")

LEVELS: Mapping[Level, Legal] = {
    Level.ONNX: Legal(
        host=_FRAME | {"onnx", "program"},
        kernel=frozenset(),
        elements=_ANY_ELEMENT | {"!onnx.string"},
        left_by={},
    ),
    Level.PRIM: Legal(
        host=_FRAME | {"program", "prim"},
        kernel=frozenset(),
        elements=_ANY_ELEMENT,
        left_by={"onnx": "convert-onnx-to-prim"},
    ),
    Level.FLOW: Legal(
        host=_HOST | {"flow.kernel"},
        kernel=frozenset({"prim", "flow"}),
        elements=_STORABLE,
        left_by={"onnx": "convert-onnx-to-prim", "prim": "form-dispatch-regions", "element": "legalize-types"},
    ),
    Level.LOOP: Legal(
        host=_HOST | {"loop.kernel"},
        kernel=frozenset({"loop", *_SCALAR}),
        elements=_STORABLE,
        left_by={"prim": "convert-kernel-to-loop", "flow": "convert-kernel-to-loop", "element": "legalize-types"},
    ),
    Level.WGSL: Legal(
        host=_HOST | {"wgsl.module"},
        kernel=frozenset({"wgsl"}),
        elements=_STORABLE,
        left_by=dict.fromkeys(["loop", *_SCALAR], "convert-loop-to-wgsl") | {"flow": "convert-kernel-to-loop"},
    ),
    Level.BUF: Legal(
        host=_FRAME | {"program", "buf", "trace", "wgsl.module"},
        kernel=frozenset({"wgsl"}),
        elements=_STORABLE,
        left_by={"flow": "convert-flow-to-buf", "prim": "convert-flow-to-buf", "loop": "convert-loop-to-wgsl"},
    ),
}


def get_level(module: ModuleOp) -> Level | None:
    """The level that the module says it stands at; None where it says nothing, as in a hand-written test."""
    match module.attributes.get("tst.level"):
        case None:
            return None
        case StringAttr(data=name) if name in set(Level):
            return Level(name)
        case other:
            raise LevelError(f"module attribute tst.level is {other}; expected one of {', '.join(Level)}")


def set_level(module: ModuleOp, level: Level) -> None:
    """Records the level that the module has reached."""
    module.attributes["tst.level"] = StringAttr(level)


def get_dims(module: ModuleOp) -> dict[str, int]:
    """The symbolic dimensions that were bound at import, by name."""
    attribute = module.attributes.get("tst.dims")
    if not isinstance(attribute, DictionaryAttr):
        return {}
    return {name: size.value.data for name, size in attribute.data.items() if isinstance(size, IntegerAttr)}


def set_dims(module: ModuleOp, dims: Mapping[str, int]) -> None:
    """Records the symbolic dimensions bound at import."""
    module.attributes["tst.dims"] = DictionaryAttr({name: IntegerAttr(dims[name], i64) for name in sorted(dims)})


def get_pipeline(module: ModuleOp) -> list[str]:
    """Specs of the pipeline's passes that have run on the module since it was imported, in order."""
    attribute = module.attributes.get("tst.pipeline")
    if not isinstance(attribute, ArrayAttr):
        return []
    return [spec.data for spec in attribute if isinstance(spec, StringAttr)]


def add_to_pipeline(module: ModuleOp, specs: Sequence[str]) -> None:
    """Records that passes of the pipeline have run."""
    if specs:
        module.attributes["tst.pipeline"] = ArrayAttr([StringAttr(spec) for spec in [*get_pipeline(module), *specs]])


@dataclass(frozen=True)
class Source:
    """The model file that a module came from: its base name, and the sha256 of its bytes."""

    path: str
    sha256: str


def get_source(module: ModuleOp) -> Source | None:
    """The model file that the module came from; None for hand-written text."""
    attribute = module.attributes.get("tst.source")
    if not isinstance(attribute, DictionaryAttr):
        return None
    match attribute.data:
        case {"path": StringAttr(data=path), "sha256": StringAttr(data=digest)}:
            return Source(path, digest)
    raise LevelError(f'module attribute tst.source is {attribute}; expected {{path = "...", sha256 = "..."}}')


def set_source(module: ModuleOp, source: Source) -> None:
    """Records the model file that the module came from."""
    module.attributes["tst.source"] = DictionaryAttr(
        {"path": StringAttr(source.path), "sha256": StringAttr(source.sha256)}
    )
