"""Where the time goes: every part measured, sleeps found where they were put, sums that hold."""

from types import SimpleNamespace

import numpy as np
import pytest

from tstorch.runtime.ceilings import better
from tstorch.runtime.client import Worker
from tstorch.runtime.faults import InjectedFault
from tstorch.runtime.profiler import PARTS, Clocking, Samples, profile, summarise, synchronised
from tstorch.runtime.steady import slope

X = np.ones((4, 25), np.float32)
FACTS = {
    "clock": {"quality": "device", "quantum_ns": 32.0, "period_ns": 1.0},
    "dispatches": {"run": [3, 7]},
}


@pytest.fixture
def artifact(add_builder, tmp_path):
    path = tmp_path / "a.tsart"
    add_builder.artifact().write(path)
    return path


def light(gpu, whole, wait=50_000.0):
    spans = {"handoff": 10e3, "upload": 20e3, "encode": 30e3, "submit": 5e3, "sync": 0.0, "readback": 15e3}
    return {**spans, "gpu": gpu, "wait": wait, "whole": whole}


def test_parts_are_means_over_the_light_runs_and_sum_to_the_whole():
    samples = Samples(light=[light(30e3, 200e3), light(50e3, 260e3)], launch=[40e3, 60e3], plain=[1, 2])
    samples.detailed = [[20e3, 30e3], [22e3, 28e3]]
    result = summarise(samples, FACTS, "run", Clocking(True, tiny=4e3))
    parts = result["parts_us"]
    assert set(parts) == set(PARTS)
    assert parts["gpu"] == 40.0
    assert parts["launch"] == 50.0
    assert parts["whole"] == 230.0
    assert sum(parts.values()) - parts["whole"] == pytest.approx(parts["whole"])
    assert parts["unattributed"] == pytest.approx(230 - (10 + 20 + 30 + 5 + 50 + 40 + 15))


def test_dispatches_share_the_gpus_time_and_the_agreement_uses_tiny_kernels():
    samples = Samples(light=[light(40e3, 200e3)], launch=[40e3], plain=[1], detailed=[[20e3, 30e3], [22e3, 28e3]])
    result = summarise(samples, FACTS, "run", Clocking(True, tiny=4e3))
    assert [d["id"] for d in result["dispatches"]] == [3, 7]
    assert [d["us"] for d in result["dispatches"]] == pytest.approx([16.0, 24.0])
    assert result["timing"]["probe_us"] == pytest.approx(5.0)
    assert result["timing"]["raw_sum_us"] == pytest.approx(50.0)
    assert result["timing"]["agreement"] == pytest.approx(100 * (50 - 4) / 40)  # the first bears none
    assert result["residual_us"] == pytest.approx(0.0)


def test_parts_that_miss_time_leave_a_residual_instead_of_a_negative_probe():
    samples = Samples(light=[light(60e3, 200e3)], launch=[40e3], plain=[1], detailed=[[20e3, 30e3]])
    result = summarise(samples, FACTS, "run", Clocking(True))
    assert result["timing"]["probe_us"] == 0.0
    assert result["residual_us"] == pytest.approx(10.0)


def test_on_shared_cores_the_dispatches_are_scaled_and_nothing_is_left():
    samples = Samples(light=[light(40e3, 200e3)], launch=[40e3], plain=[1], detailed=[[20e3, 130e3], [22e3, 128e3]])
    result = summarise(samples, FACTS, "run", Clocking(True, True, tiny=28e3, floor=5e3))
    assert [d["us"] for d in result["dispatches"]] == pytest.approx([40 * 20 / 120, 40 * 100 / 120])
    assert result["timing"]["probe_us"] == pytest.approx(28.0)
    assert result["timing"]["scale"] == pytest.approx(40 / 120)
    assert result["residual_us"] == pytest.approx(0.0)


def test_on_shared_cores_parts_are_means_over_the_quieter_half():
    runs = [light(30e3, 200e3), light(40e3, 900e3), light(50e3, 260e3), light(90e3, 800e3)]
    samples = Samples(light=runs, launch=[40e3, 60e3, 900e3, 900e3], plain=[1], detailed=[[20e3, 30e3]])
    parts = summarise(samples, FACTS, "run", Clocking(True, True))["parts_us"]
    assert (parts["gpu"], parts["launch"], parts["whole"]) == (40.0, 50.0, 230.0)
    assert sum(parts.values()) == pytest.approx(2 * parts["whole"])


