"""Tests of the rewriting driver: locations, vanished nodes, remarks, termination, cost."""

import time

import pytest
from xdsl.dialects import arith, func
from xdsl.dialects.builtin import FloatAttr, ModuleOp, f32
from xdsl.ir import Operation, SSAValue

from tstorch.diagnostics import DiagnosticError, PassError
from tstorch.location_audit import LocationAudit
from tstorch.locations import kernel_of, node_ids, node_roles, served_ids, with_role
from tstorch.passes.rewrite import Pattern, Rewriter, apply_patterns, fused_location, node_location
from tstorch.remarks import elided_nodes, get_remarks
from tstorch.testing import parse


def module_of(body: str) -> ModuleOp:
    """A function of two floats with `body`, the last line of which returns."""
    return parse(f"func.func @f(%x: f32, %y: f32) -> f32 {{\n{body}\n}}")


def ops(module: ModuleOp, kind: type[Operation]) -> list[Operation]:
    return [op for op in module.walk() if isinstance(op, kind)]


class SubOfNeg(Pattern):
    """x - (-y) becomes x + y."""

    def match_and_rewrite(self, op: arith.SubfOp, rewriter: Rewriter) -> None:
        negated = op.rhs.owner
        if not isinstance(negated, arith.NegfOp):
            return rewriter.missed(op, "TST-T001", "the right side is no negation", suggest="nothing", metric={"n": 1})
        rewriter.replace(op, arith.AddfOp(op.lhs, negated.operand))


class NegNeg(Pattern):
    """-(-x) becomes x."""

    def match_and_rewrite(self, op: arith.NegfOp, rewriter: Rewriter) -> None:
        inner = op.operand.owner
        if isinstance(inner, arith.NegfOp):
            rewriter.replace(op, inner.operand, reason="identity: negated twice")


def test_a_new_op_serves_the_nodes_of_all_it_stands_for_producers_first() -> None:
    module = module_of("""
        %a = arith.negf %y : f32 loc("neg")
        %b = arith.subf %x, %a : f32 loc("sub")
        func.return %b : f32""")
    assert apply_patterns(module, [SubOfNeg()], pass_name="t")
    (add,) = ops(module, arith.AddfOp)
    assert node_ids(add) == ("neg", "sub")
    assert not ops(module, arith.NegfOp), "the producer that lost its last use goes"
    assert elided_nodes(module) == {}


def test_a_producer_with_other_users_stays_and_keeps_its_name_to_itself() -> None:
    module = module_of("""
        %a = arith.negf %y : f32 loc("neg")
        %b = arith.subf %a, %a : f32 loc("sub")
        func.return %b : f32""")
    apply_patterns(module, [SubOfNeg()], pass_name="t")
    assert node_ids(ops(module, arith.AddfOp)[0]) == ("sub",)
    assert node_ids(ops(module, arith.NegfOp)[0]) == ("neg",)


def test_nodes_replaced_by_an_existing_value_are_listed_with_the_reason() -> None:
    module = module_of("""
        %a = arith.negf %x : f32 loc("n1")
        %b = arith.negf %a : f32 loc("n2")
        func.return %b : f32""")
    apply_patterns(module, [NegNeg()], pass_name="t")
    assert elided_nodes(module) == dict.fromkeys(["n1", "n2"], "identity: negated twice")


def test_a_node_that_another_op_still_serves_is_not_listed() -> None:
    module = module_of("""
        %a = arith.negf %x : f32 loc("n1")
        %b = arith.negf %a : f32 loc("n2")
        %c = arith.addf %b, %y : f32 loc("n1")
        func.return %c : f32""")
    apply_patterns(module, [NegNeg()], pass_name="t")
    assert set(elided_nodes(module)) == {"n2"}


