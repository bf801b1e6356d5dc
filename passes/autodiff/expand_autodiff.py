"""Appends a loss and its gradients to the graph."""

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import SSAValue
from xdsl.transforms.dead_code_elimination import is_trivially_dead

from tstorch.diagnostics import DiagnosticError, UsageError
from tstorch.dialects.prim.types import is_float, is_stored_float
from tstorch.dialects.prim.weight import DerivedOp, WeightOp
from tstorch.levels import Level
from tstorch.locations import node_ids
from tstorch.passes.autodiff.backward import Backward
from tstorch.passes.autodiff.losses import LOSSES, LossBuilder
from tstorch.passes.autodiff.signature import GRADIENT, NAME, Result, Signature, find_function, text_of
from tstorch.passes.base import TSTorchPass
from tstorch.remarks import RemarkSink

STOPPED = "TST-D002"
INDEPENDENT = "TST-D003"


@dataclass(frozen=True)
class ExpandAutodiffPass(TSTorchPass):
    """Appends a loss and its gradients to the graph.

    @main then returns the loss and, for each name of `wrt` (graph inputs or weights), the loss's gradient by it.
    Without `wrt` these are the weights marked `trainable`; where none is marked, all that are floats. `loss` is
    "cross-entropy" or "mse", which compare the output with a new argument `labels`, or empty: the model's output
    itself, a scalar. `output` names the output where there are several. Backward ops stand under the forward
    ops' nodes.

    Cross-entropy takes the place of a final softmax (TST-D001). Remarks name the ops that a gradient does not pass
    (TST-D002) and what the loss does not depend on, where the gradient is zero (TST-D003).

        // before, with {loss="mse"}
        func.func @main(%x: tensor<2xf32> {tst.name = "x"}) -> (tensor<2xf32> {tst.name = "y"}) {
          %w = prim.weight <"m.onnx", "w", "9f2c"> trainable : tensor<2xf32>
          %y = prim.mul %w, %x : tensor<2xf32>
          func.return %y : tensor<2xf32>
        }
        // after
        func.func @main(%x: tensor<2xf32> {tst.name = "x"},
            %labels: tensor<2xf32> {tst.name = "labels", tst.law = {kind = "normal"}})
            -> (tensor<f32> {tst.name = "loss"}, tensor<2xf32> {tst.name = "gradient/w", tst.gradient = "w"}) {
          %w = prim.weight <"m.onnx", "w", "9f2c"> trainable : tensor<2xf32>
          %y = prim.mul %w, %x : tensor<2xf32>
          %difference = prim.sub %y, %labels : tensor<2xf32>
          %square = prim.mul %difference, %difference : tensor<2xf32>
          %total = prim.reduce add %square, dimensions = [0] : tensor<2xf32> -> tensor<f32>
          %half = prim.constant dense<0.5> : tensor<f32>
          %loss = prim.mul %total, %half : tensor<f32>
          %one = prim.constant dense<1.0> : tensor<f32>
          %g = prim.mul %one, %half : tensor<f32>
          %gs = prim.broadcast_in_dim %g, shape = [2], dimensions = [] : tensor<f32> -> tensor<2xf32>
          %left = prim.mul %gs, %difference : tensor<2xf32>
          %right = prim.mul %gs, %difference : tensor<2xf32>
          %both = prim.add %left, %right : tensor<2xf32>
          %gradient = prim.mul %both, %x : tensor<2xf32>
          func.return %loss, %gradient : tensor<f32>, tensor<2xf32>
        }
    """

    name = "expand-autodiff"
    requires = ensures = Level.PRIM

    loss: str = ""
    wrt: tuple[str, ...] = ()
    output: str = ""

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UsageError(f"loss '{self.loss}' is unknown; expected one of {', '.join(filter(None, LOSSES))}")

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        signature = Signature(find_function(module, "main", self.name))
        with self.remarks(module) as remarks:
            output, name = _output(signature, self.output)
            wrt = _wrt(signature, self.wrt)
            loss = LOSSES[self.loss](LossBuilder(signature, output, name, remarks))
            backward = Backward(signature.block, list(wrt.values()), loss.constants)
            gradients = dict(zip(wrt, backward.gradients(loss.value), strict=True))
            _explain(backward, gradients, remarks)
            signature.results = [Result(loss.value, {NAME: StringAttr("loss")})]
            for each, gradient in gradients.items():
                value = backward.zeros(wrt[each]) if gradient is None else gradient
                notes = {NAME: StringAttr(f"gradient/{each}"), GRADIENT: StringAttr(each)}
                signature.results.append(Result(value, notes))
            signature.close("main")
            _sweep(signature, remarks)


