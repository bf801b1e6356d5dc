"""The first block of the report: what a person who asks 'how does my model do here?' wants to read, in 12 lines."""

from __future__ import annotations

from collections.abc import Iterator

from tstorch.diagnostics import Violation
from tstorch.report.names import few, node_names
from tstorch.report.units import bytes_text, in_ms, ms_text, share_text
from tstorch.trace.schema import Record

# Label and text of one line.
Row = tuple[str, str]

CONTRIBUTORS = 3
FUSIONS = 1


def rows(report: Record) -> Iterator[Row]:
    """Label and text of each line; an empty label continues the row above."""
    yield "Model", _model(report)
    yield "Total latency", _latency(report)
    yield "Peak GPU memory", _memory(report["memory"])
    yield "GPU dispatches", str(report["dispatches"])
    yield from labelled("Top latency contributors", _contributors(report))
    yield from labelled("Operator fusion", _fusions(report))
    yield from labelled("Conclusion", _conclusion(report))


def labelled(label: str, lines: list[str]) -> Iterator[Row]:
    """The lines under one label."""
    for index, line in enumerate(lines or ["none"]):
        yield ("" if index else label), line


def _model(report: Record) -> str:
    dims = ", ".join(f"{name}={size}" for name, size in report["dims"].items())
    return report["model"]["path"] + (f" ({dims})" if dims else "")


def _latency(report: Record) -> str:
    latency = report["latency_ms"]
    return f"{in_ms(1e3 * latency['median'])} (median of {latency['runs']} runs)"


def _memory(memory: Record) -> str:
    """What a run holds; and what loading held at once, where weights were derived from others then."""
    weights = bytes_text(memory["weights"])
    steady = f"{bytes_text(memory['requested'])} requested, weights and all (weights are {weights})"
    peak = memory.get("peak") or 0
    return steady + (f"; {bytes_text(peak)} while loading" if peak > memory["requested"] else "")


def _contributors(report: Record) -> list[str]:
    """The nodes that lead the slowest dispatches, and what went into the first of them."""
    names, table = node_names(report), report["dispatch_table"]
    if any(dispatch["us"] is None for dispatch in table):
        return ["untimed: this adapter gives no times of single dispatches"]
    led: dict[str, float] = {}
    members: dict[str, dict[str, None]] = {}
    for dispatch in table:
        head = dispatch["leader"] or dispatch["kernel"]
        led[head] = led.get(head, 0.0) + dispatch["us"]
        members.setdefault(head, {}).update(dict.fromkeys(share["id"] for share in dispatch["nodes"]))
    whole = sum(led.values())
    lines = []
    for head in sorted(led, key=lambda node: -led[node]):
        lines.append(f"{in_ms(led[head]):>9} {share_text(led[head], whole):>5}  {names.get(head, head)}")
        fused = [names.get(node, node) for node in members[head] if node not in led]
        if fused and len(lines) == 1:
            lines.append(f"{'fused':>9} {'':>5}  {few(fused)} into {names.get(head, head)}")
    return lines[:CONTRIBUTORS]


def _fusions(report: Record) -> list[str]:
    done = report["fusion"]["done"]
    return [f"{row['label']} -> fused ({_occurrences(row['occurrences'])})" for row in done[:FUSIONS]]


def _occurrences(count: int) -> str:
    return f"{count} occurrence{'' if count == 1 else 's'}"


def _conclusion(report: Record) -> list[str]:
    """What holds here, then what holds elsewhere: one line on each class of devices, by the checks of `tstorch-fit`."""
    here = f"{report['verdict']['status']} on {report['adapter']['name']}; {here_text(report)}"
    others = [f"{fit['class']:<10} {fit['status']} on {fit['name']}: {evidence_text(fit)}" for fit in report["classes"]]
    return [here, *_first_wrong(report), *others]


def here_text(report: Record) -> str:
    """Whether the answer is right, whether it fits, what the times are worth."""
    return "; ".join([_right(report), _fits(report), timing_text(report["timing"])])


def evidence_text(fit: Record) -> str:
    """What a verdict on another device rests on."""
    why = [str(Violation(**reason)) for reason in fit["reasons"]] or fit["missing"] or fit["conditions"]
    more = f" (and {len(why) - 1} more)" if len(why) > 1 else ""
    return why[0] + more if why else _room(fit)


def _room(fit: Record) -> str:
    """What a device that runs the model has to spare."""
    memory = f"{bytes_text(fit['memory']['total'])} of {bytes_text(fit['budget']['sure'])} for sure"
    floor = "" if fit["floor_ms"] is None else f", at best {ms_text(fit['floor_ms'])}"
    return f"{memory}{floor} ({fit['confidence']})"


def _right(report: Record) -> str:
    check = report["check"]
    if check is None:
        return "outputs not checked (--check does)"
    worst = max(check["outputs"], key=lambda row: float("inf") if row["error"] is None else row["error"])
    if worst["error"] is None:
        return f"outputs WRONG: '{worst['output']}' has not the shape, or not the NaNs, of {worst['reference']}'s"
    word = "right" if all(row["ok"] for row in check["outputs"]) else "WRONG"
    return (
        f"outputs {word}: largest error {worst['error']:.1e} of '{worst['output']}' against {worst['reference']} "
        f"(limit {check['tolerance']:.0e})"
    )


def _first_wrong(report: Record) -> list[str]:
    """The node that the wrong output comes from, where `--check` looked for it."""
    first = (report["check"] or {}).get("first")
    if first is None:
        return []
    error = "not comparable" if first["error"] is None else f"error {first['error']:.1e}"
    return [f"first wrong: '{first['node']}' ({first['op_type']}), {error}; what it reads is right"]


def _fits(report: Record) -> str:
    memory = report["memory"]
    reserved = "" if memory["reserved"] is None else f", {bytes_text(memory['reserved'])} reserved"
    return f"fits: {bytes_text(memory['requested'])} requested{reserved}"


def timing_text(timing: Record) -> str:
    """What the times are worth, in a few words."""
    words = {
        "device": "times are the device's own",
        "quantised": "times are the device's own, but coarse",
        "host": "times are the host's, of submit and wait",
        "untimed": "single dispatches are untimed",
        "invalid": "the device's timestamps are invalid and not used",
    }
    stable = timing.get("stable", True)
    return words[timing["quality"]] + ("" if stable else ", unstable (the clock drifted)")