def test_what_fed_a_result_that_needs_nothing_is_dead_not_merged() -> None:
    class TimesZero(Pattern):
        def match_and_rewrite(self, op: arith.MulfOp, rewriter: Rewriter) -> None:
            zero = op.rhs.owner
            if isinstance(zero, arith.ConstantOp):
                rewriter.replace(op, arith.ConstantOp(zero.value))

    module = module_of("""
        %a = arith.negf %x : f32 loc("chain")
        %z = arith.constant 0.0 : f32 loc("zero")
        %b = arith.mulf %a, %z : f32 loc("mul")
        func.return %b : f32""")
    apply_patterns(module, [TimesZero()], pass_name="t")
    assert node_ids(ops(module, arith.ConstantOp)[0]) == ("zero", "mul")
    assert elided_nodes(module) == {"chain": "dead (t)"}


def test_an_op_changed_in_place_takes_over_the_producer_that_died_of_it() -> None:
    class LookThroughNeg(Pattern):
        def match_and_rewrite(self, op: arith.MulfOp, rewriter: Rewriter) -> None:
            left, right = op.lhs.owner, op.rhs.owner
            if isinstance(left, arith.NegfOp) and isinstance(right, arith.NegfOp):
                op.operands[0], op.operands[1] = left.operand, right.operand
                rewriter.changed(op)

    module = module_of("""
        %a = arith.negf %x : f32 loc("n1")
        %b = arith.negf %y : f32 loc("n2")
        %c = arith.mulf %a, %b : f32 loc("mul")
        func.return %c : f32""")
    apply_patterns(module, [LookThroughNeg()], pass_name="t")
    assert node_ids(ops(module, arith.MulfOp)[0]) == ("n1", "n2", "mul")


def test_ops_made_by_a_builder_and_inside_regions_are_named() -> None:
    class ByBuilder(Pattern):
        def match_and_rewrite(self, op: arith.NegfOp, rewriter: Rewriter) -> None:
            build = rewriter.builder(op)
            zero = build.insert(arith.ConstantOp(FloatAttr(0.0, f32)))
            rewriter.replace(op, build.insert(arith.SubfOp(zero.result, op.operand)).result)

    module = module_of("""
        %a = arith.negf %x : f32 loc("n1")
        func.return %a : f32""")
    apply_patterns(module, [ByBuilder()], pass_name="t")
    assert [node_ids(op) for op in ops(module, arith.SubfOp)] == [("n1",)]
    assert [node_ids(op) for op in ops(module, arith.ConstantOp)] == [("n1",)]


def test_a_remark_of_a_refusal_is_kept_and_one_overtaken_by_success_is_not() -> None:
    module = module_of("""
        %a = arith.subf %x, %y : f32 loc("sub_1")
        %n = arith.negf %y : f32 loc("neg")
        %m = arith.negf %n : f32 loc("neg_2")
        %k = arith.negf %m : f32 loc("neg_3")
        %b = arith.subf %a, %k : f32 loc("sub_2")
        func.return %b : f32""")
    apply_patterns(module, [SubOfNeg(), NegNeg()], pass_name="t")
    (remark,) = get_remarks(module)
    assert (remark.nodes, remark.id, remark.reason) == (("sub_1",), "TST-T001", "the right side is no negation")
    assert str(remark) == ('remark: missed TST-T001 at "sub_1": the right side is no negation; nothing [n = 1] (t)')


def test_a_pattern_that_goes_on_for_ever_is_stopped_and_named() -> None:
    class Swap(Pattern):
        def match_and_rewrite(self, op: arith.AddfOp, rewriter: Rewriter) -> None:
            rewriter.replace(op, arith.AddfOp(op.rhs, op.lhs))

    module = module_of("""
        %a = arith.addf %x, %y : f32 loc("add")
        func.return %a : f32""")
    with pytest.raises(DiagnosticError, match=r"onnx 'add': pattern Swap of pass t fired \d+ times"):
        apply_patterns(module, [Swap()], pass_name="t")


