"""What --no-fuse does: the model once more with fusions taken apart, measured in turns with the fused one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from tstorch.diagnostics import DiagnosticError
from tstorch.report.names import few
from tstorch.report.units import bytes_text, time_text
from tstorch.session import Arrays, Measured, Model
from tstorch.trace.join import node_shares
from tstorch.trace.savings import estimates
from tstorch.trace.schema import Record, Trace

ROUNDS = 7


def unfuse(
    model: Model,
    trace: Measured,
    inputs: Arrays,
    nodes: Sequence[str],
    load: Callable[[Sequence[str]], Model],
    path: str | None,
) -> None:
    """Notes in the trace what the fusions of these nodes are estimated to save, writes it, and then measures it.

    `load` gives the model with nodes kept apart. Raises DiagnosticError for a node that is in no fusion.
    """
    trace.estimates = fusions_of(trace, nodes)
    if path:
        trace.write(path)
    members = dict.fromkeys(node for row in trace.estimates for node in row["nodes"])
    with load(list(members)) as apart:
        trace.measured["unfused"] = measure_unfused(model, apart, inputs, trace.estimates)


def unfused_lines(rows: Sequence[Record]) -> Iterator[str]:
    """What each fusion was estimated to save, and what it saves."""
    yield f"{'estimated':>9} {'measured':>9} {'fused':>9} {'apart':>9}  fusions taken apart (--no-fuse)"
    for row in rows:
        cells = [
            time_text(row["us"]),
            _signed(row["measured_us"]),
            time_text(row["fused_us"]),
            time_text(row["apart_us"]),
        ]
        saved = f"{bytes_text(row['bytes'])} not moved, {row['dispatches']} dispatches not launched"
        yield f"{' '.join(cell.rjust(9) for cell in cells)}  {few(row['nodes'], 4)}: {saved}"


def _signed(us: float) -> str:
    return f"{'-' if us < 0 else ''}{time_text(abs(us))}"


def fusions_of(trace: Trace, nodes: Sequence[str]) -> list[Record]:
    """The estimate of each fusion that serves one of these nodes. Raises DiagnosticError for a node that is in none."""
    known, rows = {node["id"] for node in trace.nodes}, estimates(trace)
    for node in nodes:
        if node not in known:
            raise DiagnosticError(
                f"--no-fuse {node}: the model has no node of that name; tstorch-trace nodes lists all"
            )
        if not any(node in row["nodes"] for row in rows):
            raise DiagnosticError(f"--no-fuse {node}: it shares no kernel with another node; there is nothing to undo")
    return [row for row in rows if any(node in row["nodes"] for node in nodes)]


def measure_unfused(
    fused: Model, apart: Model, inputs: Arrays, rows: Sequence[Record], rounds: int = ROUNDS
) -> list[Record]:
    """The rows with `fused_us` and `apart_us`, the typical times of the dispatches for a row's nodes, and
    `measured_us`, what fusing saves. Raises DiagnosticError where the adapter has no clock."""
    models = fused, apart
    samples: tuple[list[dict[int, float]], ...] = ([], [])
    for number in range(rounds + 1):
        for at in (0, 1) if number % 2 else (1, 0):
            found = _run(models[at], inputs)
            if number:  # the first of each is for its caches
                samples[at].append(found)
    typical = min if fused.adapter["class"] == "cpu" else median  # other work on the same cores only ever adds
    times = [{id: typical([run[id] for run in runs]) for id in runs[0]} for runs in samples]
    return [row | _difference(row, models, times) for row in rows]


def _run(model: Model, inputs: Arrays) -> dict[int, float]:
    """Microseconds of each dispatch of one detailed run, less what timing adds."""
    times: dict[int, float] = {}
    for id, ns in model.timed_dispatches(inputs):
        times[id] = times.get(id, 0.0) + ns / 1e3
    return times


def _difference(row: Record, models: tuple[Model, Model], times: Sequence[Mapping[int, float]]) -> dict[str, Any]:
    nodes = set(row["nodes"])
    theirs = [d["id"] for d in models[1].artifact.dispatches if nodes.issuperset(node_shares(d)) and node_shares(d)]
    ours, others = times[0].get(row["dispatch"], 0.0), sum(times[1].get(id, 0.0) for id in theirs)
    return {"fused_us": ours, "apart_us": others, "measured_us": others - ours}
