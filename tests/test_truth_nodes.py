"""Tests that what an artifact says of the model's nodes is true: a change to a node changes the dispatches that list it
and no others, every node is somewhere, and whoever is listed has a part in the kernel."""

import random
from functools import cache

import pytest
from networks import SMALL, network
from node_changes import Change, Contents, changed_whole, changes

from tstorch.artifact.format import Artifact
from tstorch.compiled import compile_model
from tstorch.session import make_recipe

NETWORKS = ("mlp", "cnn", "residual", "residual_plain", "transformer", "light_shufflenet")
DRAWN, SEED = 20, 0


@cache
def model(name):
    return network(name)


@cache
def artifact(name) -> Artifact:
    return compiled(model(name))


def compiled(of) -> Artifact:
    return compile_model(of, make_recipe("cpu", plugins=False)).artifact


def draw() -> list[Change]:
    """Twenty nodes: for each a network is drawn, a kind of change that it allows, and one of that kind."""
    rng = random.Random(SEED)
    drawn: dict[tuple[str, str], Change] = {}
    while len(drawn) < DRAWN:
        name = rng.choice(NETWORKS)
        allowed = list(changes(name, model(name)))
        kind = rng.choice(sorted({change.kind for change in allowed}))
        change = rng.choice([change for change in allowed if change.kind == kind])
        drawn.setdefault((name, change.node), change)
    return list(drawn.values())


def test_every_kind_of_change_is_drawn():
    assert {change.kind for change in draw()} == {"weight", "attribute", "axis"}


def listing(of: Artifact, node: str) -> set[int]:
    """The dispatches that name a node."""
    return {row["id"] for row in of.dispatches if any(owner["id"] == node for op in row["nodes"] for owner in op)}


def members(of: Artifact) -> list[set[str]]:
    """The nodes of each dispatch."""
    return [{owner["id"] for op in row["nodes"] for owner in op} for row in of.dispatches]


def changed_dispatches(before: Artifact, after: Artifact) -> set[int]:
    """The dispatches, those at load included, whose shader or weights differ between two variants of a model."""
    assert members(before) == members(after)
    old, new = Contents(before), Contents(after)
    return {row["id"] for row in before.dispatches if old.of(row["id"]) != new.of(row["id"])}


@pytest.mark.parametrize("change", draw(), ids=str)
def test_a_changed_node_changes_exactly_the_dispatches_that_list_it(change):
    before, after = artifact(change.network), compiled(change.applied(model(change.network)))
    changed, listed = changed_dispatches(before, after), listing(before, change.node)
    run = {row["id"] for row in before.dispatches if row["entry"] == "run"}
    assert changed & run == listed & run
    assert changed & run
    # At load a batch norm's scale and its bias are computed apart, and its mean is no part of the former.
    assert changed <= listed


@pytest.mark.parametrize("change", draw(), ids=str)
def test_a_node_changed_in_all_its_parts_changes_exactly_the_dispatches_that_list_it_at_load_too(change):
    of = model(change.network)
    own = [other for other in changes(change.network, of) if other.node == change.node and other.kind != "axis"]
    before, after = artifact(change.network), compiled(changed_whole(of, own or [change]))
    assert changed_dispatches(before, after) == listing(before, change.node)


def test_some_drawn_nodes_have_dispatches_at_load():
    entries = {
        change: {artifact(change.network).dispatches[number]["entry"] for number in listed}
        for change in draw()
        if (listed := listing(artifact(change.network), change.node))
    }
    assert sum("init" in where for where in entries.values()) >= 3


def test_the_comparison_sees_shaders_and_weights_through_what_init_makes_of_them():
    contents = Contents(artifact("residual"))
    ids = [row["id"] for row in artifact("residual").dispatches]
    assert len({contents.of(number) for number in ids}) == len(ids), "no two dispatches have the same weights"
    (conv,) = listing(artifact("residual"), "stem/relu")
    assert len(contents.of(conv)[-1]) == 1, "the folded bias has one origin, a dispatch at load"


@pytest.mark.parametrize("name", [*SMALL, "light_shufflenet"])
def test_every_node_is_in_one_place(name):
    nodes = artifact(name).nodes
    assert sorted(row["id"] for row in nodes) == sorted(node.name for node in model(name).graph.node)
    assert {row["where"] for row in nodes} <= {"run", "init", "host", "elided"}
    entries = {row["id"]: row["entry"] for row in artifact(name).dispatches}
    for row in nodes:
        listed = listing(artifact(name), row["id"])
        run = {number for number in listed if entries[number] == "run"}
        assert set(row["dispatches"]) == (run or listed), row
        assert row["where"] == ("run" if run else "init" if listed else row["where"]), row
        assert bool(row["reason"]) == (row["where"] in ("host", "elided")), row


@pytest.mark.parametrize("name", [*SMALL, "light_shufflenet"])
def test_each_member_of_a_dispatch_owns_an_op_and_the_shares_sum_to_1(name):
    for row in artifact(name).dispatches:
        ops = artifact(name).kernels[row["kernel"]].map["ops"]
        owners = [{owner["id"] for owner in op} for op in row["nodes"]]
        assert len(owners) == len(ops)
        assert {share["id"] for share in row["shares"]} == set().union(*owners)
        assert sum(share["share"] for share in row["shares"]) == pytest.approx(1)
        assert all(share["share"] >= 0 for share in row["shares"])
