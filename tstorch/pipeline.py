"""The default pipeline, written down once: phases, their passes, and the hook points of plugins.

`--compile-to`, the names of dump files and the list of passes in the artifact are all derived from `PHASES`.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import ArgSpec, parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError, DiagnosticException, VerifyException

from tstorch.diagnostics import DiagnosticError, LevelError, UsageError
from tstorch.levels import Level, add_to_pipeline, get_level, set_level
from tstorch.location_audit import LocationAudit
from tstorch.operators import name_operator
from tstorch.plugins import Extensions
from tstorch.registry import CompilerContext, make_context, pass_class
from tstorch.verification import verify_module


@dataclass(frozen=True)
class Step:
    """One pass of the pipeline. Without an optional one the program is slower, without another it is no program.

    `switches` are boolean options of the pass that `--without` turns off by their names.
    """

    spec: str
    optional: bool = False
    switches: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The pass's name."""
        return self.spec.partition("{")[0]


@dataclass(frozen=True)
class Phase:
    """Steps that belong together, and the level that stands after them."""

    name: str
    level: Level
    steps: tuple[Step, ...]

    @property
    def hooks(self) -> tuple[str, str]:
        """The hook points before and after the phase."""
        return f"before-{self.name}", f"after-{self.name}"


NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})
SIMPLIFY = (Step("canonicalize", optional=True), Step("cse", optional=True), Step("dce", optional=True))

PHASES: tuple[Phase, ...] = (
    Phase("import", Level.ONNX, ()),
    Phase(
        "prim",
        Level.PRIM,
        (
            Step("cut-segments"),
            Step("convert-onnx-to-prim"),
            Step("fold-constants", optional=True),
            *SIMPLIFY,
            Step("apply-rules{only=replace}", optional=True),
            *SIMPLIFY,
            Step("split-oversized-bindings"),
            Step("propagate-layout", optional=True),
            *SIMPLIFY,
            Step("split-reduction", optional=True),
            Step("apply-rules{only=outline}", optional=True),
            Step("round-quotients"),
            Step("legalize-types"),
            Step("drop-empty-tensors"),
            Step("outline-init", optional=True),
        ),
    ),
    Phase(
        "fusion",
        Level.FLOW,
        (Step("split-sort"), Step("form-dispatch-regions", switches=("epilogue",)), Step("tie-results", optional=True)),
    ),
    Phase("schedule", Level.FLOW, (Step("select-schedule"),)),
    Phase(
        "loop",
        Level.LOOP,
        (
            Step("convert-kernel-to-loop"),
            Step("prefetch-tiles", optional=True),
            Step("vectorize-loop", optional=True),
            Step("hoist-vector-loads", optional=True),
            Step("drop-masks", optional=True),
            Step("bound-trip-counts"),
            Step("pack-words"),
        ),
    ),
    Phase("wgsl", Level.WGSL, (Step("convert-loop-to-wgsl"),)),
    Phase("buf", Level.BUF, (Step("convert-flow-to-buf"), Step("plan-buffers"), Step("instrument-dispatches"))),
)


class Observer(Protocol):
    """Sees the module before and after each pass: printing, timing, checking."""

    def before(self, step: ModulePass, module: ModuleOp) -> None: ...

    def after(self, step: ModulePass, module: ModuleOp) -> None: ...


@dataclass
class InternalError(Exception):
    """A pass failed for a reason that is not its input's: what `reproducer` needs to replay it."""

    step: str
    cause: Exception
    before: ModuleOp
    remaining: list[str]

    def __str__(self) -> str:
        return f"internal error in pass {self.step}: {type(self.cause).__name__}: {self.cause}"


def phase_of(pass_name: str) -> str:
    """The phase that a pass of the pipeline belongs to; empty for others."""
    return next((phase.name for phase in PHASES for step in phase.steps if step.name == pass_name), "")


def optional_passes() -> list[str]:
    """The passes that `--without` may drop, each once."""
    return list(dict.fromkeys(step.name for phase in PHASES for step in phase.steps if step.optional))


