"""Tests that the stored trace which the annotation test reads is what a run records today: its ids must match."""

from pathlib import Path

import pytest

from tstorch.tools.run import main
from tstorch.trace.file import read_trace

DATA = Path(__file__).parent / "data"
COMMAND = "tstorch-run tests/data/tiny.onnx --target webgpu-default-cpu --dim batch=2 --no-plugins --iterations 3"
TIMES = ("us", "raw_us", "median_us", "mad_us")


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """The stored trace, and the one that the same command records now."""
    path = tmp_path_factory.mktemp("stored") / "tiny.trace"
    words = COMMAND.replace("tests/data", str(DATA)).split()[1:]
    assert main([*words, "--trace", str(path)]) == 0
    return read_trace(DATA / "tiny.trace"), read_trace(path)


@pytest.mark.gpu
def test_the_stored_trace_is_of_this_compiler(traces):
    stored, fresh = traces
    for key in ("fingerprint", "model", "dims", "target", "pipeline"):
        assert fresh.header[key] == stored.header[key], f"record it anew: {COMMAND} --trace tests/data/tiny.trace"


@pytest.mark.gpu
def test_the_stored_trace_has_the_ids_that_a_run_has(traces):
    stored, fresh = traces
    assert fresh.nodes == stored.nodes
    assert [untimed(row) for row in fresh.dispatches] == [untimed(row) for row in stored.dispatches]
    assert [row["name"] for row in fresh.kernels] == [row["name"] for row in stored.kernels]


def untimed(row):
    """A dispatch without what differs from run to run."""
    assert all(name in row for name in TIMES)
    return {key: value for key, value in row.items() if key not in TIMES}
