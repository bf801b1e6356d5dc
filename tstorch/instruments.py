"""What can be watched while passes run: the IR after each, its dump on disk, and the time each takes."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TextIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.printer import Printer

from tstorch.diagnostics import write_text_atomically
from tstorch.levels import get_level


def module_text(module: ModuleOp, *, debuginfo: bool = True, generic: bool = False) -> str:
    """The module as text, with locations unless told otherwise, ending in a newline."""
    stream = StringIO()
    Printer(stream, print_generic_format=generic, print_debuginfo=debuginfo).print_op(module)
    return stream.getvalue() + "\n"


@dataclass
class IRPrinter:
    """Prints the IR after the passes named (None: after all), with `only_changes` only where it changed."""

    stream: TextIO
    names: Collection[str] | None = None
    only_changes: bool = False
    _before: str = ""

    def before(self, step: ModulePass, module: ModuleOp) -> None:
        if self.only_changes:
            self._before = module_text(module)

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
    """Wall time of each pass, in seconds, in the order they ran."""

    seconds: list[tuple[str, float]] = field(default_factory=list)
    _start: float = 0.0

    def before(self, step: ModulePass, module: ModuleOp) -> None:
        self._start = time.perf_counter()

    def after(self, step: ModulePass, module: ModuleOp) -> None:
        self.seconds.append((step.name, time.perf_counter() - self._start))

    def table(self) -> str:
        """One line a pass, and the sum."""
        rows = [*self.seconds, ("total", sum(seconds for _, seconds in self.seconds))]
        return "".join(f"{seconds * 1e3:10.2f} ms  {name}\n" for name, seconds in rows)
