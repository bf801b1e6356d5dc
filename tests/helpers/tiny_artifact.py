"""The smallest artifact that says something: y = scale * x + z over 8 floats, in two dispatches and with one weight."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from tstorch.artifact.format import Artifact, Kernel
from tstorch.target import Target

SCALE = np.arange(8, dtype="<f4")
DIGEST = hashlib.sha256(SCALE.tobytes()).hexdigest()
BINDINGS = ["read", "read", "read_write"]

WGSL = """@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&c)) { c[id.x] = a[id.x] OP b[id.x]; }
}
"""


def tiny_artifact() -> Artifact:
    """The artifact; its weight is in no file, so it is to be written with `weights`."""
    names = ("x", "z", "scale", "product", "y")
    categories = ("input", "input", "weight", "activation", "output")
    buffers = [
        {"id": i, "name": name, "bytes": 32, "category": category}
        for i, (name, category) in enumerate(zip(names, categories, strict=True))
    ]
    launches = [*_launch(0, "mul", 0, 2, 3), *_launch(1, "add", 3, 1, 4)]
    run = [_span("gpu", 0, "begin"), *launches, _span("gpu", 0, "end")]
    return Artifact(
        manifest={
            "schema": "tstorch-artifact/1",
            "fingerprint": "7" * 64,
            "model": {"path": "tiny.onnx", "sha256": "5eed"},
            "dims": {},
            "target": Target.default().to_json(),
            "rules": [],
            "pipeline": ["by-hand"],
        },
        program={
            "schema": "tstorch-program/1",
            "buffers": buffers,
            "weights": [
                {"name": "scale", "dtype": "f32", "shape": [8], "bytes": 32, "digest": DIGEST, "file": "tiny.onnx"}
                | {"key": "scale", "pieces": [{"buffer": 2, "offset": 0, "source_offset": 0, "bytes": 32}]}
            ],
            "inputs": [_value("x", 0, kind="normal"), _value("z", 1, kind="ones")],
            "outputs": [_value("y", 4)],
            "state": [],
            "entries": {
                "init": [],
                "run": [
                    *({"op": "upload", "input": name} for name in ("x", "z")),
                    *run,
                    {"op": "readback", "output": "y"},
                ],
            },
        },
        kernels={"mul": _kernel("*"), "add": _kernel("+")},
        dispatches=[_row(0, "mul", "/scale/Mul"), _row(1, "add", "/shift/Add")],
        nodes=[_node("/scale/Mul", "Mul", [0]), _node("/shift/Add", "Add", [1])],
        memory={
            "schema": "tstorch-memory/1",
            "arena_peak": 32,
            "lower_bound": 32,
            "weights": 32,
            "timeline": [{"dispatch": 0, "live_bytes": 32, "tensors": ["product"]}],
            "tensors": [
                {
                    "name": "product",
                    "buffer": 3,
                    "offset": 0,
                    "bytes": 32,
                    "first": 0,
                    "last": 1,
                    "category": "activation",
                }
            ],
        },
        remarks=[],
    )


def write_tiny_artifact(folder: Path) -> Path:
    """The artifact as a file that holds its weight."""
    path = folder / "tiny.tst"
    tiny_artifact().write(path, {DIGEST: SCALE.tobytes()})
    return path


def _span(kind: str, number: int, edge: str) -> dict:
    return {"op": "span", "id": number, "kind": kind, "edge": edge}


def _launch(number: int, kernel: str, *buffers: int) -> list[dict]:
    bindings = [
        {"buffer": buffer, "offset": 0, "bytes": 32, "access": access}
        for buffer, access in zip(buffers, BINDINGS, strict=True)
    ]
    launch = {"op": "dispatch", "id": number, "kernel": kernel, "grid": [1, 1, 1], "bindings": bindings}
    return [_span("dispatch", number, "begin"), launch, _span("dispatch", number, "end")]


def _value(name: str, buffer: int, **law: str) -> dict:
    value = {
        "name": name,
        "dtype": "float32",
        "shape": [8],
        "storage": "f32",
        "buffer": buffer,
        "offset": 0,
        "bytes": 32,
    }
    return value | ({"law": law} if law else {})


def _kernel(operator: str) -> Kernel:
    line_map = {"schema": "tstorch-kernel/1", "entry": "main", "workgroup": [8, 1, 1], "kind": "map", "iterations": 0}
    return Kernel(
        WGSL.replace("OP", operator), line_map | {"bindings": BINDINGS, "ops": ["prim.op"], "lines": {"5": [0]}}
    )


def _row(number: int, kernel: str, node: str) -> dict:
    owner = {"id": node, "role": "forward"}
    row = {"id": number, "entry": "run", "kernel": kernel, "bytes": 96, "flops": 8, "label": kernel}
    return row | {"nodes": [[owner]], "shares": [owner | {"share": 1.0}]}


def _node(name: str, op_type: str, dispatches: list[int]) -> dict:
    return {"id": name, "op_type": op_type, "module": "", "source": "", "where": "run", "reason": ""} | {
        "dispatches": dispatches
    }
