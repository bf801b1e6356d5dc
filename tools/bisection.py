"""tstorch-opt --bisect: which pass breaks the result, said in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TextIO

from xdsl.dialects.builtin import ModuleOp

from tstorch.diagnostics import ExitCode
from tstorch.frontend.weights import WeightStore
from tstorch.numerics.bisect import PassBisection
from tstorch.plugins import Extensions
from tstorch.session import load


def bisect(
    fresh: Callable[[], ModuleOp],
    specs: Sequence[str],
    *,
    model: str | None,
    given: dict[str, Any],
    store: WeightStore,
    extensions: Extensions,
    out: TextIO,
) -> ExitCode:
    """Says on `out` which of the passes breaks the result; exits with 1 where one does.

    Of a `model` what is compiled to the end is run too, on the GPU; `given` is how it is loaded.
    """
    search = PassBisection(fresh, specs, store, extensions)
    found: object | None = search.on_cpu()
    if found is None and model is not None:
        with load(model, **given) as loaded:
            found = search.on_gpu(loaded, loaded.draw_inputs())
    if found is None:
        where = "by the NumPy references and on the GPU" if model is not None else "by the NumPy references"
        out.write(f"no pass breaks the result: {len(specs)} passes, {where} ({search.runs} runs)\n")
        return ExitCode.OK
    out.write(f"{found}\n")
    return ExitCode.DIAGNOSTIC
