"""What prim ops refuse and fold away, and the evaluator that gives them their meaning."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
from xdsl.builder import Builder
from xdsl.dialects.builtin import f32, i1, i32
from xdsl.ir import Block, Region, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.contraction import ConvOp, DotGeneralOp
from tstorch.dialects.prim.control import YieldOp
from tstorch.dialects.prim.elementwise import (
    AddOp,
    AndOp,
    BitcastOp,
    ConvertOp,
    DivOp,
    ExpOp,
    MaximumOp,
    MinimumOp,
    MulOp,
    NegOp,
    OrOp,
    PowOp,
    SelectOp,
    ShiftLeftOp,
    ShiftRightOp,
    SubOp,
    XorOp,
)  # fmt: skip
from tstorch.dialects.prim.formula import filled
from tstorch.dialects.prim.generator import ConstantOp, IotaOp
from tstorch.dialects.prim.indexing import GatherOp, ScatterOp
from tstorch.dialects.prim.reduction import ArgReduceOp, ReduceOp, ReduceWindowOp
from tstorch.dialects.prim.reference import evaluate
from tstorch.dialects.prim.shape import (
    BroadcastInDimOp,
    ConcatenateOp,
    PadOp,
    ReshapeOp,
    ReverseOp,
    SliceOp,
    TransposeOp,
)
from tstorch.dialects.prim.types import type_of
from tstorch.dialects.prim.weight import WeightOp

AWKWARD = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 1.5], np.float32)


def block_of(*arrays: np.ndarray) -> Block:
    return Block(arg_types=[type_of(array) for array in arrays])


def everywhere(number: float, x: SSAValue, block: Block) -> SSAValue:
    """A broadcast number of a value's type."""
    return filled(number, x.type, Builder(InsertPoint.at_end(block)))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("op_class", "number", "array"),
    [
        (AddOp, -0.0, AWKWARD), (AddOp, 0, np.arange(3)), (SubOp, 0.0, AWKWARD), (MulOp, 1.0, AWKWARD),
        (DivOp, 1.0, AWKWARD), (PowOp, 1.0, AWKWARD), (MaximumOp, -np.inf, AWKWARD), (MinimumOp, np.inf, AWKWARD),
        (MaximumOp, -128, np.arange(3, dtype=np.int8)), (AndOp, -1, np.arange(3)), 
        (AndOp, 255, np.arange(3, dtype=np.uint8)),
        (OrOp, 0, np.arange(3)), (XorOp, 0, np.arange(3)), (AndOp, 1, np.array([True, False])),
        (ShiftLeftOp, 0, np.arange(3)), (ShiftRightOp, 0, np.arange(3)),
    ],
)  # fmt: skip
def test_a_neutral_number_is_folded_away(op_class: type[Any], number: float, array: np.ndarray) -> None:
    block = block_of(array)
    op = op_class(block.args[0], everywhere(number, block.args[0], block))
    assert op.fold() == [block.args[0]]
    [result] = op.reference(array, np.full_like(array, number))
    assert result.tobytes() == array.tobytes(), "and it is right to"


@pytest.mark.parametrize(
    ("op_class", "number"), [(AddOp, 0.0), (SubOp, -0.0), (MulOp, 0.0), (MulOp, -1.0), (DivOp, 2.0), (PowOp, 0.0)]
)
def test_a_number_that_changes_something_is_kept(op_class: type[Any], number: float) -> None:
    block = block_of(AWKWARD)
    assert op_class(block.args[0], everywhere(number, block.args[0], block)).fold() is None


def test_only_commuting_ops_fold_a_neutral_left_number() -> None:
    block = block_of(AWKWARD)
    one, zero = (everywhere(n, block.args[0], block) for n in (1.0, 0.0))
    assert MulOp(one, block.args[0]).fold() == [block.args[0]]
    assert DivOp(one, block.args[0]).fold() is None
    assert SubOp(zero, block.args[0]).fold() is None


