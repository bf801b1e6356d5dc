"""Tests of the text rules: their errors, what matches, what is built, what is said of a refusal."""

from pathlib import Path

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from tstorch.dialects.prim.control import CompositeOp
from tstorch.levels import Level
from tstorch.locations import node_ids
from tstorch.passes.fusion.rules.compiler import compile_rule
from tstorch.passes.fusion.rules.library import library_rule_names, library_rules
from tstorch.passes.fusion.rules.syntax import RuleError, parse_rules
from tstorch.passes.rewrite import apply_patterns
from tstorch.pipeline import plan
from tstorch.plugins import Extensions
from tstorch.registry import make_context
from tstorch.remarks import RemarkKind, elided_nodes, get_remarks
from tstorch.testing import parse
from tstorch.tools import opt

SPREAD = "prim.broadcast_in_dim %{}, shape = [2, 3], dimensions = {} : tensor<{}> -> tensor<2x3xf32>"
ZEROS = "%z = prim.constant dense<0.0> : tensor<f32>\n%zeros = " + SPREAD.format("z", "[]", "f32")


def apply(rules: str, body: str) -> ModuleOp:
    """Applies rules to a function of %x, %y: tensor<2x3xf32> and %v: tensor<3xf32> with this body."""
    context = make_context()
    module = parse(
        "func.func @f(%x: tensor<2x3xf32>, %y: tensor<2x3xf32>, %v: tensor<3xf32>) -> tensor<2x3xf32> {\n"
        + body
        + "\n}",
        context,
    )
    patterns = [compile_rule(rule, context, Extensions()) for rule in parse_rules(rules, "t.rules")]
    apply_patterns(module, patterns, pass_name="apply-rules")
    module.verify()
    return module


def names(module: Operation) -> list[str]:
    return [op.name.removeprefix("prim.") for op in module.walk() if op.name.startswith("prim.")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pattern p {\n  match a = prim.add(x y)", "t.rules:2:24: found 'y'; expected ')', ','"),
        ("pattern p {\n  match a = add(x, y)", "t.rules:2:13: found 'add'; expected a name with a dot"),
        ("pattern p {\n  match a = prim.add(x, y)\n", "t.rules:2:27: found the end of the file; expected 'match'"),
        ("pattern p {\n  match a = prim.add(x, ?)", "t.rules:2:25: found '?'; expected a name"),
        ("pattern p { match a = prim.add(x, y)\n outline a as l }", "t.rules:2:15: found 'l'; expected a string"),
        ('pattern p { match a = prim.add(x, y) outline b as "l" }', "rule p: 'b' is no match of this rule"),
        ("pattern p { match a = prim.add(x, y) replace a with z }", "t.rules:1:53: rule p: 'z' is not bound"),
        ("pattern p { match a = prim.add(x, y) where is_zero(z) replace a with x }", "rule p: 'z' is not bound"),
        ("pattern p { match a = prim.neg(x) match b = prim.neg(x) replace a with x }", "'b' feeds no other match"),
        ("pattern p { match a = prim.neg(x) match a = prim.neg(x) replace a with x }", "'a' is matched twice"),
        ("pattern p { match a = prim.neg(b) match b = prim.neg(a) replace a with b }", "'a' is replaced, so it must"),
        ("pattern p { match a = prim.nge(x) replace a with x }", "t.rules:1:23: rule p: there is no op 'prim.nge'"),
        ("pattern p { match a = prim.neg(x) where odd(x) replace a with x }", "rule p: unknown predicate 'odd'"),
        ("pattern p { match a = prim.neg(x) replace a with bend(x) }", "there is no builder 'bend'"),
        ("pattern p { match a = prim.neg(x) replace a with arith.negf(x) }", "'arith.negf' is no primitive"),
        ("pattern p { match a = prim.neg(x) replace a with x }" * 2, "this name is taken by an earlier rule"),
    ],
)
def test_a_wrong_rule_is_refused_at_its_place(text: str, message: str) -> None:
    with pytest.raises(RuleError, match=r"^t\.rules:\d+:\d+: ") as error:
        apply(text, "func.return %x : tensor<2x3xf32>")
    assert message in str(error.value)


def test_comments_and_an_empty_file_are_fine() -> None:
    assert parse_rules("// nothing\n# nothing either\n", "t.rules") == []


