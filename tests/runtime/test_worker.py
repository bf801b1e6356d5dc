"""The worker process: it may die or hang, the session says so in one message and goes on with a new one."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest

from tstorch.diagnostics import RunError
from tstorch.runtime.client import Worker
from tstorch.runtime.faults import InjectedFault
from tstorch.runtime.shared import LEAST_BYTES, SharedBlock
from tstorch.runtime.start import WorkerStart
from tstorch.runtime.wire import WireError, receive, send

X = np.ones((4, 25), np.float32)


@pytest.fixture
def artifact(add_builder, tmp_path):
    path = tmp_path / "a.tsart"
    add_builder.artifact().write(path)
    return path


def all_children():
    """Process ids of this process's children."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


@pytest.fixture
def children():
    """Gives the children that this process did not have when the test began: other tests keep a worker."""
    before = set(all_children())
    return lambda: [child for child in all_children() if child not in before]


class Pipe(io.BytesIO):
    """A stream that gives and takes few bytes at a time, as pipes do."""

    def write(self, data):
        return super().write(memoryview(data)[:7])

    def readinto(self, buffer):
        return super().readinto(memoryview(buffer)[:5])


ARRAYS = {
    "scalar": np.array(3.0, np.float32),
    "empty": np.zeros((0, 4), np.int64),
    "flags": np.array([[True, False]]),
    "view": np.arange(12, dtype=np.int64).reshape(3, 4).T,
}


def test_messages_carry_arrays_as_they_are():
    pipe = Pipe()
    send(pipe, {"request": "run", "text": "ü"}, ARRAYS)
    pipe.seek(0)
    header, arrays = receive(pipe)
    assert header == {"request": "run", "text": "ü"}
    assert {name: (a.dtype, a.shape, a.tolist()) for name, a in arrays.items()} == {
        name: (a.dtype, a.shape, a.tolist()) for name, a in ARRAYS.items()
    }


def test_large_arrays_stand_in_shared_memory_and_the_rest_in_the_stream():
    large, other = np.arange(3 * LEAST_BYTES, dtype=np.uint8), np.ones((2, LEAST_BYTES // 4), np.float32)
    sent = {"large": large, "small": ARRAYS["view"], "other": other}
    block = SharedBlock.create(SharedBlock.needed([array.nbytes for array in sent.values()]))
    assert block is not None
    there = SharedBlock.open(block.path)
    assert there is not None
    block.unlink()
    pipe = Pipe()
    send(pipe, {}, sent, block)
    assert len(pipe.getvalue()) < 1000
    pipe.seek(0)
    _, arrays = receive(pipe, {there.name: there})
    assert {name: a.tolist() for name, a in arrays.items()} == {name: a.tolist() for name, a in sent.items()}
    send(Pipe(), {}, {"large": large + 1}, block)
    assert arrays["large"][0] == 1, "a view: the next message is seen through it"


def test_what_a_block_has_no_room_for_goes_through_the_stream():
    block = SharedBlock.create(LEAST_BYTES)
    assert block is not None
    block.unlink()
    sent = {"first": np.ones(LEAST_BYTES, np.uint8), "second": np.full(LEAST_BYTES, 7, np.uint8)}
    pipe = Pipe()
    send(pipe, {}, sent, block)
    assert LEAST_BYTES < len(pipe.getvalue()) < 2 * LEAST_BYTES
    pipe.seek(0)
    assert receive(pipe, {block.name: block})[1]["second"].tolist() == sent["second"].tolist()
    pipe.seek(0)
    with pytest.raises(WireError, match="'first' stands in a memory"):
        receive(pipe)


def test_memory_that_cannot_be_shared_is_none_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tstorch.runtime.shared._IN_MEMORY", tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tstorch.runtime.shared.mmap.mmap", full)
    assert SharedBlock.create(LEAST_BYTES) is None
    assert SharedBlock.open(tmp_path / "none") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"TST1", b"hello, I am a print statement", b"TST1\xff\xff\xff\xff"])
def test_a_stream_of_something_else_is_noticed(content):
    with pytest.raises(WireError):
        receive(Pipe(content))