def test_each_synchronisation_has_the_gap_that_it_lies_in():
    samples = Samples(light=[light(30e3, 200e3), light(30e3, 100e3)], gaps=[[1e3, 5e3, 2e3], [3e3, 7e3, 2e3]])
    look = {"tensors": ["n"], "bytes": 8, "cause": "which branch is taken", "gap": 1}
    samples.looks = (look,)
    found = synchronised(samples, Clocking(True))
    assert found == {
        "count": 1,
        "bytes": 8,
        "each": [{"tensors": ["n"], "bytes": 8, "cause": "which branch is taken", "us": pytest.approx(6.0)}],
        "other_us": pytest.approx(4.0),
    }
    assert synchronised(samples, Clocking(True, True))["each"][0]["us"] == pytest.approx(7.0), "the quieter half"
    samples.gaps = [[], []]
    assert synchronised(samples, Clocking(False))["each"][0]["us"] is None


def test_dispatches_without_a_whole_to_share_have_no_time():
    samples = Samples(launch=[40e3], plain=[1], detailed=[[20e3, 30e3]])
    assert summarise(samples, FACTS, "run", Clocking(True))["dispatches"] == []


def test_the_order_of_a_round_turns_with_each():
    worker = FakeWorker([100.0])
    kinds = []
    measure = worker.measure
    worker.measure = lambda *a, kind="plain", **k: (kinds.append(kind), measure(*a, kind=kind, **k))[1]
    profile(worker, {}, iterations=2, warmup=0)
    assert kinds[4:10] == ["detailed", "light", "plain", "plain", "light", "detailed"]


def test_without_a_clock_the_host_times_and_says_so():
    facts = FACTS | {"clock": {"quality": "untimed", "quantum_ns": 0.0, "period_ns": 0.0}}
    samples = Samples(light=[light(0.0, 400e3, wait=150e3)], launch=[50e3], plain=[1], detailed=[[90e3, 110e3]])
    result = summarise(samples, facts, "run", Clocking(False))
    assert (result["timing"]["quality"], result["timing"]["clock"]) == ("host", "untimed")
    assert result["timing"]["agreement"] is None
    assert result["parts_us"]["gpu"] == pytest.approx(100.0)  # waited, less the wait for nothing
    assert [d["us"] for d in result["dispatches"]] == pytest.approx([40.0, 60.0])


class FakeWorker:
    """A worker whose sentinel slows down as scripted."""

    def __init__(self, sentinel, device_class="discrete", clock="device", valid=True):
        self.sentinel, self.valid, self.runs = list(sentinel), valid, 0
        self.device_class, self.clock = device_class, clock

    def adapter_info(self):
        return {"class": self.device_class}

    def facts(self, *, events=False):
        submitted = {"runs": self.runs, "model": 2 * self.runs, "other": 0}
        clock = {"quality": self.clock, "quantum_ns": 1.0, "period_ns": 1.0}
        rest = {"memory": {}, "allocations": [], "submitted": submitted, "loop_cap": None, "fingerprint": "f"}
        return {"clock": clock, "dispatches": {"run": [0, 1]}, **rest}

    def instrument(self, name, **options):
        if name == "sentinel":
            return self.sentinel.pop(0) if len(self.sentinel) > 1 else self.sentinel[0]
        return 100.0

    def measure(self, inputs, entry="run", outputs=None, kind="plain"):
        self.runs += 1
        timed = {"valid": self.valid, "gpu": 40.0, "dispatches": [[0, 30.0], [1, 20.0]]}
        spans = {"upload": 1, "encode": 2, "submit": 3, "wait": 600, "readback": 4}
        return SimpleNamespace(
            whole_ns=1000, handoff_ns=10, spans=spans, timed=None if kind == "plain" else timed, looks=()
        )

    def tiny(self):
        return 100.0, 20.0

    def measure_stepwise(self, inputs, entry="run"):
        self.runs += 1
        return [(0, 300), (1, 200)]


@pytest.fixture(autouse=True)
def no_idling(monkeypatch):
    monkeypatch.setattr("tstorch.runtime.profiler.PAUSE_SECONDS", {"cpu": 0, "integrated": 0, "discrete": 0})


def test_a_measurement_under_a_falling_clock_is_taken_again():
    result = profile(FakeWorker([100.0, 150.0, 100.0, 101.0]), {}, iterations=3)
    assert result["latency_ms"]["runs"] == 3
    assert result["timing"]["stable"]
    assert result["timing"]["sentinel_drift"] == pytest.approx(0.01)