def test_replace_builds_ops_under_all_nodes_it_stands_for() -> None:
    module = apply(
        "pattern p { match a = prim.add(x, n) match n = prim.neg(y) one_use replace a with prim.sub(x, y) }",
        """%n = prim.neg %y : tensor<2x3xf32> loc("neg")
        %a = prim.add %n, %x : tensor<2x3xf32> loc("add")
        func.return %a : tensor<2x3xf32>""",
    )
    assert names(module) == ["sub"], "a commutative op matches in either order"
    (sub,) = [op for op in module.walk() if op.name == "prim.sub"]
    assert node_ids(sub) == ("neg", "add")
    assert [(remark.kind, remark.id, remark.nodes) for remark in get_remarks(module)] == [
        (RemarkKind.PASSED, "rule:p", ("neg", "add"))
    ]


def test_what_is_made_of_one_nodes_weights_serves_that_node_alone() -> None:
    module = apply(
        """pattern p {
          match a = prim.mul(n, w) where is_weight(w)
          match n = prim.add(x, v) one_use where is_weight(v)
          replace a with prim.add(prim.mul(x, w), prim.mul(prim.neg(v), prim.neg(w)))
        }""",
        """%two = prim.constant dense<2.0> : tensor<2x3xf32>
        %three = prim.constant dense<3.0> : tensor<2x3xf32>
        %n = prim.add %x, %two : tensor<2x3xf32> loc("shift")
        %a = prim.mul %n, %three : tensor<2x3xf32> loc("scale")
        func.return %a : tensor<2x3xf32>""",
    )
    served = {op.name: node_ids(op) for op in module.walk() if op.name in ("prim.add", "prim.neg")}
    negations = [node_ids(op) for op in module.walk() if op.name == "prim.neg"]
    products = [node_ids(op) for op in module.walk() if op.name == "prim.mul"]
    assert served["prim.add"] == ("shift", "scale"), "the last op stands for all that was matched"
    assert negations == [("shift",), ("scale",)]
    assert products == [("shift", "scale"), ("shift", "scale")]


def test_replace_by_an_existing_value_lists_the_node() -> None:
    module = apply(
        "pattern p { match a = prim.add(x, z) where is_zero(z) replace a with x }",
        ZEROS + '\n%a = prim.add %zeros, %x : tensor<2x3xf32> loc("add")\nfunc.return %a : tensor<2x3xf32>',
    )
    assert names(module) == []
    assert elided_nodes(module) == {"add": "replaced by an existing value (rule p)"}


def test_like_and_braces_set_properties() -> None:
    module = apply(
        """pattern p {
          match a = prim.reshape(t)
          match t = prim.transpose(x) one_use where equal(t.permutation, [1, 0])
          replace a with prim.reshape(prim.reshape(x) like a {shape = [3, 2]}) like a
        }""",
        """%t = prim.transpose %x, permutation = [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32> loc("t")
        %r = prim.reshape %t, shape = [2, 3] : tensor<3x2xf32> -> tensor<2x3xf32> loc("r")
        func.return %r : tensor<2x3xf32>""",
    )
    assert [str(op.result_types[0]) for op in module.walk() if op.name == "prim.reshape"] == [
        "tensor<3x2xf32>",
        "tensor<2x3xf32>",
    ]


def test_a_replacement_of_another_type_is_refused_at_its_place() -> None:
    with pytest.raises(RuleError, match=r"t\.rules:1:43: .*the replacement has type tensor<3x2xf32>, 'a' has"):
        apply(
            "pattern p { match a = prim.neg(x) replace a with prim.transpose(x) {permutation = [1, 0]} }",
            "%a = prim.neg %x : tensor<2x3xf32>\nfunc.return %a : tensor<2x3xf32>",
        )


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("match a = prim.add(n, y) match n = prim.neg(x) one_use", "'n' (prim.neg) has other users"),
        ("match a = prim.add(n, y) where is_zero(y) match n = prim.neg(x)", "is_zero(y) does not hold"),
        (
            "match a = prim.add(n, y) where not same_type(n, y) match n = prim.neg(x)",
            "not same_type(n, y) does not hold",
        ),
    ],
)
def test_a_refusal_says_which_condition_failed(rule: str, reason: str) -> None:
    module = apply(
        f"pattern p {{ {rule} replace a with y }}",
        """%n = prim.neg %x : tensor<2x3xf32> loc("neg")
        %a = prim.add %n, %y : tensor<2x3xf32> loc("add")
        %b = prim.mul %a, %n : tensor<2x3xf32> loc("mul")
        func.return %b : tensor<2x3xf32>""",
    )
    assert names(module) == ["neg", "add", "mul"]
    (remark,) = get_remarks(module)
    assert (remark.kind, remark.id, remark.nodes) == (RemarkKind.MISSED, "rule:p", ("add",))
    assert remark.reason.startswith(reason)


