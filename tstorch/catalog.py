"""All passes in words: what `tstorch-opt --list-passes` prints, derived from the registry and the pipeline."""

from tstorch.pipeline import PHASES, Contract, Phase, phase_of
from tstorch.plugins import Extensions
from tstorch.registry import PASSES, pass_class


def pass_list(extensions: Extensions) -> str:
    """One line a pass (name, levels, place in the pipeline, first line of its docstring), then the pipeline."""
    names = sorted({*PASSES, *extensions.passes})
    heading = "\ndefault pipeline (hook points of plugins at both ends of a phase; ? marks what --without may drop)\n"
    pipeline = [f"  {phase.hooks[0]}\n{_steps(phase)}  {phase.hooks[1]}\n" for phase in PHASES]
    broken = [f"{plugin}\n" for plugin in extensions.broken]
    return "".join([*(_line(name, extensions) for name in names), heading, *pipeline, *broken])


def _line(name: str, extensions: Extensions) -> str:
    kind = pass_class(name, extensions)
    contract = Contract.of(kind)
    levels = f"{contract.requires or 'any'} -> {contract.ensures or 'same'}"
    origin = extensions.origin(name)
    summary = (kind.__doc__ or "").strip().partition("\n")[0]
    place = " ".join(filter(None, [phase_of(name), f"plugin {origin}" if origin else ""])) or "-"
    return f"{name:28} {levels:14} {place:10} {summary}\n"


def _steps(phase: Phase) -> str:
    return "".join(f"    {step.spec}{' ?' if step.optional else ''}\n" for step in phase.steps)
