"""What installed plugins add: dialects, passes, rules, predicates, and where in the pipeline their passes stand.

A package announces a `Plugin` under the entry-point group `tstorch.plugins`:

    [project.entry-points."tstorch.plugins"]
    acme = "acme_tstorch:PLUGIN"

A plugin that fails to load becomes a note, told when something of it is asked for; it never ends the tool.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from xdsl.context import Context

from tstorch.diagnostics import DiagnosticError

GROUP = "tstorch.plugins"


@dataclass(frozen=True)
class Plugin:
    """What one package adds. Entries are "module:attribute", imported only when used.

    `hooks` maps a hook point of the pipeline (`before-fusion`, `after-prim`; `tstorch-opt --list-passes` shows them) to
    specs of passes that run there; `rules` are files of text rules that `apply-rules` reads before the built-in ones.
    """

    name: str
    dialects: Mapping[str, str] = field(default_factory=dict)
    passes: Mapping[str, str] = field(default_factory=dict)
    predicates: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[Path, ...] = ()
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that failed to load, and its own error."""

    name: str
    distribution: str
    error: str

    def __str__(self) -> str:
        return f"plugin '{self.name}' ({self.distribution}) failed to load: {self.error}"


@dataclass(frozen=True)
class Extensions:
    """All plugins of this installation. `Extensions()` is none at all."""

    plugins: tuple[Plugin, ...] = ()
    broken: tuple[BrokenPlugin, ...] = ()

    @classmethod
    def load(cls) -> "Extensions":
        """Loads the installed plugins, in order of their names; those that fail are kept as `broken`."""
        plugins: list[Plugin] = []
        broken: list[BrokenPlugin] = []
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            loaded = _load(entry)
            if isinstance(loaded, Plugin):
                plugins.append(loaded)
            else:
                broken.append(loaded)
        return cls(tuple(plugins), tuple(broken))

    @property
    def passes(self) -> dict[str, Callable[[], Any]]:
        """Pass name -> what loads its class; a name of ours or of an earlier plugin is not taken over."""
        return {name: _factory(p, entry) for p in reversed(self.plugins) for name, entry in p.passes.items()}

    @property
    def dialects(self) -> dict[str, Callable[[], Any]]:
        """Dialect name -> what loads it."""
        return {name: _factory(p, entry) for p in reversed(self.plugins) for name, entry in p.dialects.items()}

    @property
    def predicates(self) -> dict[str, Callable[[], Any]]:
        """Predicate name -> what loads its function."""
        return {name: _factory(p, entry) for p in reversed(self.plugins) for name, entry in p.predicates.items()}

    @property
    def rules(self) -> tuple[Path, ...]:
        """Files of text rules, in order of the plugins' names."""
        return tuple(path for plugin in self.plugins for path in plugin.rules)

    def hooked(self, point: str) -> list[str]:
        """Specs of the passes that plugins place at a hook point."""
        return [spec for plugin in self.plugins for spec in plugin.hooks.get(point, ())]

    def origin(self, pass_name: str) -> str:
        """The plugin that a pass comes from; empty for our own."""
        return next((plugin.name for plugin in self.plugins if pass_name in plugin.passes), "")

    def excuse(self) -> str:
        """What to add to "unknown pass": the plugins that failed to load and may have brought it."""
        return "".join(f"; {plugin}" for plugin in self.broken)


@dataclass
class CompilerContext(Context):
    """xDSL's context, what plugins add beyond dialects, and where one is kept the log of rewrites."""

    extensions: Extensions = field(default_factory=Extensions)
    rewrites: Any = None


def _load(entry: EntryPoint) -> Plugin | BrokenPlugin:
    distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown distribution"
    try:
        plugin = entry.load()
    except Exception as error:  # whatever a stranger's module raises at import is its own error, told in its name
        return BrokenPlugin(entry.name, distribution, f"{type(error).__name__}: {error}")
    if isinstance(plugin, Plugin):
        return plugin
    return BrokenPlugin(entry.name, distribution, f"{entry.value} is {type(plugin).__name__}; expected a Plugin")


def _factory(plugin: Plugin, entry: str) -> Callable[[], Any]:
    def load() -> Any:
        module, _, attribute = entry.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:  # see _load
            problem = f"{type(error).__name__}: {error}"
            raise DiagnosticError(f"plugin '{plugin.name}': cannot load {entry}: {problem}") from error

    return load
