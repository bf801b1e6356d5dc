"""The rest of the report: the figures behind the headline, each section with its own bound of lines unless in full."""

from __future__ import annotations

from collections.abc import Iterator

from tstorch.report.fusion import refusals
from tstorch.report.headline import Row, labelled, timing_text
from tstorch.report.names import few, node_names
from tstorch.report.units import bytes_text, count_text, ms_text, share_text, time_text
from tstorch.report.wrong import first_wrong
from tstorch.trace.schema import Record

KERNELS = 5
FUSED = 3
REFUSED = 3
ALIVE = 3


def rows(report: Record, *, full: bool) -> Iterator[Row]:
    """Label and text of each line of every section; `full` lifts the bounds and adds the table of nodes."""
    if first := (report["check"] or {}).get("first"):
        yield from labelled("First wrong node", first_wrong(first))
    yield from labelled("Adapter", _adapter(report))
    if report.get("notes"):
        yield from labelled("Notes", report["notes"])
    yield "Steady latency", _steady(report)
    yield from labelled("Cold start", _cold(report))
    yield from labelled("Parts of a run's time", _parts(report["parts_us"]))
    if report.get("synchronisations"):
        yield from labelled("Decided by the host", _decisions(report))
    yield from labelled("Kernels", _kernels(report, None if full else KERNELS))
    yield from labelled("Fusion done", _fused(report, None if full else FUSED))
    yield from labelled("Fusion declined (and cost)", _refused(report, None if full else REFUSED))
    yield from labelled("Memory", _memory(report, None if full else ALIVE))
    if full:
        yield from labelled("Dispatches", _dispatches(report))
        yield from labelled("Nodes (times are estimates)", _nodes(report))


def _adapter(report: Record) -> list[str]:
    adapter, timing = report["adapter"], report["timing"]
    driver = adapter["driver"] or "driver not named"
    first = f"{adapter['name']} ({adapter['backend']}, {driver}); compiled for {report['target']['id']}"
    facts = [timing_text(timing)]
    if timing.get("agreement") is not None:
        facts.append(f"agreement {timing['agreement']:.0f} %")
    if timing.get("probe_us") is not None:
        facts.append(f"raw sum {time_text(timing['raw_sum_us'])} less {_constant(timing)}")
    if timing.get("sentinel_drift") is not None:
        facts.append(f"clock drift {timing['sentinel_drift']:+.0%}")
    cap = adapter.get("loop_cap")
    notes = (
        [] if cap is None else [f"this driver ends each invocation after {cap:,} loop iterations; no kernel needs more"]
    )
    return [first, "; ".join(facts), *notes]


def _constant(timing: Record) -> str:
    """The probe's constant, which may be nothing at all (then no time is printed), and the factor where it is not 1."""
    constant, scale = timing["probe_us"], timing.get("scale", 1.0)
    text = "nothing" if constant == 0 else time_text(constant)
    return f"{text} a dispatch" + ("" if scale == 1 else f", x {scale:.2f}")


def _steady(report: Record) -> str:
    latency, idle = report["latency_ms"], report["timing"].get("idle_run_ms")
    figures = (
        f"median {ms_text(latency['median'])}, p90 {ms_text(latency['p90'])}, spread (MAD) {ms_text(latency['mad'])}"
    )
    after = "" if idle is None else f"; a single run on an idle device {ms_text(idle)}"
    return f"{figures}, {latency['runs']} runs{after}"


def _cold(report: Record) -> list[str]:
    """The stages on the critical path; they add up to the total."""
    cold = report["cold_ms"]
    cells = [f"{name.replace('_', ' ')} {ms_text(ms)}" for name, ms in cold.items() if name != "total" and ms]
    return _sum_lines(ms_text(cold["total"]), cells)


def _parts(parts: Record) -> list[str]:
    """The parts in order; they add up to the whole, which is a mean as they are."""
    whole = parts["whole"]
    cells = [
        f"{name} {time_text(us)} ({share_text(us, whole)})" for name, us in parts.items() if name != "whole" and us
    ]
    return _sum_lines(time_text(whole), cells)


def _decisions(report: Record) -> list[str]:
    """What a run stops for, and what was compiled for the shapes that runs told."""
    looks, names = report["synchronisations"], node_names(report)
    hosts = [names[node["id"]] for node in report["nodes"] if node["where"] == "host"]
    times = f"{looks['count']} synchronisation{'s' * (looks['count'] > 1)}"
    first = f"{times} a run, {bytes_text(looks['bytes'])} looked at, {time_text(looks['us'])}"
    made = report.get("specialised") or []
    lines = [first + (f"; at {few(hosts, 3)}" if hosts else "")]
    if made:
        spent = ms_text(sum(row["ms"] for row in made))
        lines.append(f"{len(made)} segment{'s' * (len(made) > 1)} compiled for shapes that runs told, in {spent}")
    return lines


