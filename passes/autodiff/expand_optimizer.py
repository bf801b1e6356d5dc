"""Makes of a graph that returns gradients one that takes a step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import UNKNOWN_LOC, FloatAttr, LocationAttr, ModuleOp, StringAttr, TensorType, f32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.utils.arg_spec import ArgSpec, ParameterType

from tstorch.diagnostics import DiagnosticError, UsageError
from tstorch.dialects import program
from tstorch.dialects.buf import Category, WeightRefAttr
from tstorch.dialects.prim.formula import Formula
from tstorch.dialects.prim.types import tensor
from tstorch.dialects.prim.weight import WeightOp
from tstorch.levels import Level
from tstorch.locations import fused_location, with_role
from tstorch.passes.autodiff.optimizers import OPTIMIZERS, Optimizer
from tstorch.passes.autodiff.signature import GRADIENT, START, STATE, Result, Signature, find_function, text_of
from tstorch.passes.base import TSTorchPass

OPTIMIZER = "optimizer"
STEP = "optimizer.step"
UPDATED = "TST-D010"


@dataclass(frozen=True)
class ExpandOptimizerPass(TSTorchPass):
    """Makes of a graph that returns gradients one that takes a step.

    @main becomes @step, and its entry "step". Each weight that `expand-autodiff` gave a gradient of becomes state: an
    argument that starts as the weight (`tst.start`) and a result that replaces it, both under its name
    (`tst.state`). What the optimizer keeps is state too: for Adam two moments of each parameter (`adam.m/NAME`,
    `adam.v/NAME`) and the number of steps taken (`optimizer.step`). The update stands under the node that first uses
    the parameter, in the role optimizer.

    Refuses a graph without gradients, and gradients by inputs, which there is nothing to update of.

        // before, with {kind="sgd" lr=0.1}
        program.entry "run" {
          program.run @main
        }
        func.func @main(%g: tensor<2xf32> {tst.name = "g"})
            -> (tensor<2xf32> {tst.name = "gradient/w", tst.gradient = "w"}) {
          %w = prim.weight <"m.onnx", "w", "9f2c"> : tensor<2xf32>
          %d = prim.add %w, %g : tensor<2xf32>
          func.return %d : tensor<2xf32>
        }
        // after
        program.entry "step" {
          program.run @step
        }
        func.func @step(%g: tensor<2xf32> {tst.name = "g"}, %w: tensor<2xf32> {tst.state = "w",
            tst.start = #buf.weight_ref<"m.onnx", "w", "9f2c">, tst.category = "weight"})
            -> (tensor<2xf32> {tst.state = "w"}) {
          %d = prim.add %w, %g : tensor<2xf32>
          %lr = prim.constant dense<0.1> : tensor<f32>
          %rate = prim.broadcast_in_dim %lr, shape = [2], dimensions = [] : tensor<f32> -> tensor<2xf32>
          %change = prim.mul %d, %rate : tensor<2xf32>
          %next = prim.sub %w, %change : tensor<2xf32>
          func.return %next : tensor<2xf32>
        }
    """

    name = "expand-optimizer"
    requires = ensures = Level.PRIM

    kind: str = "adam"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @classmethod
    def from_spec(cls, spec: ArgSpec) -> Self:
        """Reads options; xDSL takes `1e-05` for a word, and would not take `1` for a float."""
        return super().from_spec(
            ArgSpec(spec.name, {key: tuple(map(_number, v)) for key, v in spec.parameters.items()})
        )

    def __post_init__(self) -> None:
        if self.kind not in OPTIMIZERS:
            raise UsageError(f"optimizer '{self.kind}' is unknown; expected one of {', '.join(OPTIMIZERS)}")
        if not (self.lr > 0 and 0 < self.beta1 < 1 and 0 < self.beta2 < 1 and self.eps >= 0):
            raise UsageError(
                f"lr {self.lr}, beta1 {self.beta1}, beta2 {self.beta2}, eps {self.eps}: expected lr above 0, "
                "the betas between 0 and 1, eps not below 0"
            )

    def apply(self, ctx: Context, module: ModuleOp, /) -> None:
        signature = Signature(find_function(module, "main", self.name))
        optimizer = OPTIMIZERS[self.kind](self.lr, self.beta1, self.beta2, self.eps)
        names = _Step(signature, optimizer).run()
        signature.close(program.STEP)
        program.rename(module, (program.RUN, "main"), (program.STEP, program.STEP))
        with self.remarks(module) as remarks:
            count = {"parameters": len(names)}
            remarks.passed([], UPDATED, f"{self.kind} updates its parameters where they lie", metric=count)


def _number(value: ParameterType) -> ParameterType:
    try:
        return float(value)
    except ValueError:
        return value


@dataclass(frozen=True)
class _Parameter:
    """A weight that has become state, its gradient, and the location of its update."""

    name: str
    value: SSAValue
    gradient: SSAValue
    location: LocationAttr

    @property
    def type(self) -> TensorType:
        return self.value.type  # pyright: ignore[reportReturnType]


class _Step:
    """Turns one function into a step."""

    def __init__(self, signature: Signature, optimizer: Optimizer):
        self._signature = signature
        self._optimizer = optimizer
        self._location: LocationAttr = UNKNOWN_LOC
        self._build = Builder(InsertPoint.before(signature.end), operation_insertion_handler=[self._locate])

    def run(self) -> list[str]:
        """The names of the parameters."""
        parameters = self._parameters()
        self._signature.results = [each for each in self._signature.results if GRADIENT not in each.notes]
        shared = self._shared(parameters) if self._optimizer.counts else None
        for parameter in parameters:
            self._update(parameter, shared)
        return [parameter.name for parameter in parameters]

    def _parameters(self) -> list[_Parameter]:
        """The parameters, as state. Raises DiagnosticError where there is none, or no weight to update."""
        gradients = {text_of(each.notes, GRADIENT): each.value for each in self._signature.results}
        gradients.pop(None, None)
        if not gradients:
            raise DiagnosticError("expand-optimizer finds no gradient among the results; run expand-autodiff before it")
        weights = {op.key.data: op for op in self._signature.block.ops if isinstance(op, WeightOp)}
        if inputs := [name for name in gradients if name not in weights]:
            raise DiagnosticError(f"'{inputs[0]}' is an input of the graph: only weights can be trained")
        return [self._parameter(weights[name], gradient) for name, gradient in gradients.items() if name is not None]

    def _parameter(self, op: WeightOp, gradient: SSAValue) -> _Parameter:
        location = with_role(_first_user(self._signature, op.result), OPTIMIZER)
        start = WeightRefAttr(op.file, op.key, op.digest)
        value = self._state(op.key.data, op.result.type, start, Category.WEIGHT)  # pyright: ignore[reportArgumentType]
        value.name_hint = op.result.name_hint or value.name_hint
        op.result.replace_all_uses_with(value)
        gradient = value if gradient is op.result else gradient
        for each in self._signature.results:
            each.value = value if each.value is op.result else each.value
        op.detach()
        op.erase()
        return _Parameter(op.key.data, value, gradient, location)

    def _shared(self, parameters: list[_Parameter]) -> Formula | None:
        """What depends on the number of steps alone: it serves all parameters' nodes."""
        self._location = fused_location(parameter.location for parameter in parameters)
        taken = self._state(STEP, tensor((), f32), FloatAttr(0.0, f32), Category.OPTIMIZER)
        step = Formula(taken, self._build) + 1
        self._result(STEP, step)
        return self._optimizer.shared(step)

    def _update(self, parameter: _Parameter, shared: Formula | None) -> None:
        self._location = parameter.location
        zero = FloatAttr(0.0, f32)
        names = [f"{slot}/{parameter.name}" for slot in self._optimizer.slots]
        slots = [self._state(name, parameter.type, zero, Category.OPTIMIZER) for name in names]
        formulas = [Formula(each, self._build) for each in (parameter.value, parameter.gradient, *slots)]
        value, updated = self._optimizer.update(formulas[0], formulas[1], formulas[2:], shared)
        for name, result in zip([parameter.name, *names], [value, *updated], strict=True):
            self._result(name, result)

    def _state(self, name: str, type: TensorType, start: Attribute, category: Category) -> SSAValue:
        notes = {STATE: StringAttr(name), START: start, "tst.category": StringAttr(category)}
        return self._signature.add_argument(type, notes, "state_" + re.sub(r"\W", "_", name, flags=re.ASCII))

    def _result(self, name: str, formula: Formula) -> None:
        self._signature.results.append(Result(formula.value, {STATE: StringAttr(name)}))

    def _locate(self, op: Operation) -> None:
        op.location = self._location


def _first_user(signature: Signature, value: SSAValue) -> LocationAttr:
    """The location of the first op that uses a value."""
    users = {use.operation for use in value.uses}
    return next((op.location for op in signature.block.ops if op in users), UNKNOWN_LOC)
