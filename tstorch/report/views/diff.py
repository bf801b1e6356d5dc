"""Why fast there, slow here: two traces of one model by node, each difference with its causes and its noise."""

from __future__ import annotations

from tstorch.report.names import few
from tstorch.report.units import ms_text, share_text, time_text
from tstorch.report.views.base import View, columns
from tstorch.report.views.summary import unfit
from tstorch.trace.compare import CAUSES, Comparison, Group, compare
from tstorch.trace.schema import Record, Trace

ROWS = 20


def view(before: Trace, after: Trace) -> View:
    """The whole, its parts, the causes of the GPU's difference, then the groups that differ beyond noise."""
    comparison = compare(before, after)
    return View(
        _data(comparison), [*_whole(comparison), "", *_parts(comparison), "", *_causes(comparison), *_rows(comparison)]
    )


def _data(comparison: Comparison) -> Record:
    return {
        "before": _side(comparison.before),
        "after": _side(comparison.after),
        "is_noise": comparison.is_noise,
        "parts_us": {name: {"before": old, "after": new} for name, (old, new) in comparison.parts.items()},
        "causes_us": comparison.causes,
        "host_us": comparison.host,
        "groups": [_group(group) for group in comparison.groups],
    }


def _side(trace: Trace) -> Record:
    facts = {key: trace.header.get(key) for key in ("tstorch", "target", "pipeline", "environment", "fingerprint")}
    return {"adapter": trace.header["adapter"], "latency_ms": trace.measured["latency_ms"], **facts}


def _group(group: Group) -> Record:
    return {
        "nodes": list(group.nodes),
        "before_us": group.before.us,
        "after_us": group.after.us,
        "difference_us": group.difference,
        "is_noise": group.is_noise,
        "causes_us": group.causes,
        "dispatches": [len(group.before.dispatches), len(group.after.dispatches)],
    }


def _whole(comparison: Comparison) -> list[str]:
    first, second = comparison.before, comparison.after
    old, new = first.measured["latency_ms"]["median"], second.measured["latency_ms"]["median"]
    verdict = "no difference beyond the spread of the runs" if comparison.is_noise else f"x {new / old:.2f}"
    return [
        f"latency {ms_text(old)} -> {ms_text(new)}: {verdict}",
        *_machine("before", first),
        *_machine("after", second),
        *_unlike("passes", _passes(first), _passes(second)),
        *_unlike("features", _features(first), _features(second)),
    ]


def _machine(word: str, trace: Trace) -> list[str]:
    adapter, timing = trace.header["adapter"], trace.measured["timing"]
    driver = adapter.get("driver") or "driver not named"
    warnings = [f"{word:<7} unfit for comparison: {warning}" for warning in unfit(trace)]
    return [f"{word:<7} {adapter['name']} ({driver}), {timing['quality']} clock", *warnings]


def _unlike(what: str, first: set[str], second: set[str]) -> list[str]:
    sides = (("before", first - second), ("after", second - first))
    return [f"{what} only {word}: {', '.join(sorted(names))}" for word, names in sides if names]


def _passes(trace: Trace) -> set[str]:
    return set(trace.header.get("pipeline") or ())


def _features(trace: Trace) -> set[str]:
    return set((trace.header["target"] or {}).get("features") or ())


def _parts(comparison: Comparison) -> list[str]:
    rows = [[time_text(old), time_text(new), _signed(new - old), name] for name, (old, new) in comparison.parts.items()]
    return columns(["before", "after", "change", "part of a run"], rows)


def _causes(comparison: Comparison) -> list[str]:
    words = {
        "launch": "empty dispatches, as many as there are",
        "fusion": "other bytes and operations: fusion differs",
        "memory": "the devices' bandwidth",
        "compute": "the devices' arithmetic",
        "feature": "other kernels, which use other features of the device",
        "kernel": "other kernels: how near each comes to its device's ceiling",
        "unexplained": "unexplained: the same kernels",
    }
    moved = sum(abs(group.difference) for group in comparison.groups)
    rows = [
        [_signed(comparison.causes[cause]), share_text(abs(comparison.causes[cause]), moved or None), words[cause]]
        for cause in CAUSES
    ]
    rows.append([_signed(comparison.host), "", "beside the gpu's part: the host"])
    return columns(["change", "share", "cause, of the gpu's part"], rows)


def _rows(comparison: Comparison) -> list[str]:
    real = [group for group in comparison.groups if not group.is_noise]
    quiet = len(comparison.groups) - len(real)
    rows = [
        [
            time_text(group.before.us),
            time_text(group.after.us),
            _signed(group.difference),
            f"{len(group.before.dispatches)}->{len(group.after.dispatches)}",
            _main_cause(group),
            few(list(group.nodes), 2),
        ]
        for group in real[:ROWS]
    ]
    more = [f"and {len(real) - ROWS} more (--json)"] if len(real) > ROWS else []
    noise = f"{quiet} of {len(comparison.groups)} groups of nodes: no difference beyond the spread"
    table = columns(["before", "after", "change", "disp.", "mostly", "nodes"], rows, left=2) if real else []
    return ["", *table, *more, noise]


def _main_cause(group: Group) -> str:
    return max(group.causes, key=lambda cause: abs(group.causes[cause]))


def _signed(us: float) -> str:
    return f"{'+' if us >= 0 else '-'}{time_text(abs(us))}"