def _sum_lines(total: str, cells: list[str]) -> list[str]:
    """`total = a + b + ...` on two lines."""
    middle = (len(cells) + 1) // 2
    return [f"{total} = {' + '.join(cells[:middle])}", f"+ {' + '.join(cells[middle:])}"]


def _kernels(report: Record, limit: int | None) -> list[str]:
    kernels = report["kernels"]
    known = all(kernel["us"] is not None for kernel in kernels)
    whole = sum(kernel["us"] for kernel in kernels) if known else None
    names = node_names(report)
    lines = [f"{'time':>9} {'of gpu':>6} {'x':>3} {'bytes':>9} {'work':>11} {'bound':>7} {'of it':>5}  what"]
    for kernel in kernels[:limit]:
        nodes = few([names.get(node) or node for node in kernel["nodes"]], 1)
        lines.append(
            f"{time_text(kernel['us']):>9} {share_text(kernel['us'], whole):>6} {kernel['dispatches']:>3} "
            f"{bytes_text(kernel['bytes']):>9} {count_text(kernel['flops'], 'FLOP'):>11} "
            f"{kernel['bound'] or '-':>7} {share_text(kernel['share_of_ceiling']):>5}  {kernel['label']}: {nodes}"
        )
    between = report["timing"].get("residual_us") or 0.0
    gap = [f"{time_text(between):>9}  between dispatches"] if between >= 1 else []
    return [*lines, *_rest(kernels, limit, "kernels", whole), *gap]


def _rest(items: list[Record], limit: int | None, what: str, whole: float | None = None) -> list[str]:
    """One line for what does not fit, with its time, so that what is printed still adds up."""
    rest = items[limit:] if limit is not None else []
    if not rest:
        return []
    times = [item["us"] for item in rest]
    if None in times:
        return [f"and {len(rest)} more {what} (--full)"]
    return [f"{time_text(sum(times)):>9} {share_text(sum(times), whole):>6}  {len(rest)} more {what} (--full)"]


def _fused(report: Record, limit: int | None) -> list[str]:
    done = report["fusion"]["done"]
    lines = [
        f"{time_text(row['us']):>9} {row['occurrences']:>3} x {row['label']}"
        + (f" [{few(row['as'], 1)}]" if row["as"] else "")
        + f", from {few(row['nodes'][0], 3)}"
        for row in done[:limit]
    ]
    return [*lines, *_rest(done, limit, "kinds")]


def _refused(report: Record, limit: int | None) -> list[str]:
    """Refusals by reason, each with what all of its kind would have saved and the case that costs most."""
    lines = []
    for group in refusals(report["fusion"]["missed"]):
        first, *others = group["rows"]
        more = f"; {len(others)} more of this kind" if others else ""
        worth = "unknown" if group["saved_us"] is None else time_text(group["saved_us"])
        lines.append(f"{worth:>9} {group['id']} {first['reason']}: {few(first['nodes'], 2)}{more}")
        if limit is None:
            lines += [f"{'':>9} {row['id']} {row['reason']}: {few(row['nodes'], 2)}" for row in others]
    more = len(lines) - limit if limit is not None else 0
    return [*lines[:limit], f"and {more} more kinds (--full)"] if more > 0 else lines


def _memory(report: Record, limit: int | None) -> list[str]:
    memory, peak = report["memory"], report["live_at_peak"]
    requested = ", ".join(f"{kind} {bytes_text(memory[kind])}" for kind in ("weights", "activations", "staging"))
    bound = f"arena peak {bytes_text(memory['arena_peak'])}, lower bound {bytes_text(memory['lower_bound'])}"
    if memory["lower_bound"]:
        bound += f" (x {memory['arena_peak'] / memory['lower_bound']:.2f})"
    if alive := [f"{tensor['name']} {bytes_text(tensor['bytes'])}" for tensor in peak["tensors"]]:
        bound += f"; alive at dispatch {peak['dispatch']}: {few(alive, len(alive) if limit is None else limit)}"
    return [
        f"requested {bytes_text(memory['requested'])}: {requested}",
        f"reserved {bytes_text(memory['reserved'])}: {memory['reserved_source']}",
        bound,
    ]


def _dispatches(report: Record) -> list[str]:
    names = node_names(report)
    return [
        f"{row['id']:>4} {time_text(row['us']):>9}  {row['kernel']} {'x'.join(map(str, row['grid']))}  "
        + ", ".join(
            f"{names.get(share['id'], share['id'])}"
            + ("" if share["role"] == "forward" else f" [{share['role']}]")
            + f" {share_text(share['share'])}"
            for share in row["nodes"]
        )
        for row in report["dispatch_table"]
    ]


def _nodes(report: Record) -> list[str]:
    names = node_names(report)
    return [
        f"{time_text(node['us']) if node['where'] == 'run' else node['where']:>9}  {names[node['id']]}"
        + (f": {node['reason']}" if node["reason"] else "")
        for node in report["nodes"]
    ]
