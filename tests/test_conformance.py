"""Tests that the quick slice of onnx's own backend suite passes, on the GPU and by its nodes' own dispatches, and that
the prepared object computes other data as well; the whole suite is `python tests/conformance/run.py`."""

import json

import numpy as np
import pytest
from conformance.cases import HERE, all_cases, excluded, quick_slice
from conformance.document import pages
from conformance.judge import close, difference, judge
from conformance.vary import varied


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of edge cases that a reference computes
@pytest.mark.parametrize("name", quick_slice())
def test_a_test_of_the_slice_passes_on_the_gpu(name):
    row = judge(all_cases()[name])
    assert row["status"] == "pass", row
    assert row["made"], row["reason"]
    assert not row["again"].startswith("differs"), row["again"]


def test_the_slice_holds_every_kind_of_element_and_is_part_of_the_suite():
    cases = [all_cases()[name] for name in quick_slice()]
    assert not set(quick_slice()) & set(excluded())
    assert 200 <= len(cases) <= 500
    assert {"float32", "float16", "int8", "uint8", "int32", "int64", "uint64", "bool"} <= {
        kind for case in cases for kind in case.types
    }
    assert len({case.operator for case in cases}) >= 120


def test_each_excluded_test_is_one_of_the_suite_and_has_a_reason():
    assert set(excluded()) <= set(all_cases())
    assert all(excluded().values())


def test_the_pages_say_what_the_stored_results_say():
    for path, text in pages().items():
        assert path.read_text() == text, f"{path.name}: run python tests/conformance/document.py"


def test_no_stored_result_is_wrong():
    rows = json.loads((HERE / "results.json").read_text())
    assert rows.keys() == all_cases().keys() - excluded().keys(), "the whole suite: run python tests/conformance/run.py"
    assert not [name for name, row in rows.items() if row["status"] not in ("pass", "refused")]
    assert not [name for name, row in rows.items() if row["status"] == "pass" and not confirmed(row["again"])]


def confirmed(again):
    """Whether other data gave what a witness says, or there was none to give."""
    return again.startswith("agrees with ") or again == "nothing to vary"


@pytest.mark.parametrize(
    "again", ["differs from onnxruntime: output 0", "no witness: neither", "", "differs: RunError"]
)
def test_what_other_data_did_not_confirm_is_no_pass(again):
    assert not confirmed(again)


def test_varied_data_is_other_data_of_the_same_range():
    given = [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array([[0, 2], [1, 1]]),
        np.array(3),
        np.zeros((0, 2), np.float32),
        np.array([0.5, 2, 1], np.float32),
        np.full(4, 3, np.float32),
    ]
    other = varied(given)
    np.testing.assert_array_equal(other[0], given[0][::-1])  # whole numbers may be indices
    np.testing.assert_array_equal(other[1], given[1][::-1])
    assert other[2] is given[2]
    assert other[3] is given[3]
    assert given[4].min() <= other[4].min() < other[4].max() <= given[4].max()
    assert 1.5 <= other[5].min() < other[5].max() <= 3
    assert varied(given, fixed={0})[0] is given[0]


def test_rows_that_are_alike_change_along_another_axis():
    alike = np.array([[[1, 2], [3, 4]]] * 2)
    np.testing.assert_array_equal(varied([alike])[0], alike[:, ::-1])


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (np.ones(2, np.float32), None),
        (np.ones(3, np.float32), "float32\\[3\\], expected float32\\[2\\]"),
        (np.ones(2, np.int32), "int32\\[2\\], expected float32"),
        (np.array([1, 1.1], np.float32), "differs"),
        (np.array([1, np.nan], np.float32), "differs"),
    ],
)
def test_a_difference_is_found_and_told(found, says):
    for told in (difference([np.ones(2, np.float32)], [found], 1e-3, 1e-7), close([np.ones(2, np.float32)], [found])):
        assert told is None if says is None else told is not None