def test_what_moves_nothing_is_folded_away() -> None:
    block = block_of(np.zeros((2, 1, 3), np.float32), np.array(0, np.float32), np.zeros((2, 1, 3), bool))
    x, value, condition = block.args
    nowhere = (0, 0, 0)
    turned = TransposeOp(x, permutation=(2, 0, 1))
    moved_one = TransposeOp(x, permutation=(1, 0, 2))
    same = [
        ReshapeOp(x, shape=(2, 1, 3)), ReshapeOp(ReshapeOp(x, shape=(6,)), shape=(2, 1, 3)),
        TransposeOp(x, permutation=(0, 1, 2)), TransposeOp(turned, permutation=(1, 2, 0)),
        BroadcastInDimOp(x, shape=(2, 1, 3), dimensions=(0, 1, 2)), SliceOp(x, start=nowhere, limit=(2, 1, 3)),
        ReverseOp(x, dimensions=(1,)), ReverseOp(ReverseOp(x, dimensions=(0, 2)), dimensions=(0, 2)),
        PadOp(x, value, low=nowhere, high=nowhere), ConcatenateOp(x, dimension=0),
        ReduceOp(x, dimensions=(), kind="add"),
        SelectOp(condition, x, x), ConvertOp(x, element_type=f32), NegOp(NegOp(x)), MaximumOp(x, x),
        BitcastOp(BitcastOp(x, element_type=i32), element_type=f32),
    ]  # fmt: skip
    assert [op.fold() for op in same] == [[x]] * len(same)
    other = [
        turned, moved_one, TransposeOp(turned, permutation=(2, 0, 1)), ReverseOp(x, dimensions=(0,)),
        SliceOp(x, start=nowhere, limit=(2, 1, 2)), PadOp(x, value, low=(1, 0, 0), high=(-1, 0, 0)),
        ConcatenateOp(x, x, dimension=0), ReduceOp(x, dimensions=(1,), kind="add"), NegOp(x),
        ConvertOp(ConvertOp(x, element_type=i32), element_type=f32),
    ]  # fmt: skip
    assert [op.fold() for op in other] == [None] * len(other)


X = np.zeros((2, 3), np.float32)
CONV = {"window_strides": (1, 1), "padding_low": (0, 0), "padding_high": (0, 0)}
IMAGE, KERNEL = np.zeros((1, 2, 4, 4), np.float32), np.zeros((3, 2, 3, 3), np.float32)
ROWS = {"offset_dims": (1,), "collapsed_slice_dims": (0,), "start_index_map": (0,), "index_vector_dim": 1}
PUT = {
    "update_window_dims": (1,), "inserted_window_dims": (0,), "scatter_dims_to_operand_dims": (0,),
    "index_vector_dim": 1,
}  # fmt: skip
IDS = np.zeros(4, np.int64)


