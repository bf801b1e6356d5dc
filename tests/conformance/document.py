"""What the results of the suite and of the models say, as tables and as the pages in docs/."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
Results = Mapping[str, Row]
HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
SECONDS = 0.75
"""A test of the slice that CI runs takes no longer."""

OPERATORS_HEAD = """# Operators

Written by `python tests/conformance/document.py` from the results of onnx's own backend suite
(`python tests/conformance/run.py --json tests/conformance/results.json`), not from the compiler's tables.

"""
WORDS = """
*tests* counts those of the suite that pass, of those that WebGPU can pass at all. *made on* says by whom the outputs of
these were made: `gpu`, every element was written by a dispatch that lists the node; `view`, the result is the bytes of
an input and the operator asks for no more; `compile-time`, it is known from shapes. *again* counts the passes that were
repeated through the same prepared object with other data and agreed with onnx's reference evaluator or, where it has no
answer, with onnxruntime. A version is the opset since which an operator has been what it is.
"""
MODELS_HEAD = """# Models

Written by `python tests/conformance/document.py` from results (`tests/conformance/models.json`), which
`python tests/conformance/run_models.py --models DIR` makes: models that were compiled, run and compared.

"""
MODELS_WORDS = """
*where the nodes are* counts the nodes of the file, those of subgraphs included: in dispatches (`run`), of weights alone
(`init`), in the host's control (`host`), or gone with a reason (`elided`). *compile s* is the CPU time of loading: from
the file to the artifact. *ms* is the second run on a shared machine, and no benchmark. An error is max|a-b| /
max|b|, the worst of all outputs. The tolerance is 1e-3, 2e-2 for halves, and for quantised models at least
that and twice the distance of onnxruntime from itself, without and with its optimisations; for these *top-1* counts the
rows whose largest column onnxruntime is sure of, and in how many it is ours.
"""
MODELS_COLUMNS = (
    "model", "status", "nodes", "where the nodes are", "dispatches", "compile s", "ms", "arena MiB", "error to NumPy",
    "to onnxruntime", "tolerance", "top-1", "adapter",
)  # fmt: skip


def summary(results: Results) -> str:
    """The table that `run.py` prints: how many tests of which kind, and by name what does not count as others do."""
    passed = {name: row for name, row in results.items() if row["status"] == "pass"}
    status = Counter(row["status"] for row in results.values())
    made = Counter(row["made"] or "nobody" for row in passed.values())
    again = Counter(row["again"].split(":")[0] for row in passed.values())
    lines = [f"{len(results):6}  tests", *(f"{count:6}  {name}" for name, count in status.most_common())]
    lines += ["made by:", *(f"{count:6}  {name}" for name, count in made.most_common())]
    lines += ["again, with other data:", *(f"{count:6}  {name}" for name, count in again.most_common())]
    for title, names in by_name(results).items():
        lines += [f"{title}:", *(f"    {line}" for line in names)]
    return "\n".join(lines)


def by_name(results: Results) -> dict[str, list[str]]:
    """The tests that are listed apart: what fails, what passes and does not count, what was not run on other data."""
    found: dict[str, list[str]] = {}
    for name, row in results.items():
        if row["status"] != "pass":
            found.setdefault(row["status"], []).append(f"{name}: {' '.join(row['detail'].split())}")
            continue
        if row["made"] == "":
            found.setdefault("passes, and does not count", []).append(f"{name}: {row['reason']}")
        elif row["made"] == "compile-time":
            found.setdefault("known at compile time", []).append(name)
        if not row["again"].startswith("agrees"):
            found.setdefault(row["again"].split(":")[0].split(" from ")[0], []).append(name)
    return dict(sorted(found.items()))


def summary_markdown(results: Results) -> str:
    """The same as a page."""
    return f"# onnx's backend suite\n\n```\n{summary(results)}\n```\n\n{operators_table(results)}"


def chosen_slice(results: Results) -> list[str]:
    """Of each operator, version and set of types the quickest test that passes, of each operator four at most."""
    passed = [
        (row.get("s", 0.0), name, row) for name, row in results.items() if row["status"] == "pass" and row["made"]
    ]
    chosen: dict[tuple[str, int, str], str] = {}
    taken: Counter[str] = Counter()
    for seconds, name, row in sorted(passed, key=lambda entry: entry[:2]):
        key = (row["operator"], row["version"], ",".join(row["types"]))
        if key not in chosen and seconds <= SECONDS and taken[row["operator"]] < 4:
            chosen[key] = name
            taken[row["operator"]] += 1
    return sorted(chosen.values())


def operators_table(results: Results) -> str:
    """A line for each operator, and what was refused of it."""
    head = "| operator | versions | types | tests | made on | again |\n|---|---|---|---|---|---|\n"
    named = sorted({row["operator"] for row in results.values() if row["operator"] not in ("", "(model)")})
    return head + "".join(_line(name, [r for r in results.values() if r["operator"] == name]) for name in named)


def _line(name: str, rows: Sequence[Row]) -> str:
    passed = [row for row in rows if row["status"] == "pass"]
    versions = sorted({row["version"] for row in passed})
    types = sorted({type for row in passed for type in row["types"]})
    made = Counter(row["made"] or "-" for row in passed)
    again = sum(row["again"].startswith("agrees") for row in passed)
    cells = [
        f"`{name}`",
        ", ".join(map(str, versions)),
        ", ".join(types),
        f"{len(passed)} of {len(rows)}",
        ", ".join(f"{kind} {count}" for kind, count in sorted(made.items())),
        str(again),
    ]
    return f"| {' | '.join(cells)} |\n"


def refusals(results: Results) -> str:
    """What is refused, by operator, version and types, each message once."""
    found: dict[tuple[str, int, str, str], int] = {}
    for row in results.values():
        if row["status"] == "refused":
            key = (row["operator"], row["version"], ", ".join(row["types"]), _said(row["detail"]))
            found[key] = found.get(key, 0) + 1
    lines = ["| operator | version | types | tests | message |\n|---|---|---|---|---|\n"]
    for (operator, version, types, said), count in sorted(found.items()):
        lines.append(f"| `{operator}` | {version} | {types} | {count} | {said} |\n")
    return "".join(lines)


def _said(detail: str) -> str:
    """A refusal in one line, without the names of nodes and files."""
    text = " ".join(detail.split())
    text = re.sub(r"^onnx '[^']*' \([^)]*\): ", "", text)
    return text.replace("|", "\\|")[:160]


def operators_page(results: Results) -> str:
    """docs/operators.md."""
    status = Counter(row["status"] for row in results.values())
    total = f"{status['pass']} tests of {len(results)} pass, {status['refused']} are refused by name"
    rest = len(results) - status["pass"] - status["refused"]
    end = f", {rest} do neither.\n" if rest else "; none is wrong, crashes or hangs.\n"
    made = Counter(row["made"] for row in results.values() if row["status"] == "pass")
    again = sum(row["status"] == "pass" and row["again"].startswith("agrees") for row in results.values())
    count = f"Of those that pass {made['gpu']} were made by dispatches of their nodes, {made['view']} are views,\n"
    count += f"{made['compile-time']} are known at compile time and {made['']} do not count; "
    count += f"{again} agreed on other data, too.\n"
    tables = f"{operators_table(results)}\n## Refused\n\n{refusals(results)}\n## By name\n\n{_named(results)}"
    return f"{OPERATORS_HEAD}{total}{end}{count}{WORDS}\n{tables}"


def _named(results: Results) -> str:
    """What is listed apart, but for what is refused: that has a table of its own."""
    groups = {title: names for title, names in by_name(results).items() if title != "refused"}
    return "\n".join(f"{title[0].upper()}{title[1:]}:\n\n{_list(names)}" for title, names in groups.items())


def _list(names: Sequence[str]) -> str:
    return "".join("- `{}`{}{}\n".format(*name.partition(":")) for name in names)


def models_page(models: Results) -> str:
    """docs/models.md."""
    status = Counter(row["status"] for row in models.values())
    total = f"{status['pass']} of {len(models)} pass.\n\n"
    return f"{MODELS_HEAD}{total}{models_table(models)}{MODELS_WORDS}"


def models_table(models: Results) -> str:
    """A line for each model."""
    lines = [f"| {' | '.join(MODELS_COLUMNS)} |\n|---|{'---|' * (len(MODELS_COLUMNS) - 1)}\n"]
    lines += [f"| {name} | {' | '.join(_model_cells(row))} |\n" for name, row in sorted(models.items())]
    return "".join(lines)


def _model_cells(row: Row) -> list[str]:
    if "where" not in row:
        return [
            row["status"],
            str(row["nodes"]),
            *[""] * (len(MODELS_COLUMNS) - 4),
            " ".join(row["detail"].split())[:200],
        ]
    where = ", ".join(f"{place} {count}" for place, count in row["where"].items() if count)
    errors = ["-" if error is None else f"{error:.0e}" for error in row["errors"].values()]
    top = row["top_1"] or {"rows": 0}
    return [
        row["status"] + (f": {row['detail']}" if row["detail"] else ""),
        f"{row['nodes']}" + (f" ({row['subgraph_nodes']} in subgraphs)" if row["subgraph_nodes"] else ""),
        where,
        str(row["dispatches"]),
        f"{row['load_s']['cpu_s']:.1f}",
        f"{row['ms']:.0f}",
        f"{row['arena_bytes'] / 2**20:.1f}",
        *errors,
        f"{row['tolerance']:.0e}",
        f"{top['same']} of {top['rows']}" if top["rows"] else "",
        row["adapter"],
    ]


def pages() -> dict[Path, str]:
    """Each page with what the committed results make of it."""
    makers = {"results": ("operators.md", operators_page), "models": ("models.md", models_page)}
    stored = {name: HERE / f"{name}.json" for name in makers}
    return {
        DOCS / makers[name][0]: makers[name][1](json.loads(path.read_text()))
        for name, path in stored.items()
        if path.exists()
    }


def main() -> int:
    """Writes the pages."""
    for path, text in pages().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
