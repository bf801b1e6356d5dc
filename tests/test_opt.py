"""Tests of tstorch-opt as a program: exit codes, what goes where, reproducers, cost of --help."""

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from tstorch.passes.simplify.dce import DcePass
from tstorch.tools import opt

NEGATION = """func.func @f(%x: f32) -> f32 {
  %a = arith.negf %x : f32
  %b = arith.negf %x : f32
  func.return %a : f32
}
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.mlir").write_text(NEGATION)
    return "f.mlir"


def test_success_is_0_and_stdout_holds_the_result_alone(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert opt.main([source, "-p", "cse,dce", "--time-passes", "--print-ir-after-all", "--remarks"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("builtin.module")
    assert out.count("arith.negf") == 1
    assert "IR after cse" in err
    assert "ms 100.0%  total" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.mlir"], 1, "error: cannot read 'missing.mlir': No such file or directory"),
        (["f.mlir", "--target", "toaster"], 1, "error: target 'toaster' is neither"),
        (["f.mlir", "--rules", "missing.rules"], 1, "error: cannot read the rules 'missing.rules'"),
        (["f.mlir", "--compile-to", "flow"], 1, "error: the module does not say its level"),
        (["f.mlir", "-o", "no/such/folder/out.mlir"], 1, "error: cannot write"),
        (["f.mlir", "-p", "no-such-pass"], 2, "error: unknown pass 'no-such-pass'"),
        (["f.mlir", "-p", "verify-level{leve=prim}"], 2, "error: pass verify-level: "),
        (["f.mlir", "-p", "cse{"], 2, "error: Error parsing pass pipeline"),
        (["f.mlir", "--dim", "batch"], 2, "error: --dim batch: expected NAME=N"),
        (["f.mlir", "--dim", "batch=1"], 2, "error: --dim binds dimensions of a model"),
    ],
)
def test_each_mistake_is_one_message_and_its_code(
    source: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert opt.main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert "Traceback" not in err


@pytest.mark.parametrize("passes", ["cse,dce", "builtin.module(cse,dce)", " builtin.module( cse,dce ) "])
def test_passes_may_be_written_as_mlir_does(source: str, capsys: pytest.CaptureFixture[str], passes: str) -> None:
    assert opt.main([source, "-p", passes, "--pass-statistics"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["cse", "dce"]


def test_stdin_and_stdout_may_be_called_by_a_dash(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(NEGATION))
    assert opt.main(["-", "-p", "cse", "-o", "-"]) == 0
    assert capsys.readouterr().out.count("arith.negf") == 1


def test_times_are_a_tree_that_adds_up(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert opt.main([source, "-p", "cse,dce", "--time-passes", "--time-passes-json", "t.json"]) == 0
    table = capsys.readouterr().err.splitlines()
    assert table[0].endswith("ms 100.0%  total")
    assert [line.split()[-1] for line in table[1:-1]] == ["reading", "printing", "prim", "cse", "dce"]
    assert table[4].index("cse") > table[3].index("prim"), "indented below its phase"
    tree = json.loads((tmp_path / "t.json").read_text())

    def adds_up(node: dict) -> bool:
        parts = node["parts"]
        whole = not parts or abs(sum(part["ms"] for part in parts) - node["ms"]) < 1e-6
        return whole and all(map(adds_up, parts))

    assert adds_up(tree)
    assert min(part["ms"] for part in tree["parts"]) >= 0


def test_statistics_say_what_each_pass_did(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert opt.main([source, "-p", "cse,dce", "--pass-statistics"]) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first.split() == ["cse", "ops", "5", "->", "4"]
    assert second.split() == ["dce", "ops", "4", "->", "4"]


NEGATIONS = """func.func @f(%x: tensor<2xf32>) -> tensor<2xf32> {
  %s = prim.transpose %x, permutation = [0] : tensor<2xf32> -> tensor<2xf32> loc("swap")
  %a = prim.add %s, %s : tensor<2xf32> loc("sum")
  func.return %a : tensor<2xf32>
}
"""


def test_statistics_count_rewrites_by_their_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.mlir").write_text(NEGATIONS)
    assert opt.main([str(tmp_path / "f.mlir"), "-p", "canonicalize", "--pass-statistics"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "rewrites: 1 " in line
    assert "nodes elided: 1" in line


TINY = str(Path(__file__).parent / "data" / "tiny.onnx")


def test_remarks_can_be_filtered_and_written_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "r.json"
    words = [TINY, "--no-plugins", "--dim", "batch=2", "--compile-to", "flow", "-o", str(tmp_path / "m.mlir")]
    assert opt.main([*words, "--remarks"]) == 0
    everything = capsys.readouterr().err.splitlines()
    assert opt.main([*words, "--remarks-filter", "passed TST-F010 at .*softmax", "--remarks-json", str(made)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line in everything
    assert len(everything) > 1
    (row,) = json.loads(made.read_text())
    assert (row["id"], row["kind"], row["nodes"]) == ("TST-F010", "passed", ["softmax"])


def test_a_filter_that_is_no_pattern_is_wrong_usage(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert opt.main([source, "--remarks-filter", "("]) == 2
    assert "expected a regular expression" in capsys.readouterr().err


def test_an_unknown_flag_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        opt.main(["--no-such-flag"])
    assert "unrecognized arguments" in capsys.readouterr().err


def test_ir_that_does_not_parse_or_verify_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.mlir").write_text("func.func @f() { %a = arith.negf %b : f32 }")
    assert opt.main([str(tmp_path / "bad.mlir")]) == 1
    assert "bad.mlir:1:" in capsys.readouterr().err
    (tmp_path / "late.mlir").write_text(
        "func.func @f() { %a = arith.negf %b : f32 %b = arith.negf %a : f32 func.return }"
    )
    assert opt.main([str(tmp_path / "late.mlir")]) == 1
    assert "defined by 'arith.negf' later" in capsys.readouterr().err


def test_a_bug_is_3_and_the_command_it_prints_replays_it(
    source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: object, ctx: Context, module: ModuleOp) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(DcePass, "apply", fail)
    assert opt.main([source, "-p", "cse,dce,canonicalize"]) == 3
    err = capsys.readouterr().err
    assert "error: internal error in pass dce: KeyError: 'oops'" in err
    command = shlex.split(err.strip().splitlines()[-1])
    assert command[0] == "tstorch-opt"
    assert command[-2:] == ["-p", "dce,canonicalize"]
    text = Path(command[1]).read_text()
    assert text.count("arith.negf") == 1, "the IR before the failing pass, not the input"
    assert opt.main(command[1:]) == 3
    monkeypatch.undo()
    capsys.readouterr()


def test_a_pass_that_breaks_the_ir_is_a_bug_of_the_pass(
    source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def self_loop(self: object, ctx: Context, module: ModuleOp) -> None:
        for op in module.walk():
            if op.operands and op.results:
                op.operands[0] = op.results[0]

    monkeypatch.setattr(DcePass, "apply", self_loop)
    assert opt.main([source, "-p", "dce", "--verify-each"]) == 3
    assert "invalid IR after pass dce" in capsys.readouterr().err


def test_output_goes_to_a_file_whole_or_not_at_all(source: str, tmp_path: Path) -> None:
    assert opt.main([source, "-p", "dce", "-o", "out.mlir"]) == 0
    assert "arith.negf" in (tmp_path / "out.mlir").read_text()
    assert opt.main([source, "-p", "verify-level{level=prim}", "-o", "bad.mlir"]) == 1
    assert not (tmp_path / "bad.mlir").exists()


def test_dumps_are_numbered_and_only_of_passes_that_changed_something(source: str, tmp_path: Path) -> None:
    assert opt.main([source, "-p", "canonicalize,cse,dce,cse", "--dump-dir", "dumps"]) == 0
    assert sorted(path.name for path in (tmp_path / "dumps").iterdir()) == ["02-module.after-cse.mlir"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom tstorch.tools import opt\n"
        "try: opt.main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(' '.join({'numpy', 'lark', 'onnx', 'wgpu'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "" or done.stderr == "\n", f"--help imports {done.stderr}"
    assert "--compile-to" in done.stdout
