"""Tests of the house rules that the sources themselves can tell, and of everything the registry promises."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from source_files import ROOT, Source, sources

import tstorch
from tstorch.registry import DIALECTS, PASSES, load

PASS_ENTRY = re.compile(r"tstorch\.passes\.(?:(?P<group>[a-z]+)\.)?(?P<file>[a-z0-9_]+):(?P<attribute>\w+)")
# Names that are not a verb and an object: what everybody calls these passes.
COMMON_NAMES = {"canonicalize", "cse", "dce"}
MUTATORS = {"append", "add", "update", "extend", "insert", "setdefault", "pop", "popitem", "remove", "discard", "clear"}
WGSL_TOKENS = re.compile(r"var<(storage|workgroup|private|uniform)|@compute|@workgroup_size|workgroupBarrier\(\)")
OWN_PASSES = {name: entry for name, entry in PASSES.items() if entry.startswith("tstorch.")}
OWN_DIALECTS = {name: entry for name, entry in DIALECTS.items() if entry.startswith("tstorch.")}


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def strings(tree: ast.Module) -> list[ast.Constant]:
    """Collects the string constants of a file, docstrings left out."""
    owners = [node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    docs = {id(o.body[0].value) for o in owners if o.body and isinstance(o.body[0], ast.Expr)}
    return [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs]


def long_files(source: Source) -> Iterator[str]:
    lines, most = (
        source.text.count("\n"),
        350 if source.path.count("/") > 1 and source.path.startswith("passes/") else 500,
    )
    if lines > most:
        yield f"{source.path}: {lines} lines, more than {most}"


def long_functions(source: Source) -> Iterator[str]:
    for node in functions(source.tree):
        size = (node.end_lineno or node.lineno) - node.lineno + 1
        if size > 60:
            yield f"{source.at(node)} {node.name}: {size} lines, more than 60"


def missing_docstrings(source: Source) -> Iterator[str]:
    """A file or public function without one; what a decorator registers (`@onnx_op("Relu")`) is named by it."""
    public = [n for n in source.tree.body if isinstance(n, ast.FunctionDef) and n.name[0] != "_"]
    for node in (source.tree, *(n for n in public if not n.decorator_list)):
        if not (ast.get_docstring(node) or "").split("\n")[0].strip():
            yield f"{source.at(node)} {getattr(node, 'name', 'the file')}: no first line says what it is"


def prints(source: Source) -> Iterator[str]:
    if not source.path.startswith("tools/"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield f"{source.at(node)} prints: only tools/ do"


def swallowed_errors(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
            if broad and all(isinstance(each, (ast.Pass, ast.Continue)) for each in node.body):
                yield f"{source.at(node)} swallows every error"


def unfinished(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.text.split("\n"), 1):
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line):
            yield f"{source.path}:{number} {line.strip()}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield f"{source.at(node)} NotImplementedError: make the method abstract, or say what to do"


def globals_as_state(source: Source) -> Iterator[str]:
    """A name of the module that a function assigns or changes; registering decorators are no exception."""
    targets = [t for node in source.tree.body if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in source.tree.body if isinstance(node, ast.AnnAssign)]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    for function in functions(source.tree):
        for node in ast.walk(function):
            changed = None
            if isinstance(node, ast.Global):
                yield f"{source.at(node)} {function.name} assigns the module's {', '.join(node.names)}"
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
                changed = getattr(node.func.value, "id", None)
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
                changed = getattr(node.value, "id", None)
            if changed in names and changed not in local_names(function):
                yield f"{source.at(node)} {function.name} changes the module's {changed}"


def local_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return {argument.arg for argument in every} | stored


def mutable_class_attributes(source: Source) -> Iterator[str]:
    for owner in ast.walk(source.tree):
        if isinstance(owner, ast.ClassDef):
            for node in owner.body:
                value = getattr(node, "value", None)
                if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(value, (ast.List, ast.Dict, ast.Set)):
                    yield f"{source.at(node)} {owner.name}: a mutable class attribute; make it a tuple"


def environment_options(source: Source) -> Iterator[str]:
    """A variable read that is not one of the desktop's own (XDG_*, HOME), which say where files belong."""
    for node in ast.walk(source.tree):
        name = None
        if isinstance(node, ast.Call) and re.match(r"os\.(environ\.get|getenv)\b", ast.unparse(node.func)):
            name = ast.unparse(node.args[0])
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            name = ast.unparse(node.slice) if ast.unparse(node.value) == "os.environ" else None
        if name and not re.fullmatch(r"'(XDG_\w+|HOME|LOCALAPPDATA)'", name):
            yield f"{source.at(node)} reads {name} from the environment as an option"


def op_names_compared(source: Source) -> Iterator[str]:
    if source.path.startswith(("tstorch/frontend/", "passes/convert/convert_onnx", "dialects/onnx")):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Compare) and re.search(
            r"\.(op_type|name)( ==| !=| in) [\[({]?'(prim|onnx|flow|loop|wgsl|buf)?\.?[A-Z]?\w+'", ast.unparse(node)
        ):
            yield f"{source.at(node)} compares an op's name: {ast.unparse(node)}"


def shader_text(source: Source) -> Iterator[str]:
    if not source.path.startswith(("dialects/wgsl/", "tstorch/artifact/")):
        for node in strings(source.tree):
            if WGSL_TOKENS.search(str(node.value)):
                yield f"{source.at(node)} shader text outside the wgsl dialect"


