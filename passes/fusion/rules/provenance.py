"""Which nodes the ops of a replacement serve: not all that the rule matched, where less is true."""

from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from tstorch.passes.fusion.rules.matching import Found
from tstorch.passes.fusion.rules.predicates import is_weight
from tstorch.passes.rewrite import fused_location
from tstorch.passes.simplify.constants import source


def locate(made: Sequence[Operation], found: Found) -> None:
    """Gives each new op the nodes of the matched ops that took its operands, and those of the weights made for it.

    A bias that is computed from a batch norm's weights alone serves the batch norm, not the convolution ahead of it.
    What takes no operand of a matched op keeps no location, and so gets that of the whole firing.
    """
    takers: dict[SSAValue, list[Operation]] = {}
    for op in reversed(list(found.ops.values())):  # producers first
        for value in op.operands:
            for each in dict.fromkeys((value, source(value))):
                takers.setdefault(each, []).append(op)
    for op in made:
        served = [each for value in op.operands for each in takers.get(value, ())]
        derived = [value.owner for value in op.operands if value.owner in made and is_weight(value)]
        op.location = fused_location(each.location for each in [*served, *derived] if isinstance(each, Operation))
