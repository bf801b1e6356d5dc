"""The check after every pass that no ONNX node got lost."""

from xdsl.dialects.builtin import ModuleOp

from tstorch.diagnostics import PassError
from tstorch.locations import survey
from tstorch.remarks import elided_nodes


class LocationAudit:
    """Taken before a pass, checked after it: no node may get lost and no op may lose its name.

    Text without locations has nothing to lose, so only a module whose ops are all named is held to naming new ones.
    """

    def __init__(self, module: ModuleOp) -> None:
        self._ids, self._unnamed = survey(module)

    def check(self, module: ModuleOp, pass_name: str) -> "LocationAudit":
        """The audit for the next pass. Raises PassError naming the pass and what it lost."""
        after = LocationAudit(module)
        lost = self._ids - after._ids
        if lost and (lost := lost - set(elided_nodes(module))):
            raise PassError(
                f"pass {pass_name} lost the nodes {sorted(lost)}: neither on an op nor recorded as elided; "
                "rewrite through passes/rewrite.py, or call elide with the reason"
            )
        if self._unnamed is None and (op := after._unnamed) is not None:
            raise PassError(f"pass {pass_name} left '{op.name}' without a location; rewrite through passes/rewrite.py")
        return after
