"""Tests who may import whom: read from every import statement of the package, wherever it stands."""

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest
from source_files import ROOT, Source, sources

# What stands under every layer. It knows xDSL, but no dialect of ours: `plugins` holds names, not what they load.
BASE = {"diagnostics", "levels", "location_audit", "locations", "plugins", "remarks", "target"}
# Where compiler and runtime meet.
SESSION = {"tstorch", "backend", "numerics", "saved", "session", "starting", "testing", "training"}
FOLDERS = {"artifact", "dialects", "fit", "frontend", "passes", "report", "runtime", "tools", "trace"}

# layer: (layers it may import, packages from outside it may import). A module of tstorch/ that is named in no set
# above belongs to the compiler (pipeline, registry, plugins, universe, ...).
LAW: dict[str, tuple[set[str], set[str]]] = {
    "base": (set(), {"xdsl", "numpy"}),
    "dialects": ({"base"}, {"xdsl", "numpy", "onnx"}),
    "frontend": ({"base", "dialects"}, {"xdsl", "numpy", "onnx", "google"}),
    "passes": ({"base", "dialects", "trace"}, {"xdsl", "numpy", "lark"}),
    "artifact": ({"base", "dialects"}, {"xdsl", "numpy", "safetensors"}),
    "runtime": ({"base", "artifact"}, {"wgpu", "numpy", "cffi"}),
    "trace": ({"base", "artifact"}, {"numpy"}),
    "report": ({"base", "artifact", "trace"}, {"numpy", "rich"}),
    "compiler": ({"base", "dialects", "frontend", "passes", "artifact"}, {"xdsl", "numpy"}),
    "session": (
        {"base", "dialects", "frontend", "passes", "artifact", "runtime", "trace", "report", "compiler"},
        {"xdsl", "numpy", "onnx"},
    ),
    "fit": ({"base", "artifact", "runtime", "trace", "compiler"}, set()),
    "tools": (
        {
            *("base", "dialects", "frontend", "passes", "artifact", "runtime"),
            *("trace", "report", "compiler", "session", "fit"),
        },
        {"xdsl", "numpy", "rich"},
    ),
}
# Packages that only some files may import, however wide their layer.
RESERVED = {
    "wgpu": ("tstorch.runtime.device",),
    "onnx": ("tstorch.frontend", "tstorch.dialects.onnx", "tstorch.backend"),
}
# What no module that runs an artifact, or tells of a run, may reach through any chain of imports.
COMPILER_ONLY = {"xdsl", "onnx", "lark"}
HEAVY = ("numpy", "lark", "onnx", "wgpu")


def layer_of(module: str) -> str:
    """Names the layer of a module of ours."""
    _, _, rest = module.partition(".")
    first = rest.split(".")[0] or "tstorch"
    if first in FOLDERS:
        return first
    return "base" if first in BASE else "session" if first in SESSION else "compiler"


def imports(source: Source) -> Iterator[tuple[ast.stmt, str]]:
    """Yields every module that a file imports, with the statement; `from . import x` resolved, `tstorch.x` in full."""
    package = source.module if source.path.endswith("__init__.py") else source.module.rpartition(".")[0]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            name = ".".join(part for part in (base, node.module) if part)
            # `from tstorch import session` imports tstorch.session; what is no module is cut off by `import_graph`.
            yield from ((node, f"{name}.{a.name}" if name.startswith("tstorch") else name) for a in node.names)


