"""What training makes small: scalars computed from an output and, where they compare it with something, the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from xdsl.builder import Builder
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, StringAttr, TensorType, f32, f64, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.prim.formula import Formula
from tstorch.dialects.prim.generator import IotaOp
from tstorch.dialects.prim.reduction import ReduceOp
from tstorch.dialects.prim.shape import BroadcastInDimOp, ReshapeOp
from tstorch.dialects.prim.types import array_attr, is_float, tensor
from tstorch.locations import node_ids
from tstorch.passes.autodiff.signature import NAME, Signature
from tstorch.passes.autodiff.softmax import match_softmax
from tstorch.remarks import RemarkSink

LABELS = "labels"
STEPPED_OVER = "TST-D001"


@dataclass(frozen=True)
class Loss:
    """A scalar, and values that it depends on by name only: their gradients cancel."""

    value: SSAValue
    constants: frozenset[SSAValue] = frozenset()


class LossBuilder:
    """Appends a loss of `output` to a function, under the node that computes the output."""

    def __init__(self, signature: Signature, output: SSAValue, name: str, remarks: RemarkSink):
        self.signature = signature
        self.output = output
        self.name = name
        self.remarks = remarks
        self._build = Builder(InsertPoint.before(signature.end), operation_insertion_handler=[self._locate])
        if not is_float(self.type.element_type):
            raise DiagnosticError(f"output '{name}' is {self.type}; a loss is taken of floats")

    @property
    def type(self) -> TensorType:
        """The output's type."""
        return self.output.type  # pyright: ignore[reportReturnType]

    def formula(self, value: SSAValue) -> Formula:
        """The value to compute with; what is narrower than f32 is widened."""
        found = Formula(value, self._build)
        return found if found.type.element_type in (f32, f64) else found.convert(f32)

    def labels(self, type: TensorType, **notes: Attribute) -> SSAValue:
        """The new argument that the output is compared with."""
        if LABELS in self.signature.inputs:
            raise DiagnosticError(f"the model has an input called '{LABELS}', as the loss's own must be; rename it")
        given = {f"tst.{key}": value for key, value in notes.items()}
        return self.signature.add_argument(type, {NAME: StringAttr(LABELS), **given}, LABELS)

    def indices(self, shape: tuple[int, ...], axis: int) -> Formula:
        """0, 1, 2 ... along an axis."""
        return Formula(self._build.insert(IotaOp(shape=shape, dimension=axis, element_type=i32)).result, self._build)

    def _locate(self, op: Operation) -> None:
        if isinstance(self.output.owner, Operation):
            op.location = self.output.owner.location


def own_output(build: LossBuilder) -> Loss:
    """The output itself."""
    if prod(build.type.get_shape()) != 1:
        losses = ", ".join(filter(None, LOSSES))
        raise DiagnosticError(
            f"output '{build.name}' is {build.type}; only a scalar is a loss by itself: choose one of {losses}"
        )
    scalar = build.formula(build.output)
    return Loss(scalar.apply(ReshapeOp, shape=()).value if build.type.get_shape() else scalar.value)


def mse(build: LossBuilder) -> Loss:
    """The mean of the squared differences from the labels, which have the output's shape."""
    output = build.formula(build.output)
    labels = build.labels(output.type, law=DictionaryAttr({"kind": StringAttr("normal")}))
    difference = output - Formula(labels, output.build)
    return Loss(_mean(difference * difference).value)


def cross_entropy(build: LossBuilder) -> Loss:
    """The mean of -log(softmax(output)) at the classes that the labels name.

    Labels are int64 class ids, of the output's shape without the class axis: the axis of a final softmax, which is
    stepped over, else axis 1 (the only one of a vector).
    """
    logits, axes = _logits(build)
    kept = [size for axis, size in enumerate(logits.type.get_shape()) if axis not in axes]
    classes, axis = prod(logits.type.get_shape()[each] for each in axes), axes[0]
    shape = (*kept[:axis], classes, *kept[axis:])
    if len(axes) > 1:
        logits = logits.apply(ReshapeOp, shape=shape)
    labels = Formula(build.labels(tensor(kept, i32), **_class_ids(classes)), logits.build)

    def spread(value: Formula) -> Formula:
        return value.apply(
            BroadcastInDimOp, shape=shape, dimensions=[each for each in range(len(shape)) if each != axis]
        )

    maximum = logits.apply(ReduceOp, dimensions=[axis], kind="max")
    shifted = logits - spread(maximum)
    total = shifted.exp().apply(ReduceOp, dimensions=[axis], kind="add").log()
    chosen = build.indices(shape, axis).compare("eq", spread(labels)).select(shifted, shifted.lift(0.0))
    loss = _mean(total - chosen.apply(ReduceOp, dimensions=[axis], kind="add"))
    return Loss(loss.value, frozenset([maximum.value]))


def _logits(build: LossBuilder) -> tuple[Formula, tuple[int, ...]]:
    """What the softmax inside the loss is taken of, and along which axes."""
    found = match_softmax(build.output)
    rank = len(build.type.get_shape())
    if found is not None and list(found.axes) == list(range(found.axes[0], found.axes[-1] + 1)):
        build.remarks.analysis(
            node_ids(found.op),
            STEPPED_OVER,
            "cross-entropy steps over the final softmax: it takes the same logarithm from the softmax's input, "
            "where small probabilities are not rounded away",
        )
        return build.formula(found.logits), found.axes
    if rank == 0:
        raise DiagnosticError(f"output '{build.name}' is a scalar; cross-entropy needs one number for each class")
    return build.formula(build.output), (min(1, rank - 1),)


def _class_ids(classes: int) -> Mapping[str, Attribute]:
    """What the host is told of labels: int64 from 0 to the number of classes, kept in 32 bits."""
    bounds = {"low": IntegerAttr(0, i64), "high": IntegerAttr(classes, i64)}
    return {
        "dtype": StringAttr("int64"),
        "law": DictionaryAttr({"kind": StringAttr("int"), **bounds}),
        "range": array_attr([0, classes - 1]),
    }


def _mean(value: Formula) -> Formula:
    shape = value.type.get_shape()
    total = value.apply(ReduceOp, dimensions=list(range(len(shape))), kind="add") if shape else value
    return total * (1 / prod(shape)) if prod(shape) > 1 else total


LOSSES: Mapping[str, Callable[[LossBuilder], Loss]] = {
    "": own_output,
    "cross-entropy": cross_entropy,
    "mse": mse,
}
"""Option value -> what builds the loss."""
