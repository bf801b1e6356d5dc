"""Tests of a trace as a data frame: one row a dispatch, times as they were measured; what is said without pandas."""

import sys

import pytest
from report_fixtures import small_trace, untimed

from tstorch.diagnostics import DiagnosticError


def test_without_pandas_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DiagnosticError, match=r"pip install 'tstorch\[pandas\]'"):
        small_trace().to_dataframe()


def test_a_row_is_a_dispatch():
    pytest.importorskip("pandas")
    frame = small_trace().to_dataframe()
    assert list(frame.index) == [0, 1, 2, 3]
    assert frame.loc[frame.entry == "run", "us"].sum() == 1000
    assert frame.groupby("kernel").us.sum()["k0"] == 900
    assert frame.loc[1, "leader"] == "conv1"
    assert frame.loc[1, "nodes"] == "conv1, bn1, relu1"
    assert untimed().to_dataframe().us.isna().all(), "what is not known is no 0"