@pytest.mark.parametrize(
    ("op_class", "arrays", "keywords", "message"),
    [
        (AddOp, [X, X[:1]], {}, "operands differ"),
        (AddOp, [X > 0, X > 0], {}, "not defined on i1"),
        (ExpOp, [IDS], {}, "not defined on i64"),
        (AndOp, [X, X], {}, "not defined on f32"),
        (ShiftLeftOp, [X > 0, X > 0], {}, "not defined on i1"),
        (SelectOp, [X, X, X], {}, "the condition of a choice"),
        (SelectOp, [X > 0, X, X[:1]], {}, "operands differ"),
        (BitcastOp, [X], {"element_type": i1}, "keeps the width"),
        (ReshapeOp, [X], {"shape": (7,)}, "other number of elements"),
        (ReshapeOp, [X], {"shape": (-2, -3)}, "other number of elements"),
        (TransposeOp, [X], {"permutation": (0, 0)}, "no permutation"),
        (BroadcastInDimOp, [X], {"shape": (2, 4), "dimensions": (0, 1)}, "does not broadcast"),
        (BroadcastInDimOp, [X], {"shape": (2, 3), "dimensions": (0,)}, "do not place"),
        (SliceOp, [X], {"start": (0, 0), "limit": (2, 4)}, "no slice"),
        (SliceOp, [X], {"start": (0, 0), "limit": (2, 3), "stride": (1, 0)}, "no slice"),
        (ReverseOp, [X], {"dimensions": (2,)}, "not ascending dimensions"),
        (PadOp, [X, X], {"low": (0, 0), "high": (0, 0)}, "padded with a scalar"),
        (PadOp, [X, X[0, 0]], {"low": (0,), "high": (0,)}, "does not fit"),
        (PadOp, [X, X[0, 0]], {"low": (-2, 0), "high": (-1, 0)}, "cuts more off"),
        (ConcatenateOp, [X, X[:, :1]], {"dimension": 0}, "differ in more"),
        (ConcatenateOp, [X], {"dimension": 2}, "no dimension 2"),
        (ConcatenateOp, [], {"dimension": 0}, "needs an operand"),
        (ReduceOp, [X], {"dimensions": (2,), "kind": "add"}, "not ascending dimensions"),
        (ReduceOp, [X], {"dimensions": (0,), "kind": "and"}, "and is not defined on f32"),
        (ReduceOp, [X > 0], {"dimensions": (0,), "kind": "add"}, "add is not defined on i1"),
        (ReduceWindowOp, [X], {"window": (2,), "kind": "add"}, "lists of 2"),
        (ReduceWindowOp, [X], {"window": (2, 0), "kind": "add"}, "are positive"),
        (ReduceWindowOp, [X], {"window": (2, 2), "kind": "mul"}, "does not multiply"),
        (ArgReduceOp, [X], {"dimension": 0, "kind": "add"}, "finds a max or a min"),
        (ArgReduceOp, [X], {"dimension": 2, "kind": "max"}, "no dimension 2"),
        (ArgReduceOp, [X[:0]], {"dimension": 0, "kind": "max"}, "no element to find"),
        (ArgReduceOp, [X > 0], {"dimension": 0, "kind": "max"}, "has no order"),
        (DotGeneralOp, [X, X], {"lhs_contract": (1,), "rhs_contract": (0,)}, "differ in size"),
        (DotGeneralOp, [X, X], {"lhs_contract": (2,), "rhs_contract": (0,)}, "not different dimensions"),
        (DotGeneralOp, [X, X.astype(np.float16)], {"lhs_contract": (1,), "rhs_contract": (1,)}, "one element type"),
        (ConvOp, [IMAGE, KERNEL], {**CONV, "input_layout": "NHCW", "kernel_layout": "OIHH"}, "no order of the letters"),
        (ConvOp, [IMAGE, KERNEL], {**CONV, "padding_low": (0,)}, "lists of that length"),
        (ConvOp, [IMAGE, KERNEL], {**CONV, "rhs_dilation": (1, 0)}, "are positive"),
        (ConvOp, [IMAGE, KERNEL], {**CONV, "feature_group_count": 2}, "channels"),
        (ConvOp, [IMAGE, KERNEL[:, :1]], {**CONV, "feature_group_count": 2}, "cannot be cut into 2"),
        (ConvOp, [IMAGE, KERNEL], {**CONV, "batch_group_count": 3}, "a batch of 1"),
        (ConvOp, [IMAGE, KERNEL], {**CONV, "batch_group_count": 2, "feature_group_count": 2}, "not both"),
        (GatherOp, [X, X], {**ROWS, "slice_sizes": (1, 3)}, "holds no indices"),
        (GatherOp, [X, IDS], {**ROWS, "slice_sizes": (1, 4)}, "no window"),
        (GatherOp, [X, IDS], {**ROWS, "slice_sizes": (2, 3)}, "is not 1"),
        (GatherOp, [X, IDS], {**ROWS, "slice_sizes": (1, 3), "index_vector_dim": 0}, "index components"),
        (GatherOp, [X, IDS], {**ROWS, "slice_sizes": (1, 3), "index_vector_dim": 2}, "no index dimension 2"),
        (GatherOp, [X, IDS], {**ROWS, "slice_sizes": (1, 3), "offset_dims": (2,)}, "not ascending numbers"),
        (GatherOp, [X, IDS], {**ROWS, "slice_sizes": (1, 3), "start_index_map": (2,)}, "not different dimensions"),
        (GatherOp, [X, IDS], {**ROWS, "slice_sizes": (1, 3), "collapsed_slice_dims": ()}, "rank 2"),
        (ScatterOp, [X, IDS, np.zeros((4, 4), np.float32)], {**PUT, "kind": "add"}, "do not fit"),
        (ScatterOp, [X, IDS, np.zeros((3, 3), np.float32)], {**PUT, "kind": "add"}, "do not fit"),
        (ScatterOp, [X, IDS, np.zeros((4, 3))], {**PUT, "kind": "add"}, "cannot be combined"),
        (ConstantOp, [], {"value": np.arange(65)}, "at most 64"),
        (IotaOp, [], {"shape": (2,), "dimension": 1, "element_type": i32}, "none of that number"),
        (IotaOp, [], {"shape": (2,), "dimension": 0, "element_type": i1}, "not in i1"),
    ],
)  # fmt: skip
def test_what_an_op_does_not_allow_is_refused(
    op_class: type[Any], arrays: list[np.ndarray], keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(VerifyException, match=message):
        op_class(*block_of(*(np.asarray(array) for array in arrays)).args, **keywords)


def test_a_result_type_that_is_not_inferred_is_refused() -> None:
    [x] = block_of(X).args
    op = TransposeOp.create(
        operands=[x], result_types=[x.type], properties=TransposeOp(x, permutation=(1, 0)).properties
    )
    with pytest.raises(VerifyException, match=r"gives tensor<3x2xf32>, not tensor<2x3xf32>"):
        op.verify()


def test_first_of_equal_maxima_takes_the_gradient() -> None:
    x, g = np.array([2, 2, 1, 1], np.float32), np.array([1, 10, 100], np.float32)
    block = block_of(x, g)
    pool = ReduceWindowOp(block.args[0], kind="max", window=(2,))
    block.add_op(pool)
    block.add_op(YieldOp(*pool.vjp([block.args[1]], Builder(InsertPoint.at_end(block)))))  # pyright: ignore[reportArgumentType]
    [gradient] = evaluate(Region(block), [x, g])
    np.testing.assert_array_equal(gradient, [1, 10, 100, 0])


def chain() -> Region:
    """(x) to (exp(-x), sum of it), with a weight that is added."""
    block = block_of(X)
    negated = NegOp(block.args[0])
    weight = WeightOp(file="model.onnx", key="w", digest="0", type=type_of(X))
    result = ExpOp(AddOp(negated, weight))
    total = ReduceOp(result, dimensions=(0, 1), kind="add")
    added = result.operand.owner
    block.add_ops([negated, weight, added, result, total, YieldOp(result, total)])  # pyright: ignore[reportArgumentType]
    return Region(block)


def test_evaluate_computes_with_weights_and_captures() -> None:
    region, captured = chain(), {}
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    result, total = evaluate(region, [x], lambda op: np.full((2, 3), len(op.key.data), np.float32), capture=captured)
    np.testing.assert_allclose(result, np.exp(1 - x), rtol=1e-6)
    np.testing.assert_allclose(total, np.exp(1 - x).sum(), rtol=1e-6)
    assert [op.results[0] in captured for op in region.block.ops if op.results] == [True] * 5


def test_evaluate_widens_all_floats() -> None:
    results = evaluate(chain(), [X], lambda op: X, dtype=np.float64)
    assert [array.dtype for array in results] == [np.float64] * 2


def test_evaluate_lets_values_go_after_their_last_use() -> None:
    class Probe(NegOp):
        """Notes which weight is still alive when it runs."""

        def compute(self, x: np.ndarray) -> np.ndarray:
            gone.append(made[0]() is None)
            return -x

    made, gone = [], []

    def weight(op: object) -> np.ndarray:
        array = np.ones((2, 3), np.float32)
        made.append(weakref.ref(array))
        return array

    source = WeightOp(file="model.onnx", key="w", digest="0", type=type_of(X))
    first = NegOp(source)
    probe = Probe(first)
    block = Block([source, first, probe, YieldOp(probe)])
    evaluate(Region(block), [], weight)
    assert gone == [True]


def test_evaluate_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="2 inputs for 1 arguments"):
        evaluate(chain(), [X, X])
    with pytest.raises(ValueError, match="an input of shape"):
        evaluate(chain(), [X[:1]])
    with pytest.raises(LookupError, match="no value of its own"):
        evaluate(chain(), [X])