def test_a_clock_that_stays_down_is_labelled_after_three_attempts():
    result = profile(FakeWorker([150.0]), {}, iterations=3)
    assert not result["timing"]["stable"]
    assert result["timing"]["sentinel_drift"] == pytest.approx(0.5)


def test_on_a_cpu_drift_is_only_reported():
    result = profile(FakeWorker([150.0], "cpu"), {}, iterations=3)
    assert result["timing"]["stable"]
    assert result["timing"]["sentinel_drift"] == pytest.approx(0.5)


def test_iterations_are_runs_of_each_kind():
    worker = FakeWorker([100.0])
    result = profile(worker, {}, iterations=5, warmup=1)
    samples = result["samples"]
    assert [len(samples[kind]) for kind in ("plain_ns", "light_ns", "detailed_ns", "launch_ns")] == [5, 5, 5, 5]
    assert result["submitted"] == {"runs": worker.runs, "model": 2 * worker.runs, "other": 0}


def test_impossible_ticks_are_counted_and_left_out():
    result = profile(FakeWorker([100.0], valid=False), {}, iterations=4)
    assert result["timing"]["invalid_runs"] == 8
    assert result["timing"]["quality"] == "invalid"
    assert result["dispatches"] == []


@pytest.mark.parametrize("clock", ["invalid", "untimed"])
def test_a_gpu_without_a_usable_clock_is_timed_by_the_host(clock):
    result = profile(FakeWorker([100.0], clock=clock), {}, iterations=3)
    assert result["timing"]["quality"] == "host"
    assert [d["us"] > 0 for d in result["dispatches"]] == [True, True]


# ---- on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("point", "part"),
    [("encode", "encode"), ("readback", "readback"), ("upload", "upload"), ("between", "unattributed")],
)
def test_a_sleep_shows_up_in_exactly_the_part_it_was_put_in(artifact, point, part):
    parts = []
    for fault in (None, InjectedFault(point, 0.02)):
        with Worker.start(isolation="none", fault=fault) as worker:
            worker.load(artifact, {})
            parts.append(typical_parts(worker.profile({"x": X, "z": X}, iterations=9, warmup=1)["samples"]))
    grown = {name: parts[1][name] - parts[0][name] for name in parts[0]}
    assert grown.pop(part) == pytest.approx(20e6, abs=4e6)
    assert all(abs(growth) < 4e6 for growth in grown.values()), grown


def typical_parts(samples):
    """The median of each part over the light runs, in nanoseconds: other jobs share this machine."""
    measured = [part for part in PARTS if part not in ("launch", "unattributed", "whole")]
    runs = [{**run, "unattributed": run["whole"] - sum(run[part] for part in measured)} for run in samples["light_ns"]]
    return {part: float(np.median([run[part] for run in runs])) for part in [*measured, "unattributed"]}


@pytest.mark.gpu
def test_a_profile_adds_up_and_counts_every_dispatch(artifact):
    with Worker.start() as worker:
        worker.load(artifact, {})
        result = worker.profile({"x": X, "z": X}, iterations=30, idle=0.05)
        again = worker.facts()["submitted"]
    parts = result["parts_us"]
    assert sum(us for part, us in parts.items() if part != "whole") == pytest.approx(parts["whole"])
    assert abs(parts["unattributed"]) < max(0.02 * parts["whole"], 200) + 100  # another job may share this machine
    assert result["timing"]["quality"] in ("device", "quantised", "host")
    assert parts["gpu"] > 0
    assert [d["id"] for d in result["dispatches"]] == [0]
    assert sum(d["us"] for d in result["dispatches"]) + result["residual_us"] == pytest.approx(parts["gpu"])
    assert result["submitted"] == again
    assert again["model"] == again["runs"]  # one dispatch a run
    assert again["other"] > 0
    assert result["first_run_ms"] > 0
    assert result["timing"]["idle_run_ms"] > 0


