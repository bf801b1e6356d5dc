"""What holds for every test: in CI none is skipped that is not listed, and of the large networks a third is run."""

import os
import random
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ALLOWED = Path(__file__).parent / "allowed_skips.txt"
DRAWN: pytest.StashKey[str] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("networks")
    group.addoption("--all-networks", action="store_true", help="run every large network, not a third of them")
    group.addoption(
        "--networks-seed", type=int, default=0, metavar="N", help="which third of the large networks to run"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "large: takes a large network, its parameter `name`; a third of them is run")


@pytest.hookimpl(trylast=True)  # after -k and -m: what they leave is what a third is drawn of
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests of a third of the large networks, drawn by seed, and notes which."""
    large = {item: item.callspec.params["name"] for item in items if item.get_closest_marker("large")}
    names = sorted(set(large.values()))
    seed = config.getoption("networks_seed")
    if not names or config.getoption("all_networks"):
        return
    drawn = sorted(random.Random(seed).sample(names, -(-len(names) // 3)))
    left_out = [item for item, name in large.items() if name not in drawn]
    items[:] = [item for item in items if large.get(item) in (None, *drawn)]
    config.hook.pytest_deselected(items=left_out)
    config.stash[DRAWN] = f"{', '.join(drawn)} of {len(names)}, by --networks-seed {seed}; --all-networks runs them all"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if DRAWN in config.stash:
        terminalreporter.write_line(f"large networks: {config.stash[DRAWN]}")


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
