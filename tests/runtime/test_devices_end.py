"""Tests that a worker gives back what it made for an artifact when it loads the next: drivers have room for few."""

from __future__ import annotations

from pathlib import Path

import pytest
import wgpu
from tiny_artifact import write_tiny_artifact

from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

KINDS = ("Device", "Queue", "Buffer", "ComputePipeline", "BindGroup", "BindGroupLayout", "PipelineLayout", "QuerySet")


def live_objects() -> dict[str, int]:
    """How many objects of each kind wgpu holds in this process."""
    counts = wgpu.diagnostics.get_dict()["wgpu_native_counts"]
    return {kind: counts[kind]["count"] for kind in KINDS}


def test_a_second_load_leaves_no_more_than_the_first(tmp_path: Path) -> None:
    path = write_tiny_artifact(tmp_path)
    with Worker.start(None, "none") as worker:
        worker.load(path, {})
        first = live_objects()
        for _ in range(3):
            worker.load(path, {})
        assert live_objects() == first
    assert first["Device"] == 1