@pytest.mark.gpu
def test_ceilings_are_measured_once_and_kept(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    cache = tmp_path / "cache" / "ceilings.json"
    with Worker.start(isolation="none") as worker:
        worker.load(artifact, {})
        requested = worker.facts()["memory"]["requested"]
        first = worker.ceilings(cache)
        second = worker.ceilings(cache)
        assert worker.facts()["memory"]["requested"] - requested < 8192  # its buffers are gone again
    assert not first.pop("cached")
    assert second.pop("cached")
    assert first == second
    assert 0.05 < first["copy_gb_s"] < 20_000
    assert 0.1 < first["fma_gflop_s"] < 500_000
    assert 0.1 < first["launch_us"] < 10_000
    assert 1e-5 < first["step_us"] < 100
    sizes = [row["bytes"] for row in first["copy"]]
    assert sizes == sorted(sizes)
    assert sizes[0] == 16 << 10
    assert sizes[-1] >= 64 << 20
    cache.write_text("damaged")
    with Worker.start(isolation="none") as worker:
        worker.load(artifact, {})
        assert not worker.ceilings(cache)["cached"]


@pytest.mark.gpu
def test_ceilings_of_a_busy_machine_are_measured_again_and_the_faster_stay(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 99.0, 99.0), raising=False)
    cache = tmp_path / "ceilings.json"
    with Worker.start(isolation="none") as worker:
        worker.load(artifact, {})
        first = worker.ceilings(cache)
        second = worker.ceilings(cache)
    on_cpu = worker.adapter_info()["class"] == "cpu"
    assert second["cached"] is not on_cpu
    assert second["fma_gflop_s"] >= first["fma_gflop_s"]
    assert second["launch_us"] <= first["launch_us"]
    assert all(b["us"] <= a["us"] for a, b in zip(first["copy"], second["copy"], strict=True))


def rates(us, fma, launch, busy):
    return {
        "copy": [{"bytes": 1 << 14, "us": us, "gb_s": 1.0}],
        "fma_gflop_s": fma,
        "alone_gflop_s": fma / 4,
        "launch_us": launch,
        "step_us": 0.1,
        "busy": busy,
    }


def test_of_two_measurements_of_ceilings_each_figure_is_the_faster():
    merged = better(rates(20.0, 100.0, 5.0, busy=True), rates(10.0, 60.0, 7.0, busy=False))
    assert (merged["copy"][0]["us"], merged["fma_gflop_s"], merged["launch_us"]) == (10.0, 100.0, 5.0)
    assert (merged["units"], merged["busy"]) == (4, False)
    assert better({"copy_gb_s": 9.0}, rates(1.0, 2.0, 3.0, busy=True))["fma_gflop_s"] == 2.0, (
        "as older versions kept it"
    )


@pytest.mark.gpu
@pytest.mark.parametrize(("fault", "leaked"), [(None, 0), (InjectedFault("encode", leak=4096), 4096)])
def test_what_runs_allocate_is_seen(artifact, fault, leaked):
    with Worker.start(isolation="none", fault=fault) as worker:
        worker.load(artifact, {})
        steady = worker.profile({"x": X, "z": X}, iterations=5, idle=0)["steady"]
    assert steady["runs"] >= 15
    assert steady["made"] == ({"leak": {"count": steady["runs"], "bytes": leaked * steady["runs"]}} if leaked else {})
    assert steady["allocations"] == (steady["runs"] if leaked else 0)
    assert steady["slope"] == pytest.approx(leaked)


@pytest.mark.gpu
def test_a_run_after_a_pause_is_measured_by_its_parts(artifact):
    with Worker.start(isolation="none") as worker:
        worker.load(artifact, {})
        result = worker.profile({"x": X, "z": X}, iterations=3, idle=0.01)
        none = worker.profile({"x": X, "z": X}, iterations=3, idle=0)
    idle = result["idle"]
    assert (idle["pause_s"], len(idle["runs"])) == (0.01, 3)
    assert result["timing"]["idle_run_ms"] == pytest.approx(idle["parts_us"]["whole"] / 1e3)
    assert sorted(run["whole"] for run in idle["runs"])[1] == idle["parts_us"]["whole"]
    assert idle["sentinel_us"] > 0
    assert (none["idle"], none["timing"]["idle_run_ms"]) == (None, None)


@pytest.mark.gpu
def test_wgpu_counts_the_buffers_that_we_count(artifact):
    with Worker.start() as worker:  # in a process of its own: wgpu counts those of all devices
        worker.load(artifact, {})
        memory = worker.facts(events=True)["memory"]
    assert memory["buffers"] == memory["counted_buffers"] > 0


def test_the_slope_of_memory_is_that_of_the_line_through_all_readings():
    assert slope([(0, 5.0), (10, 25.0), (20, 45.0)]) == pytest.approx(2)
    assert slope([(3, 5.0), (3, 9.0)]) == 0
