"""Tests that hostile files are refused in one message, or run: none crashes the tool, hangs it or shows a traceback.

Here each is fed to it in this process, of the many alike a seeded part; `python tests/hostile/run.py` feeds all of them
to processes of their own, with their time and memory limited.
"""

import random
import re

import pytest
from hostile.files import write_all
from hostile.lies import all_lies
from hostile.run import Outcome, fed

SLOW = {"loop_forever", "loop_long", "many_operands", "notes_deep"}
"""Left to processes of their own."""
NODE = re.compile(
    r"error: (onnx '|\d+ operators? of the model|the (graph|model|name)|tensor|initializer|function"
    r"|graph (input|output)|input |the size of)"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root") / "files"
    folder.mkdir()
    return write_all(folder)


@pytest.mark.parametrize("name", sorted(set(all_lies()) - SLOW))
def test_a_lie_is_refused_in_one_message_that_leads_with_what_is_to_blame(files, tmp_path, name):
    found = next(file for file in (f"lie_{name}", f"odd_{name}") if file in files)
    outcome = Outcome(*fed(files[found], tmp_path))
    assert not outcome.problem(must_refuse=found.startswith("lie_")), outcome.message
    assert outcome.code == 0 or NODE.match(outcome.message), outcome.message


def some(files, kind):
    names = sorted(name for name in files if name.startswith(kind))
    return random.Random(0).sample(names, 12)


@pytest.mark.parametrize("kind", ["cut_", "bitten_", "lie_external"])
def test_what_was_cut_or_bitten_is_refused_or_compiled(files, tmp_path, kind):
    for name in some(files, kind):
        outcome = Outcome(*fed(files[name], tmp_path))
        assert not outcome.problem(must_refuse=name.startswith("lie_")), f"{name}: {outcome.message}"


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (Outcome(0, ""), "was accepted"),
        (Outcome(1, "error: a\nerror: b"), "not one message"),
        (Outcome(1, ""), "not one message"),
        (Outcome(1, "Traceback: x"), "a traceback"),
        (Outcome(-9, ""), "exit code -9"),
        (Outcome(3, "error: internal"), "exit code 3"),
        (Outcome(1, "error: " + "n" * 9000), "letters"),
        (Outcome(1, "error: a", seconds=61), "61 s"),
        (Outcome(1, "error: a", bytes=3 << 30), "3072 MB"),
        (Outcome(1, "error: a"), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_file_must_not_lead_to_is_seen(outcome, says):
    found = outcome.problem(must_refuse=True)
    assert says in found
    assert bool(found) == bool(says)