def machine_paths(source: Source) -> Iterator[str]:
    for node in strings(source.tree):
        if re.match(r"/(home|root|tmp|Users)/\w", str(node.value)):
            yield f"{source.at(node)} names a path of one machine"


Rule = Callable[[Source], Iterator[str]]
# Each rule with a file that breaks it, so that a rule which finds nothing is known to look.
RULES: list[tuple[Rule, str, str]] = [
    (long_files, "passes/fusion/big.py", "\n" * 351),
    (long_functions, "tstorch/big.py", "def big():\n" + "    x = 1\n" * 60),
    (missing_docstrings, "tstorch/silent.py", '"""A file."""\ndef what(): return 1'),
    (prints, "tstorch/loud.py", "def f(): print(1)"),
    (swallowed_errors, "tools/run.py", "try: f()\nexcept Exception: pass"),
    (unfinished, "tools/run.py", "x = 1  # TO" + "DO later"),
    (unfinished, "tools/run.py", "def f(): raise NotImplementedError"),
    (globals_as_state, "tstorch/state.py", "SEEN = {}\ndef f(x): SEEN[x] = 1"),
    (globals_as_state, "tstorch/state.py", "SEEN = []\ndef f(x): SEEN.append(x)"),
    (globals_as_state, "tstorch/state.py", "count = 0\ndef f():\n    global count\n    count += 1"),
    (mutable_class_attributes, "tstorch/state.py", "class A:\n    seen = []"),
    (environment_options, "tstorch/option.py", "import os\nFAST = os.environ.get('FAST')"),
    (environment_options, "tstorch/option.py", "import os\nFAST = os.environ['FAST']"),
    (op_names_compared, "passes/fusion/x.py", "def f(op): return op.name == 'prim.conv'"),
    (op_names_compared, "passes/fusion/x.py", "def f(node): return node.op_type in ('Conv', 'Gemm')"),
    (shader_text, "passes/loop/x.py", "HEAD = '@compute @workgroup_size(64)'"),
    (machine_paths, "tstorch/x.py", "CACHE = '/home/me/cache'"),
]


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES), ids=lambda rule: rule.__name__)
def test_house_rule(rule):
    assert [line for source in sources() for line in rule(source)] == []


@pytest.mark.parametrize(("rule", "path", "text"), RULES, ids=[rule.__name__ for rule, _, _ in RULES])
def test_house_rule_sees_a_breach(rule, path, text):
    assert len(list(rule(Source.parse(path, text)))) == 1


def test_one_spelling_makes_wgsl_functions():
    found = [s.at(n) for s in sources() for n in strings(s.tree) if re.search(r"\bfn ", str(n.value))]
    assert all(place.startswith("dialects/wgsl/") for place in found), found
    assert len(found) == 1, f"one op spells functions: {found}"


@pytest.mark.parametrize("name", OWN_PASSES)
def test_pass_stands_where_its_name_says(name):
    entry = PASS_ENTRY.fullmatch(OWN_PASSES[name])
    assert entry is not None, OWN_PASSES[name]
    snake = name.replace("-", "_")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name) or name in COMMON_NAMES
    assert entry["file"] == snake
    assert entry["attribute"].lower() == snake.replace("_", "") + "pass"
    assert entry["attribute"][0].isupper()
    folder = "/".join(part for part in ("passes", entry["group"]) if part)
    assert (ROOT / folder / f"{snake}.py").is_file()
    lit = ROOT / "tests" / "lit" / folder / f"{snake}.mlir"
    assert lit.is_file(), f"{name} has no lit file {lit.relative_to(ROOT)}"
    assert "// RUN: " in lit.read_text()
    assert name in lit.read_text()


@pytest.mark.parametrize("name", OWN_PASSES)
def test_pass_declares_what_it_is(name):
    cls = load(OWN_PASSES[name])
    assert cls.name == name
    assert cls.__dataclass_params__.frozen
    assert cls.__doc__
    assert not cls.__doc__.startswith(cls.__name__ + "("), "the docstring is the dataclass's own"
    assert {"requires", "ensures"} <= set(dir(cls))


def test_every_pass_class_is_registered():
    written = {
        f"{source.module}:{node.name}"
        for source in sources()
        if source.path.startswith("passes/")
        for node in source.tree.body
        if isinstance(node, ast.ClassDef) and re.fullmatch(r"(?!TSTorch|_)\w+Pass", node.name)
    }
    assert written == set(OWN_PASSES.values())


@pytest.mark.parametrize("name", OWN_DIALECTS)
def test_dialect_holds_documented_ops_of_its_name(name):
    dialect = load(OWN_DIALECTS[name])
    assert dialect.name == name
    for op in dialect.operations:
        assert op.name.startswith(name + "."), op
        assert op.__name__.endswith("Op"), op
        assert (op.__doc__ or "").strip(), f"{op.name} has no docstring"


def test_every_dialect_is_registered():
    made = {
        f"{source.module}:{target.id}"
        for source in sources()
        if source.path.startswith("dialects/")
        for node in source.tree.body
        if isinstance(node, ast.Assign) and re.match(r"\w*Dialect\(", ast.unparse(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert made == set(OWN_DIALECTS.values())


def test_changelog_knows_the_version():
    assert f"## {tstorch.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=lambda words: words[0])
def test_ruff(arguments):
    found = subprocess.run([sys.executable, "-m", "ruff", *arguments, "."], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.extra
def test_types():
    found = subprocess.run([sys.executable, str(ROOT / ".ci" / "typecheck")], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
