"""tstorch-opt: compiles a model or IR text up to any level, runs passes on it, and prints the result."""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.utils.exceptions import DiagnosticException, ParseError

from tstorch.catalog import pass_list
from tstorch.diagnostics import DiagnosticError, LevelError, UsageError, write_text_atomically
from tstorch.instruments import IRDumper, IRPrinter, PassStatistics, PassTimer, RemarkWriter, module_text
from tstorch.levels import Level, get_level, get_pipeline
from tstorch.passes.rewrite_log import RewriteLog
from tstorch.pipeline import Observer, compile, parse_passes, plan, run_passes
from tstorch.plugins import Extensions
from tstorch.registry import PRINTERS, CompilerContext, load, make_context
from tstorch.target import Target, set_target
from tstorch.tools.common import add_compile_arguments, guarded, parse_dims, split_names
from tstorch.verification import verify_module

if TYPE_CHECKING:
    from tstorch.frontend import WeightStore

SPLIT = "// -----"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `tstorch-opt`. Returns the exit code; wrong usage exits with 2."""
    options = _parser().parse_args(argv)
    return guarded(lambda: _Opt(options).run())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tstorch-opt", description=__doc__)
    parser.add_argument("input", nargs="?", help="a model (.onnx) or IR text; stdin if left out")
    parser.add_argument("-o", "--output", metavar="FILE", help="where the result goes instead of stdout")
    parser.add_argument("-p", "--passes", metavar="SPEC", default="", help="passes to run: 'a,b{option=value}'")
    parser.add_argument("--compile-to", metavar="LEVEL", choices=list(Level), help=f"stop at: {', '.join(Level)}")
    parser.add_argument("-t", "--print-as", default="mlir", choices=["mlir", *PRINTERS], help="form of the result")
    parser.add_argument("--list-passes", action="store_true", help="print all passes and hook points")
    add_compile_arguments(parser)
    watch = parser.add_argument_group("watching (all to stderr)")
    watch.add_argument(
        "--print-ir-after", metavar="PASS", action="append", default=[], help="print the IR after a pass"
    )
    watch.add_argument(
        "--print-ir-before", metavar="PASS", action="append", default=[], help="print the IR before a pass"
    )
    watch.add_argument("--print-ir-before-all", action="store_true", help="print the IR before every pass")
    watch.add_argument("--print-ir-after-all", action="store_true", help="print the IR after every pass")
    watch.add_argument("--print-ir-after-change", action="store_true", help="the same, where the pass changed it")
    watch.add_argument("--dump-dir", metavar="DIR", help="write the IR after every pass that changed it")
    watch.add_argument("--remarks", action="store_true", help="print what passes did, declined and found out")
    watch.add_argument("--remarks-filter", metavar="REGEX", help="of the remarks, those whose line matches")
    watch.add_argument("--remarks-json", metavar="FILE", help="write the remarks as JSON")
    watch.add_argument("--time-passes", action="store_true", help="print the time of every pass, by phase")
    watch.add_argument("--time-passes-json", metavar="FILE", help="write the times as JSON")
    watch.add_argument("--pass-statistics", action="store_true", help="print what every pass did, in numbers")
    check = parser.add_argument_group("checking")
    check.add_argument("--verify-each", action="store_true", help="verify after every pass, not only between levels")
    check.add_argument("--check-semantics", action="store_true", help="compare values before and after each pass")
    check.add_argument("--bisect", action="store_true", help="name the pass that breaks the result, and its rewrite")
    check.add_argument("--verify-diagnostics", action="store_true", help="errors are the result; exit with 0")
    check.add_argument("--split-input-file", action="store_true", help=f"treat parts between '{SPLIT}' one by one")
    form = parser.add_argument_group("form of the text")
    form.add_argument("--print-debuginfo", action="store_true", help="print locations (--compile-to always does)")
    form.add_argument("--strip-measured", action="store_true", help="take off what annotate-trace wrote")
    form.add_argument("--print-op-generic", action="store_true", help="print ops in generic form")
    return parser


@dataclass(frozen=True)
class _Recipe:
    """What shapes compilation; without a target the module's own, or the default, stands."""

    dims: Mapping[str, int]
    target: Target | None


