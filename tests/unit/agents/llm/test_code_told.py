"""Code steps in what the model is told."""

from __future__ import annotations

import re

import pytest
from tree_view import FakeTree

from hpc_trex.models import DataRecipe
from hpc_trex.models.operators import Python
from tests.unit.agents.llm.asking import PLAYBOOK, design, part


def with_code(tree: FakeTree, code: str) -> int:
    plan = PLAYBOOK.propose(tree, 0, seed=1)
    step = Python(code=code)
    return tree.add(0, plan.model_copy(update={"data": DataRecipe(steps=(*plan.data.steps, step))}))


@pytest.mark.parametrize(
    ("allowed", "sandbox", "told"), [(False, None, False), (True, "none", False), (True, None, True)]
)
def test_code_steps_are_told_of_only_where_the_profile_lets_them_run(allowed, sandbox, told) -> None:
    tree = FakeTree()
    profile = tree.config.profile.model_copy(update={"agent_code": allowed, "sandbox": sandbox})
    tree.config = tree.config.model_copy(update={"profile": profile})
    assert ("- python: " in part(design(tree, 0), "Data operators")) is told


def test_long_code_of_a_parent_is_cut_and_that_of_other_rounds_only_named() -> None:
    tree = FakeTree()
    first = with_code(tree, "def transform(row):\n    return row\n" + "# a\n" * 4000)
    second = with_code(tree, "def transform(row):\n    return row\n" + "# b\n" * 4000)
    shown = part(design(tree, first), f"The parent, node {first}")
    assert 6000 < len(shown) < 12_000
    assert "[cut: 16035 characters, " in shown
    other = part(design(tree, first), "Siblings of the parent")
    assert f"node {second} (from node 0)" in other
    names = re.findall(r"\[cut: 16035 characters, ([0-9a-f]{8})\]", shown + other)
    assert len(set(names)) == 2