def is_under(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def breaches(source: Source) -> Iterator[str]:
    """Yields what in a file breaks the law, one line each."""
    layer = layer_of(source.module)
    layers, packages = LAW[layer]
    for node, name in imports(source):
        package = name.split(".")[0]
        if package == "tstorch":
            if name != "tstorch.__version__" and layer_of(name) not in layers | {layer}:
                yield f"{source.at(node)} {layer} imports {name}, of {layer_of(name)}"
        elif package in ("dialects", "passes", "tools"):
            yield f"{source.at(node)} imports {name}: say tstorch.{name}"
        elif package not in sys.stdlib_module_names:
            if package not in packages or not is_under(source.module, RESERVED.get(package, (source.module,))):
                yield f"{source.at(node)} {layer} imports {name}"


def reached(start: str, graph: dict[str, set[str]]) -> set[str]:
    """Collects what a module imports, directly or through modules of ours."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph.get(name, ())
    return seen


def modules_of(name: str, known: set[str]) -> set[str]:
    """Lists the modules that run when `name` is imported: of ours, the module and its packages below tstorch."""
    if not name.startswith("tstorch"):
        return {name}
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(2, len(parts) + 1)} & known


def import_graph() -> dict[str, set[str]]:
    """Maps each module of ours to the modules that it imports."""
    files = list(sources())
    known = {source.module for source in files}
    return {s.module: {module for _, name in imports(s) for module in modules_of(name, known)} for s in files}


def test_every_import_obeys_the_law():
    assert [line for source in sources() for line in breaches(source)] == []


def test_nothing_that_runs_or_reports_reaches_the_compiler():
    graph = import_graph()
    offenders = {
        f"{module} reaches {name}"
        for module in graph
        if layer_of(module) in ("runtime", "trace", "report")
        for name in reached(module, graph)
        if name.split(".")[0] in COMPILER_ONLY or is_under(name, ("tstorch.dialects", "tstorch.passes"))
    }
    assert sorted(offenders) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tstorch/runtime/worker.py", "import xdsl.ir"),
        ("tstorch/runtime/executor.py", "import wgpu"),
        ("tstorch/runtime/executor.py", "def late():\n    from tstorch.passes import rewrite"),
        ("tstorch/runtime/executor.py", "from tstorch import session"),
        ("tstorch/runtime/executor.py", "from ..passes import rewrite"),
        ("tstorch/report/terminal.py", "from tstorch.runtime import device"),
        ("tstorch/levels.py", "from tstorch.dialects import prim"),
        ("dialects/prim/base.py", "import onnx"),
        ("dialects/flow.py", "from tstorch.passes.rewrite import Pattern"),
        ("passes/simplify/cse.py", "from tstorch.session import load"),
        ("passes/simplify/cse.py", "from dialects import flow"),
        ("tstorch/session.py", "from tstorch.tools import run"),
        ("tstorch/pipeline.py", "import wgpu.utils"),
        ("tstorch/artifact/format.py", "import rich"),
    ],
)
def test_a_breach_is_seen(path, text):
    assert len(list(breaches(Source.parse(path, text)))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tstorch/runtime/device.py", "import json\nimport numpy\nimport wgpu"),
        ("dialects/onnx.py", "import onnx.defs\nfrom tstorch.levels import Level"),
        ("tools/run.py", "from tstorch.session import load\nfrom tstorch import __version__"),
        ("tstorch/trace/join.py", "from . import schema\nfrom ..artifact import format"),
    ],
)
def test_what_is_lawful_is_left_alone(path, text):
    assert list(breaches(Source.parse(path, text))) == []


def test_chains_of_imports_are_followed():
    known = {"tstorch", "tstorch.prim", "tstorch.prim.base"}
    assert modules_of("tstorch.prim.base.Op", known) == {"tstorch.prim", "tstorch.prim.base"}
    graph = {"tstorch.runtime.a": {"tstorch.b"}, "tstorch.b": {"tstorch.c"}, "tstorch.c": {"xdsl.ir"}}
    assert "xdsl.ir" in reached("tstorch.runtime.a", graph)


def run_python(code: str) -> list[str]:
    """Runs code in a fresh interpreter and returns the words that it prints on its last line."""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("tool", ["opt", "run"])
def test_help_imports_nothing_heavy(tool):
    code = f"""
import sys
sys.argv = ["tstorch-{tool}", "--help"]
from tstorch.tools.{tool} import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *(name for name in {HEAVY} if name in sys.modules))
"""
    assert run_python(code) == ["loaded:"]


def test_modules_import_without_unix_and_touch_no_gpu():
    modules = [source.module for source in sources()]
    code = f"""
import importlib, os, signal, sys
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
del signal.SIGALRM
for name in {modules}:
    importlib.import_module(name)
maps = "/proc/self/maps"
print("mapped:", *({{"libvulkan"}} if os.path.exists(maps) and "libvulkan" in open(maps).read() else ()))
"""
    assert run_python(code) == ["mapped:"]
