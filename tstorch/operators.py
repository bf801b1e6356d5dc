"""Which operator a node of the model is, by the table that the importer leaves on the module."""

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr

from tstorch.diagnostics import DiagnosticError

NODES = "tst.nodes"


def name_operator(error: DiagnosticError, module: ModuleOp) -> None:
    """Lets a message that is led by a node say what operator that is, of which opset version."""
    if error.node is not None and (operator := operator_of(module, error.node)) is not None:
        error.name_operator(operator)


def operator_of(module: ModuleOp, node_id: str) -> str | None:
    """`Mul, opset 14` for a node of the model; None for one that the table does not list."""
    table = module.attributes.get(NODES)
    for entry in table.data if isinstance(table, ArrayAttr) else ():
        if isinstance(entry, DictionaryAttr) and _text(entry, "id") == node_id:
            return ", opset ".join(filter(None, (_text(entry, "op_type"), _text(entry, "opset"))))
    return None


def _text(entry: DictionaryAttr, key: str) -> str:
    value = entry.data.get(key)
    return value.data if isinstance(value, StringAttr) else ""