def test_what_does_not_lie_as_the_rule_wants_is_no_refusal() -> None:
    module = apply(
        "pattern p { match a = prim.add(n, n) match n = prim.neg(x) replace a with x }",
        """%n = prim.neg %x : tensor<2x3xf32>
        %a = prim.add %n, %y : tensor<2x3xf32>
        func.return %a : tensor<2x3xf32>""",
    )
    assert (names(module), get_remarks(module)) == (["neg", "add"], [])


def test_outline_wraps_the_matched_ops_and_takes_constants_and_broadcasts_in() -> None:
    module = apply(
        """pattern p {
          match r = prim.maximum(s, zero) where is_zero(zero)
          match s = prim.add(n, bias) one_use
          match n = prim.neg(x) one_use
          outline r as "neg + bias + relu"
        }""",
        f"""{ZEROS}
        %bias = {SPREAD.format("v", "[1]", "3xf32")}
        %n = prim.neg %x : tensor<2x3xf32> loc("neg")
        %s = prim.add %n, %bias : tensor<2x3xf32> loc("add")
        %r = prim.maximum %s, %zeros : tensor<2x3xf32> loc("relu")
        func.return %r : tensor<2x3xf32>""",
    )
    (group,) = [op for op in module.walk() if isinstance(op, CompositeOp)]
    assert group.label.data == "neg + bias + relu"
    assert [str(type) for type in group.operand_types] == ["tensor<2x3xf32>", "tensor<3xf32>"], (
        "the small bias comes in"
    )
    assert node_ids(group) == ("neg", "add", "relu")
    assert sorted(names(group.body)) == sorted(
        ["neg", "broadcast_in_dim", "add", "constant", "broadcast_in_dim", "maximum", "yield"]
    )
    inside = {op.name: node_ids(op) for op in group.body.walk()}
    assert (inside["prim.neg"], inside["prim.maximum"]) == (("neg",), ("relu",)), "members keep their own names"


def test_outline_declines_where_a_member_is_used_outside() -> None:
    module = apply(
        'pattern p { match a = prim.add(n, y) match n = prim.neg(x) outline a as "l" }',
        """%n = prim.neg %x : tensor<2x3xf32> loc("neg")
        %a = prim.add %n, %y : tensor<2x3xf32> loc("add")
        %b = prim.mul %a, %n : tensor<2x3xf32> loc("mul")
        func.return %b : tensor<2x3xf32>""",
    )
    assert "composite" not in names(module)
    assert "used outside it; say one_use" in get_remarks(module)[0].reason


def test_a_rule_that_feeds_itself_is_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop.rules").write_text("pattern p { match a = prim.add(x, y) replace a with prim.add(y, x) }")
    (tmp_path / "f.mlir").write_text(
        'func.func @f(%x: tensor<2xf32>) -> tensor<2xf32> { %a = prim.add %x, %x : tensor<2xf32> loc("add") '
        "func.return %a : tensor<2xf32> }"
    )
    assert opt.main([str(tmp_path / "f.mlir"), "--rules", str(tmp_path / "loop.rules")]) == 1
    assert "onnx 'add': pattern p (" in capsys.readouterr().err


def test_the_rules_that_come_along_compile_and_can_be_left_out_by_name() -> None:
    for rule in library_rules(Extensions()):
        compile_rule(rule, make_context(), Extensions())
    known = library_rule_names(Extensions())
    assert {"fold_batch_norm", "conv_bias_relu"} <= set(known)
    specs = plan(Level.ONNX, Level.PRIM, without=["conv_relu", "fold_batch_norm"], rules=["my.rules"])
    rules = [spec for spec in specs if spec.startswith("apply-rules")]
    assert rules == [
        'apply-rules{file="my.rules" only=replace}',
        "apply-rules{only=replace without=conv_relu,fold_batch_norm}",
        'apply-rules{file="my.rules" only=outline}',
        "apply-rules{only=outline without=conv_relu,fold_batch_norm}",
    ]