def test_faults_are_spelled_as_documented():
    assert InjectedFault.parse("encode:leak=4096").leak == 4096
    assert InjectedFault.parse("encode:sleep=0.02") == InjectedFault("encode", 0.02)
    assert InjectedFault.parse("wait:abort") == InjectedFault("wait", abort=True)
    for text in ("lunch:abort", "wait:nap=3", "wait"):
        with pytest.raises(ValueError, match="expected POINT"):
            InjectedFault.parse(text)


def test_the_client_needs_no_gpu_library():
    code = "import sys, tstorch.runtime.client, tstorch.runtime.profiler; sys.exit('wgpu' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.gpu
def test_a_run_in_a_worker_equals_one_here(artifact, children):
    with Worker.start() as worker:
        report = worker.load(artifact, {})
        first = worker.measure({"x": X, "z": 2 * X})
        np.testing.assert_array_equal(first.outputs["y"], 3 * X)
        assert first.handoff_ns > 0
        assert report.stages["device"] > 0
        assert worker.startup_ms["total"] == pytest.approx(
            sum(ms for name, ms in worker.startup_ms.items() if name != "total")
        )
        with pytest.raises(RunError, match="input 'z' is missing"):
            worker.run({"x": X})
        np.testing.assert_array_equal(worker.run({"x": X, "z": X})["y"], 2 * X)
        (pid,) = children()
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.gpu
def test_an_abort_in_the_middle_of_a_run_is_a_message_and_the_next_run_works(artifact, tmp_path, children):
    before = sorted(tmp_path.iterdir())
    with Worker.start(fault="wait:abort") as worker:
        worker.load(artifact, {})
        with pytest.raises(
            RunError, match=r"the GPU worker died \(SIGABRT\) during 'run' of entry 'run'.*starts a new worker"
        ):
            worker.run({"x": X, "z": X})
        assert children() == []
        np.testing.assert_array_equal(worker.run({"x": X, "z": X})["y"], 2 * X)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.gpu
def test_a_killed_worker_is_replaced(artifact, children):
    with Worker.start() as worker:
        worker.load(artifact, {})
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RunError, match=r"died \(SIGKILL\) during 'run'"):
            worker.run({"x": X, "z": X})
        np.testing.assert_array_equal(worker.run({"x": X, "z": X})["y"], 2 * X)


@pytest.mark.gpu
def test_a_silent_worker_is_ended(artifact):
    with Worker.start(fault="wait:sleep=60", timeout=3.0) as worker:
        worker.load(artifact, {})
        begin = time.monotonic()
        with pytest.raises(RunError, match=r"silent for 3 s during 'run' of entry 'run' and was ended"):
            worker.run({"x": X, "z": X})
        assert time.monotonic() - begin < 20


@pytest.mark.gpu
def test_state_that_died_with_its_worker_is_not_started_anew_in_silence(add_builder, tmp_path):
    add_builder.value("state", "total", (64,), start={"fill": 0.0})
    add_builder.artifact().write(tmp_path / "a.tsart")
    with Worker.start(fault="encode:abort") as worker:
        worker.load(tmp_path / "a.tsart", {})
        for message in ("died", "the state on the GPU was lost", "the state on the GPU was lost"):
            with pytest.raises(RunError, match=message):
                worker.run({"x": X, "z": X})
        worker.load(tmp_path / "a.tsart", {})
        worker.run({"x": X, "z": X})


@pytest.mark.gpu
def test_an_unknown_adapter_leaves_no_process_behind(children):
    with pytest.raises(RunError, match="no adapter matches 'voodoo'; expected part of one of: "):
        Worker.start(adapter="voodoo")
    assert children() == []


@pytest.mark.gpu
def test_an_interrupt_during_a_run_ends_the_worker(artifact, children):
    # Whoever started the tests in the background had them ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupted(artifact, children)
    finally:
        signal.signal(signal.SIGINT, before)


