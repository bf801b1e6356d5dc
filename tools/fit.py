"""tstorch-fit: whether a model runs on devices that are not at hand, and if not, which rule breaks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tstorch.diagnostics import ExitCode, UsageError
from tstorch.tools.common import add_compile_arguments, guarded, parse_dims, split_names

if TYPE_CHECKING:
    from tstorch.fit.device import Device
    from tstorch.fit.judge import Fit


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `tstorch-fit`. Returns the exit code: 1 where a device won't run the model."""
    options = _parser().parse_args(argv)
    return guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.list_devices:
        return _list()
    if options.probe:
        from tstorch.fit.probe import probe

        sys.stdout.write(f"{probe(options.probe, options.adapter)}\n")
        return ExitCode.OK
    if not options.model or not options.device:
        raise UsageError("give a model and --device ID[,ID...], or --list-devices, or --probe FILE")
    return _judge(options)


def _judge(options: argparse.Namespace) -> int:
    from tstorch.compiled import Recipe, demoting
    from tstorch.fit.device import Device
    from tstorch.fit.judge import Status, judge

    devices = [Device.load(name) for name in split_names(options.device)]
    recipe = Recipe(
        dims=parse_dims(options.dim),
        rules=tuple(options.rules),
        without=tuple(split_names(options.without)),
        instead=demoting() if options.demote_f64 else {},
        plugins=not options.no_plugins,
    )
    require = tuple(split_names(options.require))
    fits = [judge(options.model, device, recipe, require=require, within_ms=options.within) for device in devices]
    if options.json:
        sys.stdout.write(json.dumps([fit.to_json() for fit in fits], indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(line for fit in fits for line in fit_lines(fit)) + "\n")
    return ExitCode.DIAGNOSTIC if any(fit.status is Status.WONT_RUN for fit in fits) else ExitCode.OK


def fit_lines(fit: Fit) -> list[str]:
    """The verdict, what speaks for and against it, and who says what is known of the device."""
    from tstorch.fit.checks import MEMORY

    lines = [f"{fit.status} on {fit.device.name} ({fit.device.target.id}, {fit.device.confidence})"]
    lines += [f"  because {violation}" for violation in fit.forbids]
    lines += [f"  if {condition}" for condition in fit.conditions]
    lines += [f"  unknown: {datum}" for datum in fit.missing]
    if fit.memory is not None:
        memory = fit.memory
        parts = ", ".join(f"{name} {memory[name]:,}" for name in MEMORY)
        lines.append(f"  memory: {memory['total']:,} bytes: {parts}; {_budget(fit.device)}")
    if fit.floor_ms is not None:
        lines.append(f"  time: at best {fit.floor_ms:.3g} ms, {fit.dispatches} dispatches ({fit.device.rates.source})")
    lines += [f"  note: {note}" for note in fit.notes]
    return [*lines, *(f"  source: {source}" for source in fit.device.sources)]


def _budget(device: Device) -> str:
    memory = device.memory
    if memory.hard is None:
        return "budget unknown"
    sure = "" if memory.pessimistic is None else f", {memory.pessimistic:,} for sure"
    return f"budget {memory.hard:,}{sure} ({memory.source})"


def _list() -> int:
    from tstorch.fit.device import Device
    from tstorch.target import known_devices

    devices = [Device.load(name) for name in known_devices()]
    width = max(len(device.target.id) for device in devices)
    for device in devices:
        sys.stdout.write(f"{device.target.id:<{width}}  {device.form:<13}  {device.confidence:<8}  {device.name}\n")
    return ExitCode.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tstorch-fit", description=__doc__)
    parser.add_argument("model", nargs="?", help="a model (.onnx)")
    parser.add_argument("--device", metavar="ID|FILE[,...]", action="append", default=[], help="what to check it for")
    parser.add_argument("--list-devices", action="store_true", help="print the devices that are known")
    parser.add_argument("--probe", metavar="FILE.toml", help="measure this machine's adapter into a device file")
    parser.add_argument("--adapter", metavar="NAME", help="the adapter to probe, by part of its name")
    parser.add_argument("--require", metavar="FEATURE", action="append", default=[], help="a feature it must have")
    parser.add_argument("--within", metavar="MS", type=float, help="a time that the least possible one must not exceed")
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    add_compile_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
