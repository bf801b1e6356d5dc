"""Tests of the page with charts in a real browser: no error, no request, the trace's own numbers on every chart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from chromium import Page, chromium
from report_fixtures import long_trace, small_trace, untimed, wide_trace

from tstorch.report.build import build_report
from tstorch.report.html import write_html
from tstorch.report.units import bytes_text, count_text, share_text, time_text
from tstorch.trace.file import read_trace
from tstorch.trace.schema import Trace

pytestmark = pytest.mark.extra

CLASSES = [
    {
        "class": "phone",
        "status": "RUNS-IF",
        "name": "a phone",
        "reasons": [],
        "missing": [],
        "conditions": ["memory is"],
    }
]


def judged() -> Trace:
    """A trace with a verdict on one other device."""
    trace = small_trace()
    phone = {"class": "phone", "status": "RUNS-IF", "name": "a phone", "reasons": [], "missing": []}
    trace.measured["classes"] = [phone | {"conditions": ["memory is"]}]
    return trace


TRACES = {
    "small": judged(),
    "wide": wide_trace(),
    "untimed": untimed(),
    "long": long_trace(5000),
    "real": read_trace(Path(__file__).parents[1] / "data" / "tiny.trace"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """One browser for all tests."""
    with chromium() as page:
        yield page


@pytest.fixture
def opened(browser: Page, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Page, Trace]:
    """The page of the trace that a test is given by name."""
    trace = TRACES[request.param]
    write_html(trace, tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    return browser, trace


def series(page: Page, chart: str, number: int) -> list:
    return page.value(f"charts['{chart}'].getOption().series[{number}].data")


def texts(page: Page, table: str, column: int) -> list[str]:
    """The cells of a column, all rows shown."""
    page.value(f"document.querySelector('#{table} button')?.click()")
    return page.value(
        f"[...document.querySelectorAll('#{table} tbody tr')].map((row) => row.cells[{column}].textContent)"
    )


@pytest.mark.parametrize("opened", TRACES, indirect=True)
def test_it_loads_without_an_error_and_asks_for_nothing(opened: tuple[Page, Trace]) -> None:
    page, trace = opened
    assert page.watched() == []
    assert page.value("document.title").startswith(trace.header["model"]["path"])
    assert page.value("document.getElementById('status').textContent") == "RUNS"


def test_an_error_and_a_request_would_be_seen(browser: Page, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<script src='http://localhost:9/x.js'></script><script>nothing()</script>")
    browser.open(tmp_path / "bad.html")
    assert {"Runtime.exceptionThrown", "Network.requestWillBeSent"} <= {event["method"] for event in browser.watched()}


@pytest.mark.parametrize("opened", ["small", "wide", "long", "real"], indirect=True)
def test_the_waterfall_is_the_parts_of_a_run(opened: tuple[Page, Trace]) -> None:
    page, trace = opened
    parts = {name: us for name, us in trace.measured["parts_us"].items() if us}
    assert page.value("charts['parts-chart'].getOption().yAxis[0].data") == list(parts)
    lengths = [bar["value"] for bar in series(page, "parts-chart", 1)]
    assert lengths == pytest.approx([abs(us) for us in parts.values()])
    starts = series(page, "parts-chart", 0)
    signed = [us for name, us in parts.items() if name != "whole"]
    assert starts[:-1] == pytest.approx([sum(signed[:at]) + min(us, 0) for at, us in enumerate(signed)])


@pytest.mark.parametrize("opened", ["small", "wide", "long", "real"], indirect=True)
def test_the_timeline_has_every_dispatch_as_long_as_it_took(opened: tuple[Page, Trace]) -> None:
    page, trace = opened
    table = build_report(trace)["dispatch_table"]
    slices = [row for row in series(page, "timeline-chart", 0) if row[0] == 1]
    assert [end - begin for _, begin, end in slices] == pytest.approx([row["us"] for row in table])
    assert all(one[2] == pytest.approx(two[1]) for one, two in pairwise(slices))


@pytest.mark.parametrize("opened", ["small", "wide", "real"], indirect=True)
def test_kernels_stand_where_their_work_puts_them(opened: tuple[Page, Trace]) -> None:
    page, trace = opened
    report = build_report(trace)
    gpu = sum(kernel["us"] for kernel in report["kernels"])
    assert texts(page, "kernel-table", 0) == [time_text(kernel["us"]) for kernel in report["kernels"]]
    assert texts(page, "kernel-table", 1) == [share_text(kernel["us"], gpu) for kernel in report["kernels"]]
    assert texts(page, "kernel-table", 3) == [bytes_text(kernel["bytes"]) for kernel in report["kernels"]]
    computing = [kernel for kernel in report["kernels"] if kernel["flops"] and kernel["us"]]
    for dot, kernel in zip(series(page, "roof-chart", 2), computing, strict=True):
        assert dot[0] == pytest.approx(kernel["flops"] / kernel["bytes"])
        assert dot[1] == pytest.approx(kernel["flops"] / kernel["us"] / 1e3)


@pytest.mark.parametrize("opened", ["small", "wide", "long", "real"], indirect=True)
def test_memory_has_its_peak_line_and_all_that_is_alive_there(opened: tuple[Page, Trace]) -> None:
    page, trace = opened
    peak = build_report(trace)["live_at_peak"]
    assert series(page, "memory-chart", 0) == [row["live_bytes"] for row in trace.timeline]
    lines = page.value("charts['memory-chart'].getOption().series[0].markLine.data.map((line) => line.yAxis)")
    assert lines[0] == peak["live_bytes"]
    assert texts(page, "alive-table", 0) == [bytes_text(tensor["bytes"]) for tensor in peak["tensors"]]


@pytest.mark.parametrize("opened", ["wide"], indirect=True)
def test_fusions_done_and_declined_are_all_there(opened: tuple[Page, Trace]) -> None:
    page, trace = opened
    fusion = build_report(trace)["fusion"]
    assert texts(page, "done-table", 2) == [row["label"] for row in fusion["done"]]
    assert texts(page, "missed-table", 2) == [row["reason"] for row in fusion["missed"]]
    assert len(fusion["missed"]) > 100


@pytest.mark.parametrize("opened", ["small"], indirect=True)
def test_verdicts_on_other_devices_stand_beside_this_one(opened: tuple[Page, Trace]) -> None:
    page, _ = opened
    assert texts(page, "verdict-table", 1) == ["RUNS", "RUNS-IF"]
    assert texts(page, "verdict-table", 3)[1] == "memory is"


@pytest.mark.parametrize("opened", ["untimed"], indirect=True)
def test_what_is_untimed_is_called_so_and_is_no_0(opened: tuple[Page, Trace]) -> None:
    page, _ = opened
    assert page.value("document.getElementById('timeline-chart').textContent").startswith("untimed")
    assert set(texts(page, "kernel-table", 0)) == {"untimed"}
    text = page.value("document.body.innerText")
    assert not [zero for zero in (" 0 us", " 0.00", "NaN", "undefined", "null") if zero in text]


@pytest.mark.parametrize("opened", ["small"], indirect=True)
def test_figures_read_as_on_the_terminal(opened: tuple[Page, Trace]) -> None:
    page, _ = opened
    for value in (None, 0.2, 1.0, 9.994, 9.996, 42.42, 99.94, 998.7, 999.6, 12_345.6, 999_499.0, 1e7, -3.21, -0.4):
        written = "null" if value is None else value
        assert page.value(f"timeText({written})") == time_text(value)
        assert page.value(f"shareText({written}, 500)") == share_text(value, 500)
    for size in (None, 0, 1023, 1024, 5_000, 1_048_576, 123_456_789, 2**40):
        written = "null" if size is None else size
        assert page.value(f"bytesText({written})") == bytes_text(size)
        assert page.value(f"countText({written}, 'FLOP')") == count_text(size, "FLOP")


@pytest.mark.parametrize("opened", ["long"], indirect=True)
def test_5000_dispatches_are_drawn_and_zoomed_at_once(opened: tuple[Page, Trace]) -> None:
    page, _ = opened
    zoom = """(() => {
      const begin = performance.now();
      charts['timeline-chart'].dispatchAction({ type: 'dataZoom', start: 20, end: 60 });
      charts['timeline-chart'].getZr().flush();
      return performance.now() - begin;
    })()"""
    page.value(zoom)
    drawn = page.value("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert page.value("charts['timeline-chart'].getOption().dataZoom[0].end") == 60
    assert drawn < 15_000, "milliseconds on a busy machine; 1,500 on an idle one"
    assert page.value(zoom) < 2_000, "milliseconds on a busy machine; 100 on an idle one"
