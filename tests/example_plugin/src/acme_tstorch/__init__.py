"""A plugin: what it adds is data; its code is imported when first used."""

from pathlib import Path

from tstorch.plugins import Plugin

PLUGIN = Plugin(
    name="acme",
    passes={"acme-merge-negations": "acme_tstorch.merge_negations:MergeNegationsPass"},
    predicates={"acme_is_narrow": "acme_tstorch.predicates:is_narrow"},
    rules=(Path(__file__).with_name("acme.rules"),),
    hooks={"after-prim": ("acme-merge-negations",)},
)
