"""The report's headline, then where a run's time goes as a waterfall, and whether the measurement can be trusted."""

from __future__ import annotations

from tstorch.report.build import PARTS, build_report
from tstorch.report.headline import timing_text
from tstorch.report.idle import idle_lines, idle_run
from tstorch.report.names import few
from tstorch.report.terminal import headline_lines
from tstorch.report.units import bytes_text, ms_text, share_text, time_text
from tstorch.report.views.base import View, bar, columns
from tstorch.trace.schema import Record, Trace
from tstorch.trace.statistics import Spread
from tstorch.trace.waits import device_waits

NOISY = 0.05
BUSY = 0.5
CLOCK = 0.02


def view(trace: Trace) -> View:
    """What to read first."""
    report = build_report(trace)
    spread = Spread.of(trace)
    warnings = list(unfit(trace))
    waits = device_waits(trace)
    facts = {"spread_ms": _spread(spread), "environment": trace.header.get("environment"), "unfit": warnings}
    data = report | facts | {"device_waits": waits, "idle": idle_run(trace)}
    lines = [line.plain for line in headline_lines(report)]
    lines += ["", *_waterfall(report, waits), "", *_steady(spread), *idle_lines(trace), *_environment(trace)]
    return View(data, [*lines, *(f"unfit for comparison: {warning}" for warning in warnings)])


def unfit(trace: Trace) -> list[str]:
    """Why this measurement should not be compared with others; empty where nothing speaks against it."""
    found, spread = [], Spread.of(trace)
    facts, timing = trace.header.get("environment") or {}, trace.measured["timing"]
    load, cpus = facts.get("load_1min"), facts.get("cpus")
    if load is not None and cpus and load > BUSY * cpus:
        found.append(f"the machine was busy before measuring began (load {load:.1f} on {cpus} CPUs)")
    if facts.get("governor") == "powersave":
        found.append("the CPU's governor was powersave")
    drift = timing.get("sentinel_drift")
    if drift is not None and abs(drift) > CLOCK:
        found.append(f"a fixed kernel ran {drift:+.0%} slower after measuring than before")
    if spread.times and spread.mad > NOISY * spread.median:
        found.append(f"runs spread by {spread.mad / spread.median:.0%} around their median")
    if timing["quality"] not in ("device", "quantised"):
        found.append(timing_text(timing))
    return found


def _spread(spread: Spread) -> Record | None:
    if not spread.times:
        return None
    return {
        "median": spread.median,
        "p90": spread.quantile(0.9),
        "p99": spread.quantile(0.99),
        "mad": spread.mad,
        "runs": len(spread.times),
        "drift": spread.drift(),
        "outliers": [{"run": run, "ms": time} for run, time in spread.outliers()],
    }


def _waterfall(report: Record, waits: list[Record]) -> list[str]:
    """Each part where it lies in the run: its bar begins where the part before ends; under it what it waits for."""
    parts = report["parts_us"]
    whole = parts["whole"]
    if not whole:
        return ["parts of a run's time: untimed"]
    rows, begin = [], 0.0
    for name in PARTS:
        us = parts.get(name) or 0.0
        offset = " " * round(30 * min(max(begin, 0.0) / whole, 1.0))
        rows.append([time_text(us), share_text(us, whole), f"{name:<13} {offset}{bar(us, whole)}".rstrip()])
        begin += us
        rows += [[time_text(wait["us"]), "", f"  {_wait_text(wait)}"] for wait in waits if wait["part"] == name]
    rows.append([time_text(whole), "", "whole"])
    return columns(["time", "share", "parts of a run's time, one after the other"], rows)


def _steady(spread: Spread) -> list[str]:
    if not spread.times:
        return ["no plain runs in this trace"]
    figures = (
        f"median {ms_text(spread.median)}, p90 {ms_text(spread.quantile(0.9))}, p99 {ms_text(spread.quantile(0.99))}"
    )
    lines = [f"{len(spread.times)} runs: {figures}, MAD {ms_text(spread.mad)}"]
    if (drift := spread.drift()) is not None:
        lines.append(f"the later half of the runs took {drift:+.1%} against the earlier")
    for run, time in spread.outliers()[:3]:
        lines.append(f"outlier: run {run + 1} of {len(spread.times)} took {ms_text(time)}")
    return lines


def _wait_text(wait: Record) -> str:
    if not wait["tensors"]:
        return wait["cause"]
    tensors = few([str(name) for name in wait["tensors"]], 3)
    return f"the host waits for {tensors} ({bytes_text(wait['bytes'])}): {wait['cause']}"


def _environment(trace: Trace) -> list[str]:
    facts = trace.header.get("environment")
    if not facts:
        return []
    adapter = trace.header["adapter"]
    words = {
        "system": "{}",
        "cpus": "{} CPUs",
        "load_1min": "load {:.2f} before measuring",
        "governor": "governor {}",
        "python": "Python {}",
    }
    machine = [text.format(facts[key]) for key, text in words.items() if facts.get(key) is not None]
    return [f"measured on {adapter['name']} ({adapter.get('driver') or 'driver not named'}); {', '.join(machine)}"]
