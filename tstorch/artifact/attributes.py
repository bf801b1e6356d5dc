"""Attributes of the IR as the JSON data of an artifact."""

from typing import Any

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FloatAttr,
    FusedLoc,
    IntegerAttr,
    NameLoc,
    StringAttr,
)
from xdsl.ir import Attribute

from tstorch.dialects.prim.types import ints
from tstorch.locations import FORWARD


def plain(attribute: Attribute) -> Any:
    """An attribute as JSON data. Raises TypeError for one that has no such form."""
    match attribute:
        case DictionaryAttr(data=entries):
            return {key: plain(entry) for key, entry in entries.items()}
        case ArrayAttr(data=items):
            return [plain(item) for item in items]
        case DenseArrayBase():
            return list(ints(attribute))
        case IntegerAttr() | FloatAttr():
            return attribute.value.data
        case StringAttr(data=text):
            return text
    raise TypeError(f"{attribute} has no place in an artifact")


def roles_of(location: Attribute) -> list[tuple[str, str]]:
    """The (node id, role) pairs that a location names, each once."""
    match location:
        case NameLoc(desc=StringAttr(data=id), location=inner):
            return [(id, inner.desc.data if isinstance(inner, NameLoc) else FORWARD)]
        case FusedLoc(locations=ArrayAttr(data=parts)):
            return list(dict.fromkeys(pair for part in parts for pair in roles_of(part)))
    return []
