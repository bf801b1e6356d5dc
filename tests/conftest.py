"""What holds for every test: in CI none is skipped that is not listed."""

import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ALLOWED = Path(__file__).parent / "allowed_skips.txt"


def allowed_skips() -> list[str]:
    """Reads the patterns of test ids that CI may skip. Raises UsageError for a line that gives no reason."""
    lines = [line.split(maxsplit=1) for line in ALLOWED.read_text().splitlines() if line and not line.startswith("#")]
    if bare := [line[0] for line in lines if len(line) < 2]:
        raise pytest.UsageError(f"{ALLOWED.name}: no reason given for {', '.join(bare)}")
    return [line[0] for line in lines]


def fail_if_unlisted(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip into a failure in CI, unless it is listed. An expected failure is no skip."""
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    if any(fnmatchcase(report.nodeid, pattern) for pattern in allowed_skips()):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: skipped in CI and not listed in {ALLOWED.name} ({reason})"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    fail_if_unlisted(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    report = yield
    fail_if_unlisted(report)
    return report
