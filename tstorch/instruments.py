"""What can be watched while passes run: the IR after each, its dump on disk, and the time each takes."""

import json
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.printer import Printer

from tstorch.diagnostics import UsageError, write_text_atomically
from tstorch.levels import get_level
from tstorch.passes.rewrite_log import RewriteLog
from tstorch.pipeline import phase_of
from tstorch.remarks import Remark, elided_nodes, get_remarks


def module_text(module: ModuleOp, *, debuginfo: bool = True, generic: bool = False) -> str:
    """The module as text, with locations unless told otherwise, ending in a newline."""
    stream = StringIO()
    Printer(stream, print_generic_format=generic, print_debuginfo=debuginfo).print_op(module)
    return stream.getvalue() + "\n"


@dataclass
class IRPrinter:
    """Prints the IR before and after passes: those named, or, with None, all; `only_changes` leaves out the unchanged.

    A kind of place that is not asked for is an empty collection of names.
    """

    stream: TextIO
    names: Collection[str] | None = None
    only_changes: bool = False
    before_names: Collection[str] | None = ()
    _before: str = ""

    def before(self, step: ModulePass, module: ModuleOp) -> None:
        if self.only_changes:
            self._before = module_text(module)
        if self.before_names is None or step.name in self.before_names:
            self.stream.write(f"// IR before {step.name}:\n{module_text(module)}")

    def after(self, step: ModulePass, module: ModuleOp) -> None:
        if self.names is not None and step.name not in self.names:
            return
        text = module_text(module)
        if self.only_changes and text == self._before:
            self.stream.write(f"// IR after {step.name}: unchanged\n")
        else:
            self.stream.write(f"// IR after {step.name}:\n{text}")


@dataclass
class IRDumper:
    """Writes the IR after each pass that changed it to `NN-level.after-pass.mlir`."""

    folder: Path
    _before: str = ""
    _count: int = 0

    def before(self, step: ModulePass, module: ModuleOp) -> None:
        self._before = self._before or module_text(module)

    def after(self, step: ModulePass, module: ModuleOp) -> None:
        self._count += 1
        text = module_text(module)
        if text != self._before:
            self._before = text
            place = get_level(module) or "module"
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text_atomically(self.folder / f"{self._count:02}-{place}.after-{step.name}.mlir", text)


@dataclass
class PassTimer:
    """Wall time of each pass in the order they ran, of the stages around them, and of the whole since it was made."""

    seconds: list[tuple[str, float]] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    _begin: float = field(default_factory=time.perf_counter)
    _start: float = 0.0

    def before(self, step: ModulePass, module: ModuleOp) -> None:
        self._start = time.perf_counter()

    def after(self, step: ModulePass, module: ModuleOp) -> None:
        self.seconds.append((step.name, time.perf_counter() - self._start))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the block as a stage of that name."""
        begin = time.perf_counter()
        yield
        self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - begin

    def tree(self) -> "Times":
        """The whole, in it the phases of the pipeline, in those their passes; what no instrument covers is `other`."""
        whole = time.perf_counter() - self._begin
        phases: dict[str, list[Times]] = {}
        for name, seconds in self.seconds:
            phases.setdefault(phase_of(name) or "passes", []).append(Times(name, seconds))
        parts = [Times(name, sum(each.seconds for each in inner), tuple(inner)) for name, inner in phases.items()]
        around = [Times(name, seconds) for name, seconds in self.stages.items()]
        rest = whole - sum(part.seconds for part in (*around, *parts))
        return Times("total", whole, (*around, *parts, Times("other: verifying, observing, loading of code", rest)))


@dataclass(frozen=True)
class Times:
    """What a part of compilation took, and its own parts in order."""

    name: str
    seconds: float
    parts: tuple["Times", ...] = ()

    def table(self, whole: float | None = None, depth: int = 0) -> str:
        """One line for each part, indented by depth: milliseconds, share of the whole, name."""
        share = self.seconds / (whole or self.seconds or 1.0)
        line = f"{self.seconds * 1e3:10.2f} ms {share:6.1%}  {'  ' * depth}{self.name}\n"
        return line + "".join(part.table(whole or self.seconds, depth + 1) for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """The tree as JSON: name, ms, parts."""
        return {"name": self.name, "ms": self.seconds * 1e3, "parts": [part.to_json() for part in self.parts]}


@dataclass
class PassStatistics:
    """What each pass did to the module: ops before and after, remarks left, nodes that vanished, rewrites fired."""

    log: RewriteLog
    rows: list[dict[str, Any]] = field(default_factory=list)
    _ops: int = 0
    _remarks: int = 0
    _elided: int = 0

    def before(self, step: ModulePass, module: ModuleOp) -> None:
        self._ops, self._remarks, self._elided = _figures(module)
        self.log.fired.clear()

    def after(self, step: ModulePass, module: ModuleOp) -> None:
        ops, _, elided = _figures(module)
        kinds = Counter(remark.kind.value for remark in get_remarks(module)[self._remarks :])
        figures = {"ops_before": self._ops, "ops_after": ops, "nodes_elided": elided - self._elided}
        self.rows.append({"pass": step.name, **figures, "remarks": dict(kinds), "rewrites": dict(self.log.counts())})

    def table(self) -> str:
        """One line a pass: what changed, and nothing of what did not."""
        return "".join(f"{row['pass']:28} {_changes(row)}\n" for row in self.rows)


class RemarkWriter:
    """The remarks of the modules that it takes, as lines and as JSON; with a `pattern`, those whose line matches it."""

    def __init__(self, pattern: str | None = None) -> None:
        try:
            self._pattern = re.compile(pattern or "")
        except re.error as error:
            raise UsageError(f"--remarks-filter {pattern}: {error}; expected a regular expression") from None
        self._taken: list[Remark] = []

    def take(self, module: ModuleOp) -> list[str]:
        """The lines of one module's remarks."""
        found = [remark for remark in get_remarks(module) if self._pattern.search(str(remark))]
        self._taken += found
        return [f"{remark}\n" for remark in found]

    def json(self) -> str:
        """All that was taken, as docs/artifact.md has `remarks.json`."""
        return json.dumps([remark.to_json() for remark in self._taken], indent=1) + "\n"


def _figures(module: ModuleOp) -> tuple[int, int, int]:
    return sum(1 for _ in module.walk()), len(get_remarks(module)), len(elided_nodes(module))


def _changes(row: dict[str, Any]) -> str:
    ops = f"ops {row['ops_before']} -> {row['ops_after']}"
    counts = {"rewrites": row["rewrites"], "remarks": row["remarks"]}
    told = [f"{what}: {', '.join(f'{n} {name}' for name, n in of.items())}" for what, of in counts.items() if of]
    elided = [f"nodes elided: {row['nodes_elided']}"] if row["nodes_elided"] else []
    return "; ".join([ops, *told, *elided])


__all__ = ["IRDumper", "IRPrinter", "PassStatistics", "PassTimer", "RemarkWriter", "Times", "module_text"]
