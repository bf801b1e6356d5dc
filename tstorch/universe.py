"""Our dialects and passes as xDSL's own tools find them (entry point `xdsl.universe`).

xDSL refuses a name that stands in two universes, so the passes that share a name with its own are left out here.
"""

from xdsl.dialects import get_all_dialects
from xdsl.transforms import get_all_passes
from xdsl.universe import Universe

from tstorch.registry import dialect_factories, pass_factories

_theirs = get_all_dialects().keys() | get_all_passes().keys()

TSTORCH_UNIVERSE = Universe(
    all_dialects={name: factory for name, factory in dialect_factories().items() if name not in _theirs},
    all_passes={name: factory for name, factory in pass_factories().items() if name not in _theirs},
)
