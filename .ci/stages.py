"""Runs the two stages of CI one after the other, whatever the first one says, and closes with one summary of both.

Runs on any Python 3, as go.py does. Arguments go to pytest in both stages.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import go  # noqa: E402

# What the tests marked `extra` call: a file or program that shows it is there, and the packages that bring it.
NEEDS = (
    ("cc", ["gcc", "libc6-dev"]),
    ("/usr/include/vulkan/vulkan.h", ["libvulkan-dev"]),
    ("chromium", ["chromium"]),
    ("node", ["nodejs"]),
    ("npm", ["npm"]),
)
COUNTS = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warnings", "errors")
CLOSING = re.compile(r"^=+ (?P<counts>.*\b\d+ \w+.*) in (?P<seconds>[\d.]+)s.*=+$")


def lacking():
    """Lists the packages that the second stage needs and this machine lacks."""
    packages = []
    for sign, names in NEEDS:
        there = os.path.exists(sign) if sign.startswith("/") else go.shutil.which(sign)
        packages += [] if there else names
    return packages


def parse_closing(line):
    """Reads pytest's closing line as ({"passed": 3, ...}, seconds); None where the line is another."""
    match = CLOSING.match(line.strip())
    if not match:
        return None
    pairs = re.findall(r"(\d+) (\w+)", match.group("counts"))
    singular = {"error": "errors", "warning": "warnings"}
    return {singular.get(name, name): int(number) for number, name in pairs}, float(match.group("seconds"))


def merge_closings(closings):
    """Spells the closing line of several runs as pytest spells that of one. `deselected` is left out: the stages'
    selections are each other's complements."""
    total = {name: sum(counts.get(name, 0) for counts, _ in closings) for name in COUNTS if name != "deselected"}
    parts = ["%d %s" % (total[name], name) for name in COUNTS if total.get(name)]
    return "==== %s in %.2fs ====" % (", ".join(parts) or "no tests ran", sum(seconds for _, seconds in closings))


def stage(title, arguments):
    """Runs the test command, passing its output on; returns (exit status, its closing line as parsed, or None)."""
    go.say("==> %s: python3 go.py test %s" % (title, " ".join(arguments)))
    command = [sys.executable, os.path.join(ROOT, "go.py"), "test"] + arguments
    running = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    closing = None
    for line in running.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        closing = parse_closing(line) or closing
    return running.wait(), closing


def main(arguments):
    """Runs both stages; returns 0 where both passed. A stage that ends without pytest's closing line has failed."""
    os.environ["CI"] = "true"
    results = [stage("the README's tests", arguments)]
    packages = lacking()
    if packages and go.has_apt(go.read_os_release()) and os.geteuid() == 0:
        go.apt_install(packages)
    elif packages:
        go.say("Missing for the second stage: " + " ".join(packages))
    results.append(stage("tests that need more", ["-m", "extra"] + arguments))
    closings = [closing for _, closing in results if closing]
    go.say(merge_closings(closings))
    return 0 if len(closings) == len(results) and not any(status for status, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
