"""What every primitive states, and the kinds that code generation and fusion dispatch on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import TensorType
from xdsl.interfaces import HasFolderInterface
from xdsl.ir import Attribute, Operation, Region, SSAValue
from xdsl.irdl import IRDLOperation, VarConstraint, base, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.indexing import Index
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.scalar import Scalar
from tstorch.dialects.prim.types import is_element_type
from tstorch.dialects.prim.values import ValuesAttr

if TYPE_CHECKING:
    from tstorch.dialects.prim.product import Product  # which says where elements come from, as this file does

MAX_CONSTANT = 64
"""Elements that the text may hold; what is larger is a weight, or one number broadcast."""

Array = np.ndarray
Properties = Mapping[str, Attribute]
Cotangents = Sequence[SSAValue]
Gradients = Sequence[SSAValue | None]


class PrimOp(HasFolderInterface, IRDLOperation, ABC):
    """A pure function of tensors with static shapes, and everything that is true of it.

    `reference`, `compute` and `scalar` take as many operands as the op has (hence `Any` here: a type checker then lets
    each class name its own).

    A class that lacks one of the abstract facts cannot be instantiated; `tests/test_op_table.py` checks them
    against each other on `samples()`.
    """

    traits = traits_def(Pure())

    VJP_TOLERANCE: ClassVar[float] = 1e-6
    """How far `vjp` may be from central differences in float64, over the gradient's largest entry."""

    def __init__(
        self, operands: Sequence[SSAValue | Operation], properties: Properties, regions: Sequence[Region] = ()
    ):
        """Builds the op with inferred result types; raises VerifyException where there is none."""
        values = [SSAValue.get(operand) for operand in operands]
        types = self.infer_types([value.type for value in values], properties)  # pyright: ignore[reportArgumentType]
        # Not IRDLOperation.__init__: it sorts arguments into definitions again, at twice the cost.
        Operation.__init__(self, operands=values, result_types=types, properties=properties, regions=regions)

    @classmethod
    @abstractmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        """The result types. Raises VerifyException for operands or properties that the op does not allow."""

    @abstractmethod
    def reference(self, *operands: Any, **_: Any) -> Sequence[Array]:
        """The results in NumPy, from one array per operand.

        Floats may be wider than their types: gradient checks run in float64.
        """

    @abstractmethod
    def vjp(self, cotangents: Cotangents, build: Builder) -> Gradients:
        """The operands' cotangents from the results', built as primitives; None where no gradient flows.

        Asked only where a result holds floats; an operand of integers or i1 gets None.
        """

    @classmethod
    @abstractmethod
    def samples(cls) -> Iterator[Sample]:
        """Small instances that the generated tests run, the awkward ones among them."""

    def flops(self) -> int:
        """Arithmetic operations of one evaluation; moving data counts none."""
        return 0

    def forwarded(self) -> SSAValue | None:
        """A value that the result always equals, bit by bit, where there is one."""
        return None

    def fold(self) -> Sequence[SSAValue | Attribute] | None:
        """What the results are already: another value, or up to 64 numbers computed from constants."""
        if (value := self.forwarded()) is not None:
            return [value]
        if any(elements(result) > MAX_CONSTANT for result in self.results):
            return None
        operands = [constant_of(operand) for operand in self.operands]
        if any(operand is None for operand in operands):
            return None
        return [ValuesAttr.of(result) for result in self.reference(*(operand.array() for operand in operands))]  # pyright: ignore[reportOptionalMemberAccess]

    def verify_(self) -> None:
        operands = [_checked(type, "operand") for type in self.operand_types]
        for expected, actual in zip(
            self.infer_types(operands, self.properties), map(_checked, self.result_types), strict=True
        ):
            if expected is not actual and expected != actual:
                raise VerifyException(f"{self.name} gives {expected}, not {actual}")


def _checked(type: Attribute, role: str = "result") -> TensorType:
    if not isinstance(type, TensorType) or not is_element_type(type.element_type):
        raise VerifyException(f"{role} type {type} is no tensor of a primitive element type")
    return type


def NON_DIFFERENTIABLE(reason: str) -> Any:
    """A `vjp` through which no gradient flows; `vjp.reason` says why."""

    def vjp(self: PrimOp, cotangents: Cotangents, build: Builder) -> Gradients:
        return [None] * len(self.operands)

    vjp.reason = reason  # pyright: ignore[reportFunctionMemberAccess]
    return vjp


