"""What is held against a model before it is imported: that its operators are known and its values defined in order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, defs

from tstorch.diagnostics import OnnxImportError
from tstorch.dialects.onnx import DEFAULT_DOMAIN, find_schema, known_domains

LISTED = 5
"""So many nodes of one operator are named in a message."""


def check_names(model: ModelProto) -> None:
    """Raises OnnxImportError where a name is no UTF-8 text: protobuf hands it out as bytes."""
    functions = [name for function in model.functions for name in (function.name, function.domain)]
    graph = model.graph
    names = [entry.name for entries in (graph.input, graph.output, graph.initializer) for entry in entries] + functions
    names += [dim.dim_param for value in graph.input for dim in value.type.tensor_type.shape.dim]
    names += [entry.domain for entry in model.opset_import]
    nodes = [node for each in (graph, *model.functions) for node in _walk(each.node)]
    for node in nodes:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    if bad := next((name for name in names if not isinstance(name, str)), None):
        raise OnnxImportError(f"the name {bad!r} is no UTF-8 text; the file is damaged")
    if bad := next((name for name in names if _CONTROL.search(name)), None):
        raise OnnxImportError(f"the name {bad[:80]!r} holds control characters; the file is damaged, rename it")


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def check_versions(opsets: Mapping[str, int]) -> None:
    """Raises OnnxImportError where the model asks for operators that are not defined yet, or never were."""
    newest, wanted = defs.onnx_opset_version(), opsets.get("")
    if wanted is not None and not 1 <= wanted <= newest:
        raise OnnxImportError(
            f"the model asks for opset {wanted}; the installed onnx knows 1 to {newest}: "
            "convert the model with onnx.version_converter, or install a newer onnx"
        )
    for domain, version in opsets.items():
        if not 0 < version < _MOST_VERSIONS:
            raise OnnxImportError(f"the model asks for version {version} of domain '{domain}'; expected 1 or more")


_MOST_VERSIONS = 2**31


def check_doubles(model: ModelProto) -> None:
    """Raises OnnxImportError where two things stand under one name, of which one would be lost."""
    graph = model.graph
    for kind, names in {
        "graph input": [value.name for value in graph.input],
        "graph output": [value.name for value in graph.output],
        "function": ["/".join(filter(None, function_key(function))) for function in model.functions],
    }.items():
        if name := _twice(names):
            raise OnnxImportError(f"{kind} '{name}' is declared {names.count(name)} times; expected once")
    for node in (node for each in (graph, *model.functions) for node in _walk(each.node)):
        names = [attribute.name for attribute in node.attribute]
        if name := _twice(names):
            place = f"onnx '{node.name or next(iter(node.output), '')}' ({node.op_type})"
            raise OnnxImportError(f"{place}: attribute {name} is given {names.count(name)} times; expected once")
    asked = {(entry.domain or DEFAULT_DOMAIN, entry.version) for entry in model.opset_import}
    if domain := _twice([domain for domain, _ in asked]):
        versions = sorted(version for of, version in asked if of == domain)
        raise OnnxImportError(f"the model asks for versions {versions} of domain '{domain}'; expected one")


def check_notes(graph: GraphProto) -> None:
    """Raises OnnxImportError where the file says of a graph input, beside it, that it is of another type or size."""
    inputs = {value.name: value.type.tensor_type for value in graph.input}
    for note in graph.value_info:
        stated, real = note.type.tensor_type, inputs.get(note.name)
        if real is None or not note.type.HasField("tensor_type"):
            continue
        sizes = [[dim.dim_value for dim in type.shape.dim] for type in (real, stated)]
        ranked = real.HasField("shape") and stated.HasField("shape")
        apart = ranked and (
            len(sizes[0]) != len(sizes[1]) or any(a and b and a != b for a, b in zip(*sizes, strict=True))
        )
        if apart or real.elem_type != stated.elem_type:
            names = {number: name for name, number in TensorProto.DataType.items()}
            kinds = [names.get(type.elem_type, type.elem_type) for type in (real, stated)]
            types = [f"{kind}{size}" for kind, size in zip(kinds, sizes, strict=True)]
            raise OnnxImportError(
                f"graph input '{note.name}' is {types[0]}, value_info states {types[1]}: one is wrong"
            )


def _twice(names: Sequence[str]) -> str:
    """A name that stands there more than once; empty where there is none."""
    return next((name for name, count in Counter(names).items() if count > 1), "")


def function_key(of: FunctionProto | NodeProto) -> tuple[str, str, str]:
    """By what a function is known, and a call of it."""
    return of.domain, of.name if isinstance(of, FunctionProto) else of.op_type, of.overload


def check_dense(model: ModelProto) -> None:
    """Raises OnnxImportError for a tensor that is stored sparse."""
    for tensor in model.graph.sparse_initializer:
        raise OnnxImportError(f"initializer '{tensor.values.name}' is stored sparse; store it dense")


def check_operators(model: ModelProto, opsets: Mapping[str, int]) -> None:
    """Raises OnnxImportError that lists every operator that is unknown at its opset, with its nodes."""
    own = set(map(function_key, model.functions))
    unknown: dict[tuple[str, str], list[str]] = {}
    places = [(model.graph.node, opsets)]
    for function in model.functions:
        versions = {
            "" if entry.domain == DEFAULT_DOMAIN else entry.domain: entry.version for entry in function.opset_import
        }
        places.append((function.node, versions))
    for nodes, versions in places:
        for node in _walk(nodes):
            domain = "" if node.domain == DEFAULT_DOMAIN else node.domain
            if function_key(node) in own:
                continue
            if domain not in versions or find_schema(domain, node.op_type, versions[domain]) is None:
                unknown.setdefault((domain, node.op_type), []).append(node.name or next(iter(node.output), ""))
    if unknown:
        raise OnnxImportError(_unknown_message(unknown, opsets))


def check_calls(model: ModelProto, most: int) -> None:
    """Raises OnnxImportError where the model's own functions make more than `most` nodes: small files can do that."""
    functions = {function_key(function): function for function in model.functions}
    counts: dict[tuple[str, str, str], int] = {}

    def count(nodes: Sequence[NodeProto], calls: tuple[tuple[str, str, str], ...]) -> int:
        total = 0
        for node in _walk(nodes):
            key = function_key(node)
            if key in functions and key not in counts and key not in calls:
                counts[key] = count(functions[key].node, (*calls, key))
            total += 1 + counts.get(key, 0)
        return total

    if (total := count(model.graph.node, ())) > most:
        raise OnnxImportError(f"the model's functions make {total} nodes of it; at most {most} can be compiled")


