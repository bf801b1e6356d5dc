"""How nodes are called in a report: by the model's own node ids, with the PyTorch module where the file carries it."""

from __future__ import annotations

from tstorch.trace.schema import Record


def node_names(report: Record) -> dict[str, str]:
    """Node id to `id` or `id (module)`."""
    return {
        node["id"]: f"{node['id']} ({node['module']})" if node["module"] else node["id"] for node in report["nodes"]
    }


def few(names: list[str], limit: int = 3) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
