"""Every dialect and every pass by name, one line each, imported only when used."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from xdsl.context import Context
from xdsl.ir import Dialect
from xdsl.passes import ModulePass

DIALECTS: Mapping[str, str] = {
    # xDSL's
    "arith": "xdsl.dialects.arith:Arith",
    "builtin": "xdsl.dialects.builtin:Builtin",
    "func": "xdsl.dialects.func:Func",
    "math": "xdsl.dialects.math:Math",
    "memref": "xdsl.dialects.memref:MemRef",
    "vector": "xdsl.dialects.vector:Vector",
    # ours
}

PASSES: Mapping[str, str] = {
}


def load(entry: str) -> Any:
    """The object that "module:attribute" names."""
    module, _, attribute = entry.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _factory(entry: str) -> Callable[[], Any]:
    return lambda: load(entry)


def dialect_factories() -> dict[str, Callable[[], Dialect]]:
    """Dialect name -> what loads it."""
    return {name: _factory(entry) for name, entry in DIALECTS.items()}


def pass_factories() -> dict[str, Callable[[], type[ModulePass]]]:
    """Pass name -> what loads its class."""
    return {name: _factory(entry) for name, entry in PASSES.items()}


def make_context(extra: Mapping[str, Callable[[], Dialect]] | None = None) -> Context:
    """A context that knows all dialects and those of plugins, each loaded when an op of it is met."""
    context = Context()
    for name, factory in (dialect_factories() | dict(extra or {})).items():
        context.register_dialect(name, factory)
    return context