def constant_of(value: SSAValue) -> ValuesAttr | None:
    """The numbers of a value that a constant makes."""
    owner = value.owner
    numbers = owner.properties.get("value") if isinstance(owner, GeneratorOp) else None
    return numbers if isinstance(numbers, ValuesAttr) else None


def elements(value: SSAValue) -> int:
    """The number of elements of a tensor value."""
    return prod(value.type.get_shape())  # pyright: ignore[reportAttributeAccessIssue]


class ElementwiseOp(PrimOp):
    """Each result element depends on the operands' elements at the same index; all shapes are equal."""

    T: ClassVar = VarConstraint("T", base(TensorType))
    DOMAIN: ClassVar[frozenset[Attribute] | None] = None
    """The element types allowed, where the function is not defined on all."""

    @classmethod
    def infer_types(cls, operands: Sequence[TensorType], properties: Properties) -> Sequence[TensorType]:
        first, *rest = operands
        for other in rest:
            if other is not first and other != first:
                raise VerifyException(f"operands differ: {first} and {other}; broadcast one with prim.broadcast_in_dim")
        cls.check_domain(first)
        return [first]

    @classmethod
    def check_domain(cls, type: TensorType) -> None:
        """Raises VerifyException for an element type that the function is not defined on."""
        if cls.DOMAIN is not None and type.element_type not in cls.DOMAIN:
            raise VerifyException(f"{cls.name} is not defined on {type.element_type}")

    @abstractmethod
    def compute(self, *operands: Any, **_: Any) -> Array | np.generic:
        """The result in NumPy; floating-point exceptions are the function's own business."""

    def reference(self, *operands: Array, **_: Any) -> Sequence[Array]:
        with np.errstate(all="ignore"):
            return [np.asarray(self.compute(*operands))]

    @abstractmethod
    def scalar(self, *operands: Any, **_: Any) -> Scalar:
        """The function of one element, as a formula of `arith`, `math` and `loop` ops."""

    def scalar_body(self, operands: Sequence[SSAValue], build: Builder) -> SSAValue:
        """The function of one element on scalar SSA values."""
        return self.scalar(*(Scalar(operand, build) for operand in operands)).value

    def flops(self) -> int:
        return elements(self.results[0])


@dataclass(frozen=True)
class Source:
    """One place that a moved element may come from.

    It is element `index` of operand number `operand`, where 0 <= e < bound holds for each pair (e, bound) of `mask`.
    """

    operand: int
    index: tuple[Index, ...]
    mask: tuple[tuple[Index, int], ...] = ()


class IndexMapOp(PrimOp):
    """Moves elements and computes nothing."""

    @abstractmethod
    def sources(self, index: Sequence[Index]) -> Sequence[Source]:
        """Where the result's element at `index` comes from: the first source whose mask holds, and one always does."""

    def forward(self, index: Sequence[Index]) -> tuple[Index, ...] | None:
        """Where the operand's element at `index` lands in the result, for bijections; None for all others."""
        return None


class ReductionOp(PrimOp):
    """Combines the elements along whole dimensions."""


class WindowOp(PrimOp):
    """Combines the elements under a sliding window."""


class ContractionOp(PrimOp):
    """Sums products of two operands' elements: what an implicit matrix product computes."""

    @abstractmethod
    def product(self) -> Product:
        """The loops of the product, and where their indices land in the operands and the result."""


class IndexedOp(PrimOp):
    """Reads or writes at positions that another operand holds."""


class OrderingOp(PrimOp):
    """Orders the elements along one dimension."""


class RunningOp(PrimOp):
    """Combines each element with those before it along one dimension."""


class GeneratorOp(PrimOp):
    """Makes a tensor out of nothing but its properties."""


class RegionOp(PrimOp):
    """Is defined by its regions."""

    @abstractmethod
    def run(
        self, operands: Sequence[Array], evaluate: Callable[[Region, Sequence[Array]], list[Array]]
    ) -> Sequence[Array]:
        """The results, where `evaluate` gives what a region yields for its arguments."""

    def reference(self, *operands: Array, **_: Any) -> Sequence[Array]:
        from tstorch.dialects.prim.reference import evaluate  # here: it evaluates primitives, these included

        return self.run(operands, evaluate)