def _unknown_message(unknown: Mapping[tuple[str, str], Sequence[str]], opsets: Mapping[str, int]) -> str:
    lines = [f"{len(unknown)} operator{'s' * (len(unknown) > 1)} of the model are unknown:"]
    for (domain, op_type), names in sorted(unknown.items(), key=lambda entry: -len(entry[1])):
        lines.append(f"  {op_type} ({_reason(domain, opsets)}): {counted(names)}")
    lines.append("convert the model with onnx.version_converter, or export it with standard operators")
    return "\n".join(lines)


def _reason(domain: str, opsets: Mapping[str, int]) -> str:
    if domain not in opsets:
        return f"domain '{domain or DEFAULT_DOMAIN}' is not among the model's opset imports"
    if domain not in known_domains():
        return f"domain '{domain}' is not known here"
    return f"not in {domain or DEFAULT_DOMAIN} at opset {opsets[domain]}"


def counted(names: Sequence[str]) -> str:
    """How many nodes, and the names of the first few."""
    more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
    named = ", ".join(f"'{name}'" for name in names[:LISTED])
    return f"{len(names)} node{'s' * (len(names) > 1)}: {named}{more}"


def _walk(nodes: Sequence[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _walk(attribute.g.node)


def in_order(nodes: Sequence[NodeProto], known: Collection[str], ids: Sequence[str]) -> Sequence[int]:
    """Positions of the nodes, each after those that compute its inputs; the file's order wherever that is one.

    Raises OnnxImportError for an undefined name, a name that is defined twice, and a cycle.
    """
    makers = _makers(nodes, known, ids)
    waits: list[int] = []
    users: dict[int, list[int]] = {}
    for position, node in enumerate(nodes):
        needed = {makers[name] for name in reads_of(node) if name in makers}
        for name in node.input:
            if name and name not in makers and name not in known:
                raise OnnxImportError(
                    f"({node.op_type}) input '{name}' is no graph input, no initializer and no node's output",
                    node=ids[position],
                )
        waits.append(len(needed))
        for maker in needed:
            users.setdefault(maker, []).append(position)
    return _sorted(waits, users, ids)


def _makers(nodes: Sequence[NodeProto], known: Collection[str], ids: Sequence[str]) -> dict[str, int]:
    makers: dict[str, int] = {}
    for position, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in makers or name in known:
                raise OnnxImportError(
                    f"({node.op_type}) output '{name}' is defined a second time; a value has one definition",
                    node=ids[position],
                )
            makers[name] = position
    return makers


def reads_of(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, those of its subgraphs included (which may be their own)."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from _reads_of_graph(attribute.g)


def _reads_of_graph(graph: GraphProto) -> Iterator[str]:
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own.update(name for node in graph.node for name in node.output)
    names = [name for node in graph.node for name in reads_of(node)] + [value.name for value in graph.output]
    return (name for name in names if name not in own)


def _sorted(waits: list[int], users: Mapping[int, Sequence[int]], ids: Sequence[str]) -> Sequence[int]:
    ready = [position for position, count in enumerate(waits) if not count]
    heapify(ready)
    order: list[int] = []
    while ready:
        position = heappop(ready)
        order.append(position)
        for user in users.get(position, ()):
            waits[user] -= 1
            if not waits[user]:
                heappush(ready, user)
    if len(order) < len(waits):
        stuck = sorted(set(range(len(waits))) - set(order))
        raise OnnxImportError(f"the graph has a cycle through {counted([ids[at] for at in stuck])}")
    return order


def takes_as_setting(node: NodeProto, position: int) -> bool:
    """Whether the node takes that input as a setting: no gradient will ever be asked for it."""
    schemas = defs.get_schema(node.op_type, node.domain) if defs.has(node.op_type, node.domain) else None
    if schemas is None or not schemas.inputs:
        return False
    formal = schemas.inputs[min(position, len(schemas.inputs) - 1)]
    category = defs.OpSchema.DifferentiationCategory.NonDifferentiable
    return formal.differentiation_category == category or formal.name == "scales"
