"""What tests of dialects and passes lean on; public, for plugins' tests too."""

import inspect
import textwrap
from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.passes import ModulePass
from xdsl.traits import IsTerminator, SymbolOpInterface

from tstorch.instruments import module_text
from tstorch.pipeline import parse_passes, run_passes
from tstorch.plugins import Extensions
from tstorch.registry import CompilerContext, make_context
from tstorch.verification import verify_module


def parse(text: str, context: CompilerContext | None = None) -> ModuleOp:
    """The module that `text` holds, verified."""
    module = Parser(context or make_context(), text).parse_module()
    verify_module(module)
    return module


def run(passes: str, text: str, extensions: Extensions | None = None) -> ModuleOp:
    """The module that `text` becomes under passes given as `tstorch-opt -p` takes them, verified after each."""
    context = make_context(extensions)
    module = parse(text, context)
    run_passes(module, parse_passes(passes, extensions), context, verify_each=True)
    return module


def assert_round_trip(module: ModuleOp) -> None:
    """Fails unless the module comes back from its text, pretty and generic, with the same text and locations."""
    for generic in (False, True):
        text = module_text(module, generic=generic)
        again = parse(text)
        if not module.is_structurally_equivalent(again):
            raise AssertionError(f"parsing this text gives another module:\n{text}")
        if (second := module_text(again, generic=generic)) != text:
            raise AssertionError(f"printed, parsed and printed again:\n{second}\ninstead of:\n{text}")


@dataclass(frozen=True)
class DocumentedExample:
    """The IR before and after that a pass's docstring shows, and the options it shows it for."""

    spec: str
    before: str
    after: str


def documented_example(kind: type[ModulePass]) -> DocumentedExample:
    """Reads `// before` and `// after` out of a pass's docstring. Raises ValueError where one is missing.

    `// before, with {option=value}` names options of the pass.
    """
    text = inspect.getdoc(kind) or ""
    _, found, rest = text.partition("// before")
    options, _, rest = rest.partition("\n")
    before, split, after = rest.partition("// after\n")
    if not found or not split:
        raise ValueError(f"the docstring of {kind.__name__} shows no '// before' and '// after'")
    spec = kind.name + options.removeprefix(", with ").strip()
    return DocumentedExample(spec, textwrap.dedent(before), textwrap.dedent(after))


def assert_documented(kind: type[ModulePass], extensions: Extensions | None = None) -> None:
    """Fails unless the pass makes of the IR before, in its docstring, the IR after."""
    example = documented_example(kind)
    fragments = [_Fragment.read(text, make_context(extensions)) for text in (example.before, example.after)]
    free = fragments[0].free | fragments[1].free
    before, after = (fragment.wrapped(free) for fragment in fragments)
    actual = run(example.spec, before, extensions)
    expected = parse(after, make_context(extensions))
    if not actual.body.is_structurally_equivalent(expected.body):
        shown = [module_text(module, debuginfo=False) for module in (actual, expected)]
        raise AssertionError(f"{example.spec} gives\n{shown[0]}instead of the docstring's\n{shown[1]}")


# Without it the module of a fragment says nothing of the ONNX operators that it speaks of.
_OPSET = "onnx.opset = {ai.onnx = 20 : i64}"


@dataclass(frozen=True)
class _Fragment:
    """Statements without a function around them: the values they take from outside, and the last one."""

    text: str
    free: dict[str, str]
    last: Operation | None
    onnx: bool

    @classmethod
    def read(cls, text: str, context: CompilerContext) -> "_Fragment":
        """Parses `text` as statements. Raises ParseError."""
        parser = Parser(context, text)
        last, onnx = None, False
        while (op := parser.parse_optional_operation()) is not None:
            last, onnx = op, onnx or any(inner.dialect_name() == "onnx" for inner in op.walk())
        uses = parser.forward_ssa_references
        free = {name: str(value.type) for name, references in uses.items() for value in references.values()}
        return cls(text, free, last, onnx)

    def wrapped(self, free: dict[str, str]) -> str:
        """A module's text: functions, kernels and modules as they are, statements in a function that takes `free`."""
        if self.last is None or isinstance(self.last, ModuleOp) or self.last.has_trait(SymbolOpInterface):
            return self.text
        ends = self.last.has_trait(IsTerminator)
        types = [str(type) for type in (self.last.operand_types if ends else self.last.result_types)]
        names = _result_names(self.text) if types and not ends else []
        end = "" if ends else f"func.return {', '.join(names)} {':' if types else ''} {', '.join(types)}\n"
        arguments = ", ".join(f"%{name}: {free[name]}" for name in sorted(free))
        function = f"func.func @example({arguments}) -> ({', '.join(types)}) {{\n{self.text}\n{end}}}"
        return f"builtin.module attributes {{{_OPSET}}} {{ {function} }}" if self.onnx else function


def _result_names(text: str) -> list[str]:
    """The names that the last statement of `text` gives its results."""
    starts = [line for line in text.splitlines() if line.startswith("%") and "=" in line]
    return [name.strip() for name in starts[-1].partition("=")[0].split(",")]
