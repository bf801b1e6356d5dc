"""Tests of the level table, of what a module says about itself, and of the order check."""

import re

import pytest
from xdsl.utils.exceptions import VerifyException

from tstorch.diagnostics import DiagnosticError, LevelError
from tstorch.levels import LEVELS, Level, Source, get_dims, get_level, get_source, set_dims, set_level, set_source
from tstorch.passes.fusion.rules.library import library_rules
from tstorch.pipeline import PHASES, Contract, compile, optional_passes, plan
from tstorch.plugins import Extensions
from tstorch.registry import DIALECTS, PASSES, load
from tstorch.remarks import Remark, RemarkKind, add_elided, add_remarks, elided_nodes, get_remarks
from tstorch.target import Limits, Target, get_target, set_target
from tstorch.testing import assert_round_trip, parse
from tstorch.verification import check_order

FUNCTION = "func.func @f(%x: f32) -> f32 { func.return %x : f32 }"


def test_levels_are_ordered_as_compilation_goes() -> None:
    assert [level.order for level in Level] == list(range(len(Level)))
    assert [phase.level.order for phase in PHASES] == sorted(phase.level.order for phase in PHASES)
    assert {phase.level for phase in PHASES} == set(LEVELS)


def test_the_table_names_only_dialects_and_passes_that_exist() -> None:
    dialects = {name.partition(".")[0] for row in LEVELS.values() for name in row.host | row.kernel}
    assert dialects <= set(DIALECTS)
    assert {name for row in LEVELS.values() for name in row.left_by.values()} <= set(PASSES)


def test_every_step_of_the_pipeline_is_registered_and_stands_at_its_level() -> None:
    level = Level.ONNX
    for phase in PHASES:
        for step in phase.steps:
            contract = Contract.of(load(PASSES[step.name]))
            assert contract.requires in (None, level), f"{step.name} requires {contract.requires}, stands at {level}"
            level = contract.ensures or level
        assert level == phase.level, f"phase {phase.name} ends at {level}"


def test_an_optional_pass_leaves_the_level_as_it_is() -> None:
    for name in optional_passes():
        contract = Contract.of(load(PASSES[name]))
        assert contract.requires == contract.ensures, name


def test_what_a_module_says_about_itself_survives_its_text() -> None:
    module = parse(FUNCTION)
    assert (get_level(module), get_dims(module), get_source(module)) == (None, {}, None)
    set_level(module, Level.PRIM)
    set_dims(module, {"batch": 2, "a b": 3})
    set_source(module, Source("models/net.onnx", "00ff"))
    set_target(module, Target("phone", "integrated", 8, Limits(max_buffer_size=4096), ("f16",)))
    add_remarks(module, [Remark(RemarkKind.ANALYSIS, "TST-X001", "p", 'why "so"', ("/a/b",), "do", {"n": 1, "r": 0.1})])
    add_elided(module, {"/conv/Identity": "identity"})
    again = parse(str(module))
    assert get_level(again) == Level.PRIM
    assert get_dims(again) == {"batch": 2, "a b": 3}
    assert get_source(again) == Source("models/net.onnx", "00ff")
    assert get_target(again) == get_target(module) != Target.default()
    assert get_remarks(again) == get_remarks(module)
    assert get_remarks(again)[0].metric == {"n": 1, "r": 0.1}
    assert elided_nodes(again) == {"/conv/Identity": "identity"}
    assert_round_trip(module)


def test_a_level_that_does_not_exist_is_named() -> None:
    module = parse(f'module attributes {{tst.level = "nirvana"}} {{ {FUNCTION} }}')
    with pytest.raises(LevelError, match=r'tst\.level is "nirvana"; expected one of onnx, prim, flow'):
        get_level(module)


def test_compilation_needs_a_level_and_only_goes_forward() -> None:
    module = parse(FUNCTION)
    with pytest.raises(LevelError, match="does not say its level"):
        compile(module, to=Level.FLOW)
    set_level(module, Level.FLOW)
    with pytest.raises(LevelError, match="stands at level flow, beyond prim"):
        compile(module, to=Level.PRIM)


def test_what_cannot_be_left_out_is_refused_with_what_can() -> None:
    with pytest.raises(
        DiagnosticError, match=r"cannot leave out convert-onnx-to-prim; optional passes and rules are: "
    ):
        plan(Level.ONNX, Level.PRIM, without=["convert-onnx-to-prim"])
    for name in optional_passes():
        assert name not in [spec.partition("{")[0] for spec in plan(Level.ONNX, Level.BUF, without=[name])]


def test_without_takes_files_of_rules_and_switches_of_passes() -> None:
    specs = plan(Level.ONNX, Level.FLOW, without=["epilogue"])
    assert "form-dispatch-regions{epilogue=false}" in specs
    assert [spec for spec in specs if "without=" in spec] == [
        "apply-rules{only=replace without=epilogue}",
        "apply-rules{only=outline without=epilogue}",
    ]
    assert {rule.name for rule in library_rules(Extensions(), ["epilogue"])} == {
        "fold_batch_norm",
        "fold_batch_norm_bias",
    }
    with pytest.raises(DiagnosticError, match=r"cannot leave out epilog; optional .*\bepilogue\b"):
        plan(Level.ONNX, Level.FLOW, without=["epilog"])


def test_the_order_check_sees_what_the_verifier_does_not() -> None:
    module = parse("func.func @f(%x: f32) -> f32 { %a = arith.negf %x : f32 func.return %a : f32 }")
    check_order(module)
    negation = next(op for op in module.walk() if op.name == "arith.negf")
    negation.operands[0] = negation.results[0]
    module.verify()
    with pytest.raises(VerifyException, match=r"'arith.negf': operand 0 is defined by 'arith.negf' later"):
        check_order(module)


def test_the_order_check_sees_a_value_that_leaves_its_region() -> None:
    module = parse("""
        func.func @f(%x: f32) -> f32 { %a = arith.negf %x : f32 func.return %a : f32 }
        func.func @g(%x: f32) -> f32 { %b = arith.negf %x : f32 func.return %b : f32 }""")
    first, second = [op for op in module.walk() if op.name == "arith.negf"]
    second.operands[0] = first.results[0]
    with pytest.raises(VerifyException, match="out of reach"):
        check_order(module)


def test_the_default_targets_are_webgpu_with_each_class() -> None:
    for device_class in ("cpu", "integrated", "discrete"):
        target = Target.default(device_class)
        assert (target.id, target.device_class) == (f"webgpu-default-{device_class}", device_class)
        assert target.limits == Limits(), "the file and the defaults of the class say the same"
        assert Target.from_json(target.to_json()) == target


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('id = "x"\nclass = "toaster"', "class is 'toaster'; expected one of cpu, integrated, discrete"),
        ('id = "x"\nclass = "cpu"\n[limits]\nmax_buffer = 1', "unknown key limits.max_buffer"),
        ('id = "x"\nclass = "cpu"\n[limits]\nmax_buffer_size = -1', "expected positive integers"),
        ('class = "cpu"', "id is None; expected a name"),
        ("id = ", "Invalid value"),
    ],
)
def test_a_wrong_target_file_is_refused_with_the_reason(tmp_path, text: str, problem: str) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(DiagnosticError, match=f"target file '.*t.toml': .*{re.escape(problem)}"):
        Target.load(str(tmp_path / "t.toml"))


def test_an_unknown_target_is_refused_with_those_known() -> None:
    with pytest.raises(
        DiagnosticError, match=r"'toaster' is neither a known id nor a file; known ids: .*webgpu-default-cpu"
    ):
        Target.load("toaster")
