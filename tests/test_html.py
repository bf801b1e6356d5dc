"""Tests of the page with charts: one file that asks for nothing, holds the trace's own figures, and takes any name."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from report_fixtures import long_trace, small_trace, untimed, wide_trace
from tiny_artifact import write_tiny_artifact

from tstorch.report.build import build_report
from tstorch.report.html import html_page, page_data, write_html
from tstorch.tools import run

HOSTILE = "</script><script>alert(1)</script><!-- {{style}} {{script}} &"
TRACES = {"small": small_trace(), "wide": wide_trace(), "untimed": untimed(), "long": long_trace(300)}


class _Tags(HTMLParser):
    """Every tag with its attributes, and the text of the title and of the data."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self._inside = [], {}, ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id", tag)

    def handle_data(self, data):
        self.texts[self._inside] = self.texts.get(self._inside, "") + data

    def handle_endtag(self, tag):
        self._inside = ""


@pytest.mark.parametrize("name", TRACES)
def test_the_page_is_one_file_that_asks_for_nothing(name):
    page = _Tags(html_page(TRACES[name]))
    addresses = [attrs[key] for _, attrs in page.tags for key in ("src", "href", "action") if key in attrs]
    assert [address for address in addresses if not address.startswith("#")] == ["data:,"]
    (policy,) = [attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs]
    assert policy.startswith("default-src 'none'"), "what the browser would refuse to fetch, were it asked"
    assert "connect-src" not in policy


@pytest.mark.parametrize("name", TRACES)
def test_it_holds_the_reports_own_figures_once(name):
    trace = TRACES[name]
    held = json.loads(_Tags(html_page(trace)).texts["data"])
    assert held == json.loads(json.dumps(page_data(trace)))
    report = json.loads(json.dumps(build_report(trace)))
    assert {key: held["report"][key] for key in report} == report
    assert len(held["work"]) == len(report["dispatch_table"])
    assert [row["live_bytes"] for row in held["moments"]] == [row["live_bytes"] for row in trace.timeline]


def test_the_tensors_of_each_moment_are_those_that_live_then():
    held = page_data(long_trace(300))
    for moment in held["moments"]:
        assert sum(held["tensors"][at]["bytes"] for at in moment["tensors"]) == moment["live_bytes"]


def test_parts_of_one_value_have_one_name_and_bytes_of_their_own():
    trace = small_trace()
    trace.tensors[1]["name"] = trace.tensors[0]["name"]
    trace.tensors[0] |= {"first": 0, "last": 1}
    trace.tensors[1] |= {"first": 1, "last": 1}
    trace.timeline[1]["tensors"] = [trace.tensors[0]["name"]] * 2
    held = page_data(trace)
    assert held["moments"][0]["tensors"] == [0], "the second is not alive yet"
    assert held["moments"][1]["tensors"] == [0, 1]
    assert sum(tensor["bytes"] for tensor in build_report(trace)["live_at_peak"]["tensors"]) == 1000


def test_a_name_cannot_end_the_script_that_holds_it():
    trace = small_trace()
    trace.header["model"]["path"] = trace.nodes[0]["id"] = HOSTILE
    page = _Tags(html_page(trace))
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert len(scripts) == 3
    assert json.loads(page.texts["data"])["report"]["nodes"][0]["id"] == HOSTILE
    assert page.texts["title"] == f"{HOSTILE}: TSTorch"


def test_each_chart_is_explained_in_place():
    page = html_page(small_trace())
    sections = re.findall(r"<section.*?</section>", page, re.DOTALL)
    assert len(sections) == 8
    for section in sections:
        assert 'class="how"' in section


def test_the_chart_library_stands_with_its_licence():
    folder = files("tstorch.report") / "page" / "echarts"
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert "Apache ECharts" in (folder / "NOTICE").read_text(encoding="utf-8")
    assert "Mike Bostock" in (folder / "LICENSE-d3").read_text(encoding="utf-8")
    assert 't.version="6.1.0"' in (folder / "echarts.min.js").read_text(encoding="utf-8")


def test_the_file_is_written_whole_or_not_at_all(tmp_path):
    write_html(small_trace(), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == html_page(small_trace())
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.gpu
def test_the_run_tool_writes_it(tmp_path):
    page = tmp_path / "page.html"
    assert run.main([str(write_tiny_artifact(tmp_path)), "--iterations", "1", "--html", str(page)]) == 0
    held = json.loads(_Tags(page.read_text(encoding="utf-8")).texts["data"])
    assert [fit["class"] for fit in held["report"]["classes"]] == ["phone", "integrated", "discrete"]
    assert len(held["words"]["classes"]) == 3