def test_patterns_are_dispatched_by_class_with_its_subclasses() -> None:
    seen: list[str] = []

    class Any(Pattern):
        root = (arith.NegfOp, arith.AddfOp)

        def match_and_rewrite(self, op: Operation, rewriter: Rewriter) -> None:
            seen.append(op.name)

    class Every(Pattern):
        def match_and_rewrite(self, op: Operation, rewriter: Rewriter) -> None:
            seen.append("*")

    module = module_of("""
        %a = arith.negf %x : f32
        %b = arith.subf %a, %y : f32
        func.return %b : f32""")
    assert not apply_patterns(module, [Any()], pass_name="t")
    assert seen == ["arith.negf"]
    apply_patterns(module, [Every()], pass_name="t")
    assert seen.count("*") == 4


def test_the_audit_fails_a_pass_that_loses_a_node_or_a_name() -> None:
    def erase(op: Operation, value: SSAValue) -> None:
        op.results[0].replace_all_uses_with(value)
        op.detach()
        op.erase()

    text = '%a = arith.negf %x : f32 loc("neg")\nfunc.return %a : f32'
    module = module_of(text)
    audit = LocationAudit(module)
    audit.check(module, "t")
    (neg,) = ops(module, arith.NegfOp)
    erase(neg, neg.operands[0])
    with pytest.raises(PassError, match=r"pass t lost the nodes \['neg'\]"):
        audit.check(module, "t")

    module = module_of(text)
    audit = LocationAudit(module)
    (neg,) = ops(module, arith.NegfOp)
    block = neg.parent_block()
    assert block is not None
    block.insert_op_after(arith.AddfOp(neg.results[0], neg.results[0]), neg)
    with pytest.raises(PassError, match=r"pass t left 'arith.addf' without a location"):
        audit.check(module, "t")


def test_locations_fuse_in_order_without_repeats_and_keep_roles() -> None:
    fused = fused_location([node_location("a"), fused_location([node_location("b"), node_location("a")])])
    op = arith.ConstantOp.create()
    op.location = fused_location([fused, with_role(node_location("a"), "backward")])
    assert node_ids(op) == ("a", "b")
    assert node_roles(op) == (("a", "forward"), ("b", "forward"), ("a", "backward"))


def test_ops_in_a_kernel_serve_the_nodes_of_its_dispatches() -> None:
    module = parse("""
        flow.kernel @k(%x: tensor<4xf32>) -> tensor<4xf32> {
          %a = arith.addf %x, %x : tensor<4xf32> loc("0")
          flow.yield %a : tensor<4xf32>
        }
        func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
          %a = flow.dispatch @k(%x) {nodes = [loc("first")], label = "l", flops = array<i64: 4>}
            : (tensor<4xf32>) -> tensor<4xf32>
          %b = flow.dispatch @k(%a) {nodes = [loc("second")], label = "l", flops = array<i64: 4>}
            : (tensor<4xf32>) -> tensor<4xf32>
          func.return %b : tensor<4xf32>
        }""")
    inner = next(op for op in module.walk() if kernel_of(op) is not None)
    assert (node_ids(inner), served_ids(inner)) == (("0",), ("first", "second"))


def chain(count: int) -> ModuleOp:
    """A function of `count` ops: y - (-(y - (-(... x)))), each under a node of its own."""
    module = module_of("func.return %x : f32")
    end = next(op for op in module.walk() if isinstance(op, func.ReturnOp))
    block = end.parent_block()
    assert block is not None
    value: SSAValue = block.args[0]
    for index in range(count // 2):
        negated = arith.NegfOp(value)
        difference = arith.SubfOp(block.args[1], negated.result)
        negated.location, difference.location = node_location(f"neg{index}"), node_location(f"sub{index}")
        block.insert_ops_before([negated, difference], end)
        value = difference.result
    end.operands[0] = value
    return module


def test_cost_on_five_thousand_ops() -> None:
    module = chain(5000)
    start = time.process_time()
    apply_patterns(module, [SubOfNeg(), NegNeg()], pass_name="t")
    assert len(ops(module, arith.AddfOp)) == 2500
    assert time.process_time() - start < 1.5, "0.3 s on a quiet machine; the margin is for a loaded one"
