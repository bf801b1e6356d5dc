"""Tests of the comparison behind --check: what is close enough, and what can never be."""

import numpy as np
import pytest

from tstorch.check import TOLERANCE, compare, relative_error

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("found", "expected", "error"),
    [
        ([1, 2], [1, 2], 0.0),
        ([1.0, 2.5], [1, 2], 0.25),
        ([0.5, 0], [0, 0], 0.5),
        ([], [], 0.0),
        ([NAN, 1], [NAN, 1], 0.0),
        ([INF, 1], [INF, 1], 0.0),
        ([INF, 1], [-INF, 1], INF),
        ([NAN, 1], [1, 1], INF),
        ([1, 1], [NAN, 1], INF),
        ([INF, 1], [1, 1], INF),
        ([1, 1], [1], INF),
    ],
)
def test_the_error_is_relative_to_the_largest_value(found, expected, error):
    assert relative_error(np.array(found, np.float32), np.array(expected, np.float32)) == error


def test_integers_are_compared_exactly():
    assert relative_error(np.array([2**31 - 1]), np.array([2**31 - 2])) > 0


@pytest.mark.parametrize(("off", "ok"), [(0.5 * TOLERANCE, True), (2 * TOLERANCE, False)])
def test_a_row_says_whether_it_is_close_enough(off, ok):
    row = compare("y", "NumPy", np.array([1 + off]), np.array([1.0]))
    assert (row["output"], row["reference"], row["ok"]) == ("y", "NumPy", ok)


def test_what_cannot_be_compared_has_no_error_and_is_wrong():
    row = compare("y", "NumPy", np.zeros(3), np.zeros(4))
    assert (row["error"], row["ok"]) == (None, False)