class _Opt:
    """One call of the tool."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.extensions = Extensions() if options.no_plugins else Extensions.load()
        self.timer = PassTimer()
        self.statistics = PassStatistics(RewriteLog())
        self.remarks = RemarkWriter(options.remarks_filter)
        self.observers = self._observers()
        self.recipe = self._recipe()

    def run(self) -> int:
        options = self.options
        if options.list_passes:
            return self._finish(pass_list(self.extensions))
        if options.compile_to == Level.ARTIFACT and options.output in (None, "-"):
            raise UsageError("--compile-to=artifact makes a file, not text; say where with -o FILE")
        if options.bisect:
            return self._bisect()
        results = [self._chunk(text, offset) for text, offset in self._chunks()]
        if options.compile_to != Level.ARTIFACT:
            self._finish(f"{SPLIT}\n".join(results))
        self._report()
        return 0

    def _report(self) -> None:
        """What was watched over the whole call."""
        options, times = self.options, self.timer.tree()
        if options.pass_statistics:
            sys.stderr.write(self.statistics.table())
        if options.time_passes:
            sys.stderr.write(times.table())
        if options.time_passes_json:
            write_text_atomically(Path(options.time_passes_json), json.dumps(times.to_json(), indent=1) + "\n")
        if options.remarks_json:
            write_text_atomically(Path(options.remarks_json), self.remarks.json())

    def _bisect(self) -> int:
        """Which pass breaks the result; it imports NumPy and, for a model, the runtime."""
        from tstorch.tools.bisection import bisect

        options = self.options
        ((text, offset),) = self._chunks() if not options.split_input_file else [self._chunks()[0]]
        context = make_context(self.extensions)

        def fresh() -> ModuleOp:
            return self._module(text, offset, context)

        first = fresh()
        to_the_end = text is None and not options.passes and not options.compile_to
        stop = Level.BUF if to_the_end else self._stop(first)
        specs = self._plan(first, stop) if stop else []
        specs += [str(step.pipeline_pass_spec()) for step in parse_passes(self._specs(stop), self.extensions)]
        is_whole = text is None and stop in (Level.BUF, Level.ARTIFACT) and not options.passes
        names = {"rules": options.rules, "without": split_names(options.without), "plugins": not options.no_plugins}
        given = {**names, "dims": self.recipe.dims, "target": self.recipe.target}
        model = options.input if is_whole else None
        return bisect(
            fresh, specs, model=model, given=given, store=self._store(), extensions=self.extensions, out=sys.stdout
        )

    def _plan(self, module: ModuleOp, stop: Level) -> list[str]:
        """The passes from a module's level to another."""
        start = get_level(module)
        if start is None:
            raise LevelError("--bisect with --compile-to needs a module that says its level (tst.level)")
        unwanted, to = split_names(self.options.without), Level.BUF if stop is Level.ARTIFACT else stop
        return plan(start, to, without=unwanted, rules=self.options.rules, extensions=self.extensions)

    def _observers(self) -> list[Observer]:
        options = self.options
        observers: list[Observer] = []
        if options.check_semantics:
            from tstorch.semantics import SemanticsChecker  # here, as it imports numpy

            observers.append(SemanticsChecker(self._store()))
        if options.print_ir_before or options.print_ir_before_all:
            before = None if options.print_ir_before_all else split_names(options.print_ir_before)
            observers.append(IRPrinter(sys.stderr, names=(), before_names=before))
        if options.print_ir_after:
            observers.append(IRPrinter(sys.stderr, names=split_names(options.print_ir_after)))
        if options.print_ir_after_all or options.print_ir_after_change:
            observers.append(IRPrinter(sys.stderr, only_changes=options.print_ir_after_change))
        if options.dump_dir:
            observers.append(IRDumper(Path(options.dump_dir)))
        if options.pass_statistics:
            observers.append(self.statistics)
        return [*observers, self.timer]

    def _recipe(self) -> "_Recipe":
        """Dims and target: as asked for, and otherwise those of the trace that is laid on the IR."""
        options = self.options
        asked = _Recipe(parse_dims(options.dim), Target.load(options.target) if options.target else None)
        if not options.compile_to or not options.passes:
            return asked
        from tstorch.passes.trace.annotate_trace import AnnotateTracePass
        from tstorch.trace.file import read_trace

        for step in parse_passes(options.passes, self.extensions):
            if isinstance(step, AnnotateTracePass) and step.file:
                header = read_trace(step.file).header
                target = asked.target or Target.from_json(header["target"])
                return _Recipe(asked.dims or header.get("dims", {}), target)
        return asked

    def _store(self) -> "WeightStore":
        """Where weights are looked for: beside the input."""
        from tstorch.frontend import WeightStore

        return WeightStore([Path(self.options.input or "-").parent])

    def _chunks(self) -> list[tuple[str | None, int]]:
        """The input's parts with the line each begins at; None stands for a model, which is no text."""
        source = self.options.input
        if source is not None and source.endswith(".onnx"):
            return [(None, 0)]
        text = sys.stdin.read() if source in (None, "-") else _read(source)
        parts = re.split(f"(?m)^{SPLIT}$", text) if self.options.split_input_file else [text]
        offsets = accumulate((part.count("\n") for part in parts[:-1]), initial=0)
        return list(zip(parts, offsets, strict=True))

    def _chunk(self, text: str | None, offset: int) -> str:
        try:
            return self._process(text, offset)
        except (ParseError, DiagnosticException, DiagnosticError) as error:
            if not self.options.verify_diagnostics or isinstance(error, UsageError):
                raise
            return f"{str(error).strip()}\n"

    def _process(self, text: str | None, offset: int) -> str:
        options = self.options
        context = make_context(self.extensions)
        context.rewrites = self.statistics.log if options.pass_statistics else None
        with self.timer.stage("reading"):
            module = self._module(text, offset, context)
        try:
            stop = self._stop(module)
            if stop is not None:
                compile(
                    module,
                    to=stop,
                    without=split_names(options.without),
                    rules=options.rules,
                    instead=self._instead(),
                    context=context,
                    observers=self.observers,
                    verify_each=options.verify_each,
                )
            passes = parse_passes(self._specs(stop), self.extensions)
            run_passes(module, passes, context, self.observers, verify_each=options.verify_each)
            verify_module(module)
        finally:
            lines = self.remarks.take(module)
            if options.remarks or options.remarks_filter:
                sys.stderr.writelines(lines)
        with self.timer.stage("printing"):
            return self._result(module)

    def _instead(self) -> Mapping[str, Sequence[str]]:
        if not self.options.demote_f64:
            return {}
        from tstorch.compiled import demoting  # here, as it imports onnx

        return demoting()

    def _module(self, text: str | None, offset: int, context: CompilerContext) -> ModuleOp:
        options, recipe = self.options, self.recipe
        if text is None:
            from tstorch.frontend import import_model

            module = import_model(options.input, dims=recipe.dims)
        elif options.dim:
            raise UsageError("--dim binds dimensions of a model; IR text has its shapes already")
        else:
            module = Parser(context, "\n" * offset + text, options.input or "stdin").parse_module()
            verify_module(module)
        if recipe.target or text is None:
            set_target(module, recipe.target or Target.default())
        return module

    def _stop(self, module: ModuleOp) -> Level | None:
        """Where to compile to: rules on a model need the level that they are written for."""
        if self.options.compile_to:
            return Level(self.options.compile_to)
        return Level.PRIM if self.options.rules and get_level(module) == Level.ONNX else None

    def _specs(self, stop: Level | None) -> str:
        rules = self.options.rules if stop is None else []
        last = ["strip-measured"] if self.options.strip_measured else []
        return ",".join(
            filter(None, [*(f'apply-rules{{file="{path}"}}' for path in rules), self.options.passes, *last])
        )

    def _result(self, module: ModuleOp) -> str:
        options = self.options
        if options.compile_to == Level.ARTIFACT:
            from tstorch.artifact.emit import emit_artifact
            from tstorch.compiled import rule_digests

            rules = rule_digests(options.rules)
            emit_artifact(module, pipeline=get_pipeline(module), rules=rules).write(options.output)
            return ""
        if options.print_as != "mlir":
            return load(PRINTERS[options.print_as])(module)
        debuginfo = options.print_debuginfo or options.compile_to is not None
        return module_text(module, debuginfo=debuginfo, generic=options.print_op_generic)

    def _finish(self, result: str) -> int:
        if self.options.output not in (None, "-"):
            write_text_atomically(Path(self.options.output), result)
        else:
            sys.stdout.write(result)
        return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise DiagnosticError(f"cannot read '{path}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise DiagnosticError(f"'{path}' is neither a model (.onnx) nor IR text") from None


if __name__ == "__main__":
    sys.exit(main())
