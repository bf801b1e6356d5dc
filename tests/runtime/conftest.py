"""Artifacts made by hand: what the compiler would write, with the WGSL spelled out."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tstorch.artifact.format import Artifact, Kernel

LIMITS = {
    "max_storage_buffer_binding_size": 134217728,
    "max_buffer_size": 268435456,
    "max_storage_buffers_per_shader_stage": 8,
    "min_storage_buffer_offset_alignment": 256,
    "max_compute_invocations_per_workgroup": 256,
    "max_compute_workgroup_size_x": 256,
    "max_compute_workgroup_size_y": 256,
    "max_compute_workgroup_size_z": 64,
    "max_compute_workgroup_storage_size": 16384,
    "max_compute_workgroups_per_dimension": 65535,
}
STORAGE_BYTES = {"f32": 4, "i32": 4, "u32": 4, "i32<i64": 4, "u32<bool": 4, "f16": 2, "u8": 1}
DTYPES = {"f32": "float32", "i32": "int32", "u32": "uint32", "i32<i64": "int64", "u32<bool": "bool", "u8": "uint8"}


class ArtifactBuilder:
    """Builds a small artifact call by call; `artifact()` gives it."""

    def __init__(self) -> None:
        self.buffers: list[dict[str, Any]] = []
        self.weights: list[dict[str, Any]] = []
        self.values: dict[str, list[dict[str, Any]]] = {"inputs": [], "outputs": [], "state": []}
        self.entries: dict[str, list[dict[str, Any]]] = {"init": [], "run": []}
        self.kernels: dict[str, Kernel] = {}
        self.dispatches: list[dict[str, Any]] = []
        self.limits = dict(LIMITS)
        self.features: list[str] = []
        self.data: dict[str, bytes] = {}

    def buffer(self, nbytes: int, category: str, **extra: Any) -> int:
        self.buffers.append(
            {"id": len(self.buffers), "name": f"b{len(self.buffers)}", "bytes": nbytes, "category": category, **extra}
        )
        return len(self.buffers) - 1

    def value(self, kind: str, name: str, shape: tuple[int, ...], storage: str = "f32", **extra: Any) -> int:
        """Declares an input, output or state with a buffer of its own; returns the buffer's id."""
        nbytes = -(-int(np.prod(shape)) * STORAGE_BYTES[storage] // 4) * 4
        buffer = self.buffer(nbytes, {"inputs": "input", "outputs": "output", "state": "state"}[kind])
        self.values[kind].append(
            {"name": name, "dtype": DTYPES[storage], "shape": list(shape), "storage": storage, "buffer": buffer}
            | {"offset": 0, "bytes": nbytes}
            | extra
        )
        return buffer

    def weight(self, name: str, array: np.ndarray, pieces: list[dict[str, int]]) -> None:
        raw = array.tobytes()
        digest = hashlib.sha256(raw).hexdigest()
        self.data[digest] = raw
        self.weights.append(
            {"name": name, "dtype": "f32", "shape": list(array.shape), "bytes": len(raw), "digest": digest}
            | {"file": "weights.bin", "key": name, "pieces": pieces}
        )

    def kernel(self, name: str, wgsl: str, bindings: list[str], **extra: Any) -> None:
        self.kernels[name] = Kernel(
            wgsl,
            {
                "schema": "tstorch-kernel/1",
                "entry": "main",
                "workgroup": [64, 1, 1],
                "kind": "map",
                "bindings": bindings,
            }
            | {"ops": ["prim.add"], "lines": {"1": [0]}, "iterations": 1}
            | extra,
        )

    def dispatch(self, kernel: str, grid: list[int], *buffers: int, entry: str = "run", node: str = "/node") -> None:
        ident = len(self.dispatches)
        accesses = self.kernels[kernel].map["bindings"]
        self.dispatches.append(
            {"id": ident, "entry": entry, "kernel": kernel, "bytes": 0, "flops": 0, "label": kernel}
            | {"nodes": [[{"id": node, "role": "forward"}]], "shares": [{"id": node, "role": "forward", "share": 1.0}]}
        )
        bindings = [
            {"buffer": b, "offset": 0, "bytes": self.buffers[b]["bytes"], "access": access}
            for b, access in zip(buffers, accesses, strict=True)
        ]
        span = {"op": "span", "id": ident, "kind": "dispatch"}
        self.entries[entry] += [
            span | {"edge": "begin"},
            {"op": "dispatch", "id": ident, "kernel": kernel, "grid": grid, "bindings": bindings},
            span | {"edge": "end"},
        ]

    def finish(self, entry: str = "run") -> None:
        """Puts uploads and the gpu span before the commands so far, readbacks after them."""
        span = {"op": "span", "id": 0, "kind": "gpu"}
        self.entries[entry] = [
            *({"op": "upload", "input": value["name"]} for value in self.values["inputs"]),
            span | {"edge": "begin"},
            *self.entries[entry],
            span | {"edge": "end"},
            *({"op": "readback", "output": value["name"]} for value in self.values["outputs"]),
        ]

    def adder(self, *shape: int) -> "ArtifactBuilder":
        """Fills the artifact with y = x + z."""
        buffers = [self.value("inputs", "x", shape), self.value("inputs", "z", shape)]
        buffers.append(self.value("outputs", "y", shape))
        self.kernel("add", ADD, ["read", "read", "read_write"])
        self.dispatch("add", [-(-int(np.prod(shape)) // 64), 1, 1], *buffers, node="/add/Add")
        self.finish()
        return self

    def artifact(self) -> Artifact:
        target = {"id": "test", "class": "cpu", "units": 1, "limits": self.limits, "features": self.features}
        return Artifact(
            manifest={"schema": "tstorch-artifact/1", "fingerprint": "0" * 64, "target": target, "dims": {}},
            program={
                "schema": "tstorch-program/1",
                "buffers": self.buffers,
                "weights": self.weights,
                **self.values,
                "entries": self.entries,
            },
            kernels=self.kernels,
            dispatches=self.dispatches,
            nodes=[{"id": "/node", "op_type": "Add", "where": "run", "reason": "", "dispatches": [0]}],
            memory={"schema": "tstorch-memory/1", "arena_peak": 0, "lower_bound": 0, "weights": 0}
            | {"timeline": [], "tensors": []},
            remarks=[],
        )

    def sources(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Writes all weights to one file, each at an odd offset, and says where they are."""
        path = folder / "weights.bin"
        sources, content = {}, b""
        for digest, raw in self.data.items():
            content += b"#" * 3
            sources[digest] = {"path": str(path), "offset": len(content), "bytes": len(raw)}
            content += raw
        path.write_bytes(content)
        return sources


ADD = """@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&c)) { c[id.x] = a[id.x] + b[id.x]; }
}
"""


@pytest.fixture
def builder() -> ArtifactBuilder:
    """An empty artifact to fill."""
    return ArtifactBuilder()


@pytest.fixture
def add_builder(builder: ArtifactBuilder) -> ArtifactBuilder:
    """y = x + z over 100 floats: the smallest artifact that runs."""
    return builder.adder(4, 25)
