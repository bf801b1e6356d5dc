"""Who owns the microseconds: times of dispatches joined, by dispatch id, to kernels and to ONNX nodes.

A dispatch's time is measured. What one node has of a fused dispatch is an estimate, by the shares that the compiler
wrote (of FLOPs and bytes); shares of a dispatch sum to 1, so nodes add up to the dispatches, and those to the gpu part.
Everything here yields None where nothing was timed, never 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tstorch.trace.schema import Record, Trace

ALMOST = 0.9


def timed_dispatches(trace: Trace) -> list[Record]:
    """The dispatches that a run submits, in order: those of `init` run once, at load, and are no part of latency.

    Nor are those of a program that its runs went past: a branch that was not taken.
    """
    return [row for row in trace.dispatches if row["entry"] != "init" and row.get("runs", 1)]


def total_us(dispatches: Iterable[Record]) -> float | None:
    """The sum of the dispatches' times, or None where any of them is untimed."""
    rows = list(dispatches)
    times = [row["us"] for row in rows if row.get("us") is not None]
    return sum(times) if rows and len(times) == len(rows) else None


def gpu_us(trace: Trace) -> float | None:
    """Microseconds of all dispatches of one run."""
    return total_us(timed_dispatches(trace))


def by_kernel(trace: Trace) -> dict[str, list[Record]]:
    """The dispatches of a run under the name of the kernel that each launches."""
    kernels: defaultdict[str, list[Record]] = defaultdict(list)
    for dispatch in timed_dispatches(trace):
        kernels[dispatch["kernel"]].append(dispatch)
    return dict(kernels)


def node_us(trace: Trace) -> dict[str, float | None]:
    """The estimated microseconds of each node that has a part in a dispatch of a run."""
    owned: defaultdict[str, list[float | None]] = defaultdict(list)
    for dispatch in timed_dispatches(trace):
        for share in dispatch["shares"]:
            owned[share["id"]].append(None if dispatch.get("us") is None else dispatch["us"] * share["share"])
    return {node: None if None in parts else sum(p for p in parts if p is not None) for node, parts in owned.items()}


def leader(dispatch: Record) -> str | None:
    """The node that the dispatch is named after, into which the others were fused; None where it serves none.

    It has the largest share, or one that is as good as that and comes first.
    """
    shares = node_shares(dispatch)
    enough = ALMOST * max(shares.values(), default=0.0)
    return next((node for node, share in shares.items() if share >= enough), None)


def node_shares(dispatch: Record) -> dict[str, float]:
    """Node id to its share of the dispatch, over all roles, in the order of the dispatch's own table."""
    shares: defaultdict[str, float] = defaultdict(float)
    for share in dispatch["shares"]:
        shares[share["id"]] += share["share"]
    return dict(shares)


def alive(trace: Trace) -> list[list[int]]:
    """For each moment of the timeline the tensors that live then, by their places in `trace.tensors`.

    Parts of one value are tensors of one name: of these, those count that live at that dispatch.
    """
    places: defaultdict[str, list[int]] = defaultdict(list)
    for at, tensor in enumerate(trace.tensors):
        places[tensor["name"]].append(at)

    def living(name: str, moment: int) -> list[int]:
        same = places[name]
        lives = [(trace.tensors[at].get("first", 0), trace.tensors[at].get("last", moment)) for at in same]
        return [at for at, (first, last) in zip(same, lives, strict=True) if len(same) == 1 or first <= moment <= last]

    return [
        [at for name in dict.fromkeys(row["tensors"]) for at in living(name, moment)]
        for moment, row in enumerate(trace.timeline)
    ]


def led_us(trace: Trace) -> dict[str, float | None]:
    """Leading node to the microseconds of the dispatches that it leads; these add up without any estimate."""
    led: defaultdict[str, list[Record]] = defaultdict(list)
    for dispatch in timed_dispatches(trace):
        if (node := leader(dispatch)) is not None:
            led[node].append(dispatch)
    return {node: total_us(dispatches) for node, dispatches in led.items()}


def fused_into(trace: Trace) -> dict[str, str]:
    """Node id to the node whose dispatch it went into, for each node that leads no dispatch of its own."""
    leaders = led_us(trace)
    into: dict[str, str] = {}
    for dispatch in timed_dispatches(trace):
        head = leader(dispatch)
        for node in node_shares(dispatch):
            if head is not None and node not in leaders:
                into.setdefault(node, head)
    return into