def hook_points() -> list[str]:
    """The names under which plugins place passes."""
    return [point for phase in PHASES for point in phase.hooks]


def plan(
    start: Level,
    stop: Level,
    *,
    without: Iterable[str] = (),
    rules: Sequence[str] = (),
    instead: Mapping[str, Sequence[str]] = NOTHING,
    extensions: Extensions | None = None,
) -> list[str]:
    """The specs of the passes that lead from one level to another, plugins' and users' rules included.

    `without` names optional passes, plugins' passes, text rules or files of them to leave out. Raises DiagnosticError
    for other names.
    `instead` gives specs that take the place of a pass.
    """
    extensions = extensions or Extensions()
    passes, unwanted_rules = _split_unwanted(without, extensions)
    specs: list[str] = []
    for phase in PHASES:
        if start.order < phase.level.order <= stop.order:
            before, after = phase.hooks
            steps = [spec for step in phase.steps for spec in _specs(step, rules, unwanted_rules)]
            own = [chosen for spec in steps for chosen in instead.get(spec.partition("{")[0], [spec])]
            specs += [*extensions.hooked(before), *own, *extensions.hooked(after)]
    return [spec for spec in specs if spec.partition("{")[0] not in passes]


def compile(
    module: ModuleOp,
    *,
    to: Level,
    without: Iterable[str] = (),
    rules: Sequence[str] = (),
    instead: Mapping[str, Sequence[str]] = NOTHING,
    context: CompilerContext | None = None,
    observers: Sequence[Observer] = (),
    verify_each: bool = False,
) -> list[str]:
    """Compiles the module in place from the level it stands at to `to`; returns the specs of the passes that ran.

    The module keeps the list (`get_pipeline`), so that text printed on the way and continued gives the same artifact.
    """
    context = context or make_context()
    start = get_level(module)
    if start is None:
        raise LevelError(
            "the module does not say its level: give it the attribute tst.level, as --compile-to prints it"
        )
    if to.order < start.order:
        raise LevelError(f"the module stands at level {start}, beyond {to}; compilation only goes forward")
    specs = plan(start, to, without=without, rules=rules, instead=instead, extensions=context.extensions)
    run_passes(module, parse_passes(",".join(specs), context.extensions), context, observers, verify_each=verify_each)
    add_to_pipeline(module, [portable(spec) for spec in specs])
    return specs


def portable(spec: str) -> str:
    """The spec without the folders of the files that it names: nothing compiled may tell where they lay."""
    return re.sub(r'="([^"]*[/\\])([^"/\\]+)"', r'="\2"', spec)


def parse_passes(text: str, extensions: Extensions | None = None) -> list[ModulePass]:
    """The passes that `pass{option=value},...` names, also as MLIR writes it: in `builtin.module(...)`, with spaces.

    Raises UsageError naming what is unknown or malformed.
    """
    whole = re.fullmatch(r"\s*builtin\.module\s*\((.*)\)\s*", text, re.DOTALL)
    try:
        return [_instance(spec, extensions) for spec in parse_pipeline((whole[1] if whole else text).strip())]
    except ArgSpecParseError as error:
        raise UsageError(str(error)) from None


def run_passes(
    module: ModuleOp,
    passes: Sequence[ModulePass],
    context: CompilerContext,
    observers: Sequence[Observer] = (),
    *,
    verify_each: bool = False,
) -> None:
    """Runs passes in order, verifying wherever the level changes (`verify_each`: after every pass).

    Raises DiagnosticError for what the user can act on, InternalError for a bug of a pass.
    """
    start, audit = module.clone(), LocationAudit(module)
    for index, step in enumerate(passes):
        try:
            audit = _run(module, step, context, observers, audit, verify_each)
        except (DiagnosticError, DiagnosticException) as error:
            if isinstance(error, DiagnosticError):
                name_operator(error, module)
            if not isinstance(error, _BrokenIR):
                raise
            raise _internal(start, passes, index, context, error) from error
        except Exception as error:  # a bug of the pass: told with what replays it
            raise _internal(start, passes, index, context, error) from error


