"""The normal form of index expressions against plain integer arithmetic."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.ir.affine import AffineExpr

from tstorch.dialects.indexing import (
    Index,
    delinearize,
    format_affine,
    from_affine_expr,
    linearize,
    split_sum,
    to_affine_expr,
)

SIZES = {"a": (5, 1), "b": (8, 1), "c": (12, 4), "d": (3, 1)}
DIMS = {key: Index.dim(key, size, step) for key, (size, step) in SIZES.items()}
FACTORS = st.sampled_from([0, 1, 2, 3, 4, 6, 8, 12, -1, -4])
DIVISORS = st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24])
POINTS = st.fixed_dictionaries({key: st.sampled_from(range(0, size, step)) for key, (size, step) in SIZES.items()})


@st.composite
def sums(draw: st.DrawFn) -> Index:
    total = Index(draw(st.integers(-9, 9)))
    for dim in DIMS.values():
        total = total + dim * draw(FACTORS)
    return total


@settings(max_examples=300, deadline=None)
@given(sums(), DIVISORS, DIVISORS, st.lists(POINTS, min_size=5, max_size=20))
def test_arithmetic_is_exact(e: Index, c: int, d: int, points: list[dict[str, int]]) -> None:
    quotient, remainder = e // c, e % c
    nested, mixed, whole = (quotient + e * 2) // d, (remainder + e) % d, quotient * c + remainder
    for point in points:
        value = e.evaluate(point)
        assert quotient.evaluate(point) == value // c
        assert remainder.evaluate(point) == value % c
        assert nested.evaluate(point) == (value // c + 2 * value) // d
        assert mixed.evaluate(point) == (value % c + value) % d
        assert whole.evaluate(point) == value


@settings(max_examples=200, deadline=None)
@given(sums(), DIVISORS, st.lists(POINTS, min_size=5, max_size=20))
def test_bounds_and_divisibility_hold(e: Index, c: int, points: list[dict[str, int]]) -> None:
    for found in (e, e // c, e % c):
        values = [found.evaluate(point) for point in points]
        assert found.low <= min(values)
        assert max(values) <= found.high
        assert not found.is_multiple_of(c) or all(value % c == 0 for value in values)


@settings(max_examples=200, deadline=None)
@given(sums(), DIVISORS, st.lists(POINTS, min_size=5, max_size=10))
def test_affine_maps_keep_the_value(e: Index, c: int, points: list[dict[str, int]]) -> None:
    found = e // c + e % c * 3
    keys = list(DIMS)
    affine = to_affine_expr(found, keys)
    back = from_affine_expr(affine, list(DIMS.values()))
    for point in points:
        assert back.evaluate(point) == found.evaluate(point) == affine.eval([point[key] for key in keys], [])
        terms = [(factor, atom.eval([point[key] for key in keys], [])) for factor, atom in split_sum(affine)]
        assert sum(factor * value for factor, value in terms) == found.evaluate(point)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 3, 4, 7, 8]), min_size=1, max_size=4))
def test_linearise_undoes_delinearise(shape: list[int]) -> None:
    size = 1
    for each in shape:
        size *= each
    place = Index.dim("place", size)
    assert linearize(delinearize(place, shape), shape) == place


T, STEP = Index.dim("t", 448), Index.dim("i", 8)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ((T * 8 + STEP) // 56, "t floordiv 7"),
        ((T * 8 + STEP) % 56, "(t mod 7) * 8 + i"),
        ((T * 8 + STEP) // 56 // 8, "t floordiv 56"),
        (Index.dim("k", 64, 4) // 4 * 4, "(k floordiv 4) * 4"),
        ((T - 1) // 3, "(t + 2) floordiv 3 - 1"),
        (-T + 3, "t * -1 + 3"),
        (T % 448, "t"),
        (Index.dim("one", 1) + 5, "5"),
        (T % 56 % 7, "t mod 7"),
    ],
)
def test_ranges_simplify(expression: Index, text: str) -> None:
    assert repr(expression) == text


def test_a_tile_that_does_not_divide_keeps_its_division() -> None:
    assert "floordiv" in repr((T * 6 + Index.dim("j", 6)) // 56)


def test_substitution_simplifies_again() -> None:
    e = (T * 8 + STEP) % 56
    assert e.substitute({"t": 3, "i": 2}) == Index(26)
    assert e.coefficient("i") == 1
    assert e.coefficient("t") is None


def test_what_is_no_index_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="division of an index by 0"):
        T // 0
    with pytest.raises(ValueError, match="is no index expression"):
        from_affine_expr(AffineExpr.symbol(0), [])
    with pytest.raises(ValueError, match="CeilDiv is no index operation"):
        from_affine_expr(AffineExpr.dimension(0).ceil_div(2), [T])


def test_text_subtracts_negative_terms() -> None:
    expr = to_affine_expr(T - STEP * 2 - 1, ["t", "i"])
    assert format_affine(expr, ["%t", "%i"]) == "%t - %i * 2 - 1"
