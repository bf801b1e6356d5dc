"""What the plugin's rules may ask."""

from xdsl.ir import SSAValue

from tstorch.passes.simplify.constants import constant_numbers


def is_negative(value: SSAValue) -> bool:
    """Whether all of the value's numbers are below 0."""
    numbers = constant_numbers(value)
    return numbers is not None and bool((numbers < 0).all())
