"""What a replacement may compute beyond single ops: functions that a rule calls by a name without a dot."""

from collections.abc import Callable, Mapping

from xdsl.builder import Builder
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.prim.operands import shape_of
from tstorch.dialects.prim.shape import BroadcastInDimOp, ReshapeOp
from tstorch.passes.simplify.constants import source

ValueBuilder = Callable[..., SSAValue]


def spread(build: Builder, vector: SSAValue, like: SSAValue, dimension: int) -> SSAValue:
    """The vector (or number) that `vector` repeats, spread along one dimension of a tensor shaped as `like`.

    Raises VerifyException where it has another size than that dimension.
    """
    small = source(vector)
    sizes = [size for size in shape_of(small) if size != 1]
    shape = shape_of(like)
    if len(sizes) > 1 or (sizes and sizes[0] != shape[dimension]):
        raise VerifyException(f"{small.type} is no vector along dimension {dimension} of {like.type}")
    if list(shape_of(small)) != sizes:
        small = build.insert(ReshapeOp(small, shape=sizes)).result
    return build.insert(BroadcastInDimOp(small, shape=shape, dimensions=[dimension] if sizes else [])).result


BUILDERS: Mapping[str, ValueBuilder] = {builder.__name__: builder for builder in (spread,)}
