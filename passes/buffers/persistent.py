"""Where the bytes lie that outlive a run: weights, what init derives from them, and state."""

from dataclasses import dataclass, field

from xdsl.dialects.builtin import TensorType

from tstorch.diagnostics import LimitError, Violation
from tstorch.dialects.buf import BufferOp, Category, storage_bytes
from tstorch.dialects.program import INIT
from tstorch.target import Limits, Target

ALIGNMENT = 256


@dataclass
class _Open:
    """A buffer that is being filled."""

    name: str
    category: Category
    lifetime: str | None
    bytes: int = 0


@dataclass
class Persistent:
    """Fills as few buffers as the target's limits allow; the same thing asked for twice gets the same place."""

    target: Target
    buffers: list[_Open] = field(default_factory=list)
    _places: dict[object, tuple[str, int]] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        return self.target.limits

    def weight(self, key: object, type: TensorType, *, init_only: bool) -> tuple[str, int]:
        """The place of a weight, or of a piece of one. Weights that only init reads go when it is done."""
        return self._place(("weight", key), type, Category.WEIGHT, INIT if init_only else None)

    def derived(self, name: str, type: TensorType) -> tuple[str, int]:
        """The place of a result of init."""
        return self._place(("derived", name), type, Category.WEIGHT, None, stem="derived")

    def state(self, name: str, type: TensorType, category: Category) -> tuple[str, int]:
        """The place of a state: a buffer of its own, so that updates of different states may overlap."""
        return self._place(("state", name), type, category, None, stem="state", alone=True)

    def declarations(self) -> list[BufferOp]:
        """One op for each buffer."""
        return [BufferOp(each.name, each.bytes, each.category, each.lifetime) for each in self.buffers]

    def _place(
        self,
        key: object,
        type: TensorType,
        category: Category,
        lifetime: str | None,
        *,
        stem: str = "weights",
        alone: bool = False,
    ) -> tuple[str, int]:
        if key not in self._places:
            size = storage_bytes(type)
            buffer = None if alone else self._with_room(size, stem, category, lifetime)
            if buffer is None:
                number = sum(each.name.startswith(stem) for each in self.buffers)
                buffer = _Open(f"{stem}{number}", category, lifetime)
                self.buffers.append(buffer)
            offset = _aligned(buffer.bytes)
            buffer.bytes = offset + size
            self._places[key] = (buffer.name, offset)
        return self._places[key]

    def _with_room(self, size: int, stem: str, category: Category, lifetime: str | None) -> _Open | None:
        fitting = [
            each
            for each in self.buffers
            if each.name.startswith(stem)
            and (each.category, each.lifetime) == (category, lifetime)
            and _aligned(each.bytes) + size <= self.limits.max_buffer_size
        ]
        return fitting[-1] if fitting else None


def check_binding(type: TensorType, limits: Limits, what: str, node: str | None = None) -> None:
    """Raises LimitError where a tensor is larger than one binding may be."""
    size, limit = storage_bytes(type), limits.max_storage_buffer_binding_size
    if size > limit:
        raise LimitError(
            f"{what} takes {size} bytes; one binding of the target holds {limit}; "
            "split the tensor in the model, or compile for a target with larger bindings",
            Violation("max_storage_buffer_binding_size", node or what, size, limit, "split the tensor in the model"),
            node=node,
        )


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
