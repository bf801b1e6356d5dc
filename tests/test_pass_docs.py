"""Every pass's docstring shows the IR before and after, and what it shows is what the pass does."""

from dataclasses import dataclass

import pytest
from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp

from tstorch.passes.base import TSTorchPass
from tstorch.registry import PASSES, load
from tstorch.testing import assert_documented, documented_example


@pytest.mark.parametrize("name", sorted(PASSES))
def test_the_docstring_shows_what_the_pass_does(name: str) -> None:
    assert_documented(load(PASSES[name]))


@dataclass(frozen=True)
class _BarePass(TSTorchPass):
    """Does something."""

    name = "bare"


def test_a_pass_without_an_example_is_refused() -> None:
    with pytest.raises(ValueError, match="_BarePass shows no '// before' and '// after'"):
        documented_example(_BarePass)


def test_an_example_that_does_not_hold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(self: object, ctx: Context, module: ModuleOp) -> None:
        for op in module.walk():
            if isinstance(op, arith.AddfOp):
                op.operands = [op.rhs, op.lhs]

    kind = load(PASSES["dce"])
    monkeypatch.setattr(kind, "apply", swap)
    with pytest.raises(AssertionError, match=r"(?s)dce gives.*instead of the docstring's"):
        assert_documented(kind)