@dataclass(frozen=True)
class Contract:
    """What a pass asks of the module and promises; None stands for any level."""

    requires: Level | None = field(default=None)
    ensures: Level | None = field(default=None)

    @classmethod
    def of(cls, step: ModulePass | type[ModulePass]) -> "Contract":
        """The levels that a pass declares; a foreign pass (xDSL's) declares none."""
        return cls(getattr(step, "requires", None), getattr(step, "ensures", None))


class _BrokenIR(DiagnosticException):
    """IR that a pass broke: not the user's doing."""


def _run(
    module: ModuleOp,
    step: ModulePass,
    context: CompilerContext,
    observers: Sequence[Observer],
    audit: LocationAudit,
    verify_each: bool,
) -> LocationAudit:
    contract = Contract.of(step)
    level = get_level(module)
    if contract.requires and level and level != contract.requires:
        raise LevelError(f"pass {step.name} works at level {contract.requires}; the module stands at {level}")
    for observer in observers:
        observer.before(step, module)
    step.apply(context, module)
    if contract.ensures and level:
        set_level(module, contract.ensures)
    for observer in reversed(observers):
        observer.after(step, module)
    audit = audit.check(module, step.name)
    if verify_each or contract.ensures != contract.requires:
        _verify_after(module, step.name, () if verify_each else getattr(step, "settled", ()))
    return audit


def _verify_after(module: ModuleOp, pass_name: str, settled: Collection[str]) -> None:
    try:
        verify_module(module, settled)
    except VerifyException as error:
        raise _BrokenIR(f"invalid IR after pass {pass_name}: {error}") from error


def _internal(
    start: ModuleOp, passes: Sequence[ModulePass], index: int, context: CompilerContext, error: Exception
) -> InternalError:
    """The bug, with the IR before the failing pass: passes are deterministic, so the earlier ones are run again."""
    for step in passes[:index]:
        contract = Contract.of(step)
        step.apply(context, start)
        if contract.ensures and get_level(start):
            set_level(start, contract.ensures)
    specs = [str(step.pipeline_pass_spec()) for step in passes[index:]]
    return InternalError(passes[index].name, error, start, specs)


def _instance(spec: ArgSpec, extensions: Extensions | None) -> ModulePass:
    kind = pass_class(spec.name, extensions)
    try:
        return kind.from_pass_spec(spec)
    except (ValueError, TypeError) as error:
        raise UsageError(f"pass {spec.name}: {error}") from None


def _specs(step: Step, rules: Sequence[str], unwanted: Sequence[str]) -> list[str]:
    """A step's own spec. The user's rules come right before the built-in ones of their kind, so they win."""
    if off := [f"{switch}=false" for switch in step.switches if switch in unwanted]:
        return [f"{step.name}{{{' '.join(off)}}}"]
    if step.name != "apply-rules":
        return [step.spec]
    kind = step.spec.partition("{")[2].rstrip("}")
    left_out = f" without={','.join(unwanted)}" if unwanted else ""
    return [*(f'apply-rules{{file="{path}" {kind}}}' for path in rules), f"apply-rules{{{kind}{left_out}}}"]


def _split_unwanted(without: Iterable[str], extensions: Extensions) -> tuple[set[str], list[str]]:
    """What `--without` names: passes, and rules of the built-in and the plugins' files."""
    unwanted = set(without)
    droppable = set(optional_passes()) | {name for plugin in extensions.plugins for name in plugin.passes}
    names = sorted(unwanted - droppable)
    if names:
        from tstorch.passes.fusion.rules.library import library_rule_names

        known = library_rule_names(extensions)
        if bad := [name for name in names if name not in known]:
            choices = ", ".join([*sorted(droppable), *known])
            raise DiagnosticError(f"cannot leave out {', '.join(bad)}; optional passes and rules are: {choices}")
    return unwanted & droppable, names


__all__ = [
    "PHASES",
    "Contract",
    "InternalError",
    "Observer",
    "Phase",
    "Step",
    "compile",
    "hook_points",
    "optional_passes",
    "parse_passes",
    "phase_of",
    "plan",
    "run_passes",
]
