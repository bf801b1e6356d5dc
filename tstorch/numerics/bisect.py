"""The pass that breaks the result: found by running fewer of them, in NumPy as far as it goes, then on the GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from tstorch.check import compare, numpy_outputs
from tstorch.compiled import compile_by
from tstorch.frontend.weights import WeightStore
from tstorch.levels import get_level
from tstorch.passes.rewrite_log import Fired, RewriteLog
from tstorch.pipeline import PHASES, parse_passes, run_passes
from tstorch.plugins import Extensions
from tstorch.precision import TOLERANCE, Precision
from tstorch.registry import make_context
from tstorch.semantics import difference, results_of
from tstorch.session import Model

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Broken:
    """The pass at `place` (from 1) of `count`: before it `what` was right by `before`, behind it it is off by `after`.

    `origin` is the plugin that it comes from, `rewrite` which of its `rewrites` breaks it, where it has any.
    """

    spec: str
    place: int
    count: int
    origin: str
    what: str
    before: float
    after: float
    limit: float
    by: str
    runs: int
    rewrite: int | None = None
    rewrites: int = 0
    fired: Fired | None = None

    def __str__(self) -> str:
        """The finding in two or three lines."""
        origin = f" (plugin {self.origin})" if self.origin else ""
        lines = [
            f"pass {self.place} of {self.count}, {self.spec}{origin}, breaks the result: {self.what} differs by "
            f"{self.after:.1e} behind it and by {self.before:.1e} before it (limit {self.limit:.0e})"
        ]
        if self.fired is not None:
            lines.append(f"its rewrite {self.rewrite} of {self.rewrites} does: {self.fired}")
        return "\n".join([*lines, f"found {self.by}, in {self.runs} runs"])


@dataclass(frozen=True)
class BrokenLowering:
    """No pass that could be left out is to blame: what is left of those that must run."""

    what: str
    error: float
    passes: tuple[str, ...]
    runs: int

    def __str__(self) -> str:
        return (
            f"{self.what} differs by {self.error:.1e} on the GPU with every optional pass left out, and NumPy finds "
            f"nothing wrong up to {self.passes[0]}: the fault is in {', '.join(self.passes[1:])}, or in the driver; "
            f"tstorch-run --check names the kernel ({self.runs} runs)"
        )


@dataclass
class PassBisection:
    """Looks for the first of `specs` behind which values differ from those before all of them.

    `fresh` gives the module that they start from, each time anew; `store` where its weights lie.
    """

    fresh: Callable[[], ModuleOp]
    specs: Sequence[str]
    store: WeightStore
    extensions: Extensions
    runs: int = 0
    _bounds: tuple[int, int] | None = field(default=None, init=False)

    def on_cpu(self) -> Broken | None:
        """By the NumPy references, over the passes from the first module of primitives to the last one of kernels."""
        bounds = self._comparable()
        if bounds is None:
            return None
        first, last = bounds
        base = self._results(first)
        before, after = 0.0, _worst(self._results(last), base)
        if not after[1] > TOLERANCE:
            return None
        low, high = first, last
        while high - low > 1:
            middle = (low + high) // 2
            found = _worst(self._results(middle), base)
            if found[1] > TOLERANCE:
                high, after = middle, found
            else:
                low, before = middle, found[1]
        broken = self._broken(high, after, before, "by the NumPy references")
        return self._with_rewrite(broken, base)

    def on_gpu(self, model: Model, inputs: Arrays) -> Broken | BrokenLowering | None:
        """By running what is compiled with the first passes and, of the later ones, only those that must run."""
        precision = Precision()
        expected = numpy_outputs(model.compiled, inputs, precision)
        limit = precision.tolerance(lambda: 0.0)
        first = (self._comparable() or (0, 0))[1]
        before, after = ("", 0.0), self._on_gpu(model, len(self.specs), inputs, expected)
        if not after[1] > limit:
            return None
        low, high = first, len(self.specs)
        if (found := self._on_gpu(model, low, inputs, expected))[1] > limit:
            must = [spec for spec in self.specs[low:] if _must_run(spec)]
            return BrokenLowering(found[0], found[1], (self.specs[low - 1], *must), self.runs)
        before = found
        while high - low > 1:
            middle = (low + high) // 2
            found = self._on_gpu(model, middle, inputs, expected)
            low, high, before, after = (
                (low, middle, before, found) if found[1] > limit else (middle, high, found, after)
            )
        return self._broken(high, after, before[1], "on the GPU", limit)

    def _comparable(self) -> tuple[int, int] | None:
        """How many passes lead to the first and to the last module that NumPy can evaluate."""
        if self._bounds is None:
            module, context = self.fresh(), make_context(self.extensions)
            places = [0] if _has_values(module) else []
            for place, spec in enumerate(self.specs, 1):
                run_passes(module, parse_passes(spec, self.extensions), context)
                places += [place] if _has_values(module) else []
            self._bounds = (places[0], places[-1]) if places else None
        return self._bounds

    def _results(self, count: int, limit: int | None = None) -> Arrays:
        """What the module computes after so many passes, with at most `limit` rewrites of the last of them."""
        module = self.fresh()
        self._run(module, self.specs[: count - 1] if limit is not None else self.specs[:count], None)
        if limit is not None:
            self._run(module, self.specs[count - 1 : count], RewriteLog(limit))
        self.runs += 1
        return results_of(module, self.store) or {}

    def _run(self, module: ModuleOp, specs: Sequence[str], log: RewriteLog | None) -> None:
        context = make_context(self.extensions)
        context.rewrites = log
        run_passes(module, parse_passes(",".join(specs), self.extensions), context)

    def _on_gpu(self, model: Model, count: int, inputs: Arrays, expected: Arrays) -> tuple[str, float]:
        """The worst output of what so many passes, and then only those that must run, make of the model."""
        specs = [*self.specs[:count], *filter(_must_run, self.specs[count:])]
        self.runs += 1
        assert isinstance(model.compiled.model, str)
        with model.beside(compile_by(model.compiled.model, model.compiled.recipe, specs)) as other:
            found = other.run(inputs)
        rows = [compare(name, "NumPy", found[name], expected[name]) for name in expected]
        return max(((f"'{row['output']}'", _number(row["error"])) for row in rows), key=lambda pair: pair[1])

    def _broken(self, place: int, after: tuple[str, float], before: float, by: str, limit: float = TOLERANCE) -> Broken:
        spec = self.specs[place - 1]
        origin = self.extensions.origin(spec.partition("{")[0])
        return Broken(spec, place, len(self.specs), origin, *(after[0], before, after[1], limit), by, self.runs)

    def _with_rewrite(self, broken: Broken, base: Arrays) -> Broken:
        """The same, with the first rewrite of the pass after which values are wrong."""
        log, module = RewriteLog(), self.fresh()
        self._run(module, self.specs[: broken.place - 1], None)
        self._run(module, self.specs[broken.place - 1 : broken.place], log)
        low, high = 0, len(log.fired)
        if not high:
            return broken
        while high - low > 1:
            middle = (low + high) // 2
            wrong = _worst(self._results(broken.place, middle), base)[1] > TOLERANCE
            low, high = (low, middle) if wrong else (middle, high)
        facts = {"rewrite": high, "rewrites": len(log.fired), "fired": log.fired[high - 1], "runs": self.runs}
        return Broken(**{**broken.__dict__, **facts})


def _has_values(module: ModuleOp) -> bool:
    """Whether NumPy can evaluate a module: a level of primitives or of kernels made of them, or none at all."""
    return get_level(module) in (None, "prim", "flow")


def _must_run(spec: str) -> bool:
    """Whether a pass is one that no program comes about without."""
    name = spec.partition("{")[0]
    return any(step.name == name and not step.optional for phase in PHASES for step in phase.steps)


def _worst(found: Arrays, expected: Arrays) -> tuple[str, float]:
    """The result that differs most, of those that both have."""
    rows = [(name, difference(found[name], expected[name])) for name in expected if name in found]
    return max(rows, key=lambda row: row[1], default=("", 0.0))


def _number(error: float | None) -> float:
    return float("inf") if error is None else error
