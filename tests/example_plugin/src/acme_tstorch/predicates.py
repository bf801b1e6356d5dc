"""What the plugin's rules may ask."""

from xdsl.ir import SSAValue

from tstorch.dialects.prim.generator import constant_value
from tstorch.passes.fusion.rules.predicates import source


def is_negative(value: SSAValue) -> bool:
    """Whether all of the value's numbers are below 0."""
    numbers = constant_value(source(value))
    return numbers is not None and bool((numbers < 0).all())