def interrupted(artifact, children):
    with Worker.start(fault="wait:sleep=60") as worker:
        worker.load(artifact, {})
        timer = threading.Timer(1.0, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
        begin = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            worker.run({"x": X, "z": X})
        timer.join()
        assert time.monotonic() - begin < 20
    assert children() == []


@pytest.mark.gpu
def test_progress_is_reported_while_weights_go_up(builder, tmp_path):
    weights = builder.buffer(1024, "weight")
    for i in range(4):
        piece = {"buffer": weights, "offset": 256 * i, "source_offset": 0, "bytes": 256}
        builder.weight(f"w{i}", np.full(64, i, np.float32), [piece])
    builder.artifact().write(tmp_path / "a.tsart")
    seen = []
    with Worker.start() as worker:
        worker.load(tmp_path / "a.tsart", builder.sources(tmp_path), progress=lambda *args: seen.append(args))
    assert seen == [("upload", 256 * i, 1024) for i in range(1, 5)]


@pytest.mark.gpu
def test_what_libraries_print_does_not_disturb_the_messages():
    code = (
        "import os, sys; sys.argv = ['worker']; from tstorch.runtime import worker, service\n"
        "service.adapters = lambda: os.write(1, b'noise') and [] or []\n"
        "sys.exit(worker.main([]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    with process:
        send(process.stdin, {"request": "hello"}, {})
        header, _ = receive(process.stdout)
        process.stdin.close()
        assert "no GPU adapter was found" in header["error"]
        assert b"noise" in process.stderr.read()


@pytest.mark.gpu
@pytest.mark.parametrize("shares", ["both ends", "the session alone", "neither"])
def test_a_run_is_the_same_with_and_without_shared_memory(builder, tmp_path, monkeypatch, shares):
    count = 2 * LEAST_BYTES // 4
    builder.adder(count).artifact().write(tmp_path / "a.tst")
    monkeypatch.setattr("tstorch.runtime.shared._IN_MEMORY", tmp_path)
    if shares == "neither":
        monkeypatch.setattr(SharedBlock, "create", lambda nbytes: None)
    if shares == "the session alone":  # the worker finds no file there, as one on another host
        monkeypatch.setattr(SharedBlock, "create", partial(created_and_hidden, SharedBlock.create))
    x, z = np.arange(count, dtype=np.float32), np.ones(count, np.float32)
    with Worker.start() as worker:
        worker.load(tmp_path / "a.tst")
        kept = [worker.run({"x": x * i, "z": z})["y"] for i in range(3)]
    for i, y in enumerate(kept):  # and no later run has written into what an earlier one gave
        np.testing.assert_array_equal(y, x * i + z)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tst"]


def created_and_hidden(create, nbytes):
    block = create(nbytes)
    block.unlink()
    return block


@pytest.mark.gpu
def test_a_device_opened_ahead_is_the_one_that_is_loaded_on(add_builder, tmp_path):
    add_builder.artifact().write(tmp_path / "a.tst")
    target = add_builder.artifact().manifest["target"]
    with Worker.start() as worker:
        worker.open(target)
        report = worker.load(tmp_path / "a.tst")
        assert report.stages["device"] == 0
        assert report.busy["device"] > 0
        again = worker.load(tmp_path / "a.tst")
        assert again.stages["device"] > 0, "what was loaded on is not opened twice"
        worker.open(target | {"limits": target["limits"] | {"max_storage_buffers_per_shader_stage": 7}})
        assert worker.load(tmp_path / "a.tst").stages["device"] > 0, "another target's device is not taken"
        assert worker.run({"x": X, "z": X})["y"][0, 0] == 2


@pytest.mark.gpu
def test_a_start_that_is_left_with_an_error_leaves_no_worker(children):
    def failing():
        with WorkerStart(None, "process") as start:
            assert start.device_class() in ("cpu", "integrated", "discrete")
            raise KeyError("the model does not compile")

    before = set(children())
    with pytest.raises(KeyError):
        failing()
    assert set(children()) <= before
    with pytest.raises(RunError, match="no adapter matches"), WorkerStart("voodoo", "process") as start:
        start.ready()
    with WorkerStart(None, "process") as start:
        worker = start.ready()
    assert start.waited_ms > 0
    assert worker.adapter_info()["name"]
    worker.close()