def _output(signature: Signature, wanted: str) -> tuple[SSAValue, str]:
    """The output that the loss is taken of, and its name. Raises DiagnosticError."""
    named = {text_of(result.notes, NAME) or f"result{i}": result.value for i, result in enumerate(signature.results)}
    if not wanted and len(named) == 1:
        [(name, value)] = named.items()
        return value, name
    if wanted not in named:
        what = f"no output '{wanted}'" if wanted else f"{len(named)} outputs"
        raise DiagnosticError(f"the model has {what}; name the one that the loss is taken of: {', '.join(named)}")
    return named[wanted], wanted


def _wrt(signature: Signature, names: tuple[str, ...]) -> dict[str, SSAValue]:
    """What to differentiate by. Raises DiagnosticError for a name that does not exist, or that holds no floats."""
    weights = _weights(signature)
    if not names:
        if derived := next((op for op in signature.block.ops if isinstance(op, DerivedOp)), None):
            raise DiagnosticError(
                f"'{derived.key.data}' is derived from weights in @init, where no gradient goes; "
                "run expand-autodiff before outline-init"
            )
        if small := next((op for op in weights.values() if is_stored_float(op.type.element_type)), None):
            raise DiagnosticError(
                f"'{small.key.data}' is {small.type}, which is not trained; name the weights to train (wrt), or "
                "convert the model to float32"
            )
        floats = {key: op for key, op in weights.items() if is_float(op.type.element_type)}
        marked = {key: op for key, op in floats.items() if op.trainable is not None}
        if not floats:
            raise DiagnosticError("the model has no weights of floats; name what to differentiate by (wrt)")
        return {key: op.result for key, op in (marked or floats).items()}
    known: dict[str, SSAValue] = {**signature.inputs, **{key: op.result for key, op in weights.items()}}
    if missing := [name for name in names if name not in known]:
        raise DiagnosticError(
            f"cannot differentiate by '{missing[0]}': the model has no input or weight of that name; it has "
            f"{', '.join(known)}"
        )
    found = {name: known[name] for name in names}
    for name, value in found.items():
        if not is_float(value.type.element_type):  # pyright: ignore[reportAttributeAccessIssue]
            raise DiagnosticError(f"cannot differentiate by '{name}': it is {value.type}, no floats")
    return found


def _weights(signature: Signature) -> dict[str, WeightOp]:
    """The weights by name. One that stands twice becomes one, so that all its uses count."""
    found: dict[str, WeightOp] = {}
    for op in [op for op in signature.block.ops if isinstance(op, WeightOp)]:
        first = found.setdefault(op.key.data, op)
        if first is not op:
            op.result.replace_all_uses_with(first.result)
            op.detach()
            op.erase()
    return found


def _explain(backward: Backward, gradients: dict[str, SSAValue | None], remarks: RemarkSink) -> None:
    for op, reason in backward.stops.items():
        remarks.analysis(node_ids(op), STOPPED, f"the gradient does not pass {op.name}: {reason}")
    for name in [name for name, gradient in gradients.items() if gradient is None]:
        remarks.analysis([], INDEPENDENT, f"the loss does not depend on '{name}': its gradient is zero")


def _sweep(signature: Signature, remarks: RemarkSink) -> None:
    """Erases what neither the loss nor a gradient needs: the other outputs, and gradients nobody asked for."""
    dead = set[str]()
    for op in reversed(list(signature.block.ops)):
        if is_trivially_dead(op):
            dead.update(node_ids(op))
            signature.block.erase_op(op)
    remarks.elide(sorted(dead), "dead: neither the loss nor a gradient needs it")
