"""Questions to the model about a made-up tree, for the tests of what it is told."""

from __future__ import annotations

import re

from tree_view import FakeTree, Surface, search

from hpc_trex.agents.llm.context import design_messages
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.samples import EvaluatedRow

BUDGET = 24_000
PLAYBOOK = PlaybookResearcher()


def grown(rounds: int = 12) -> FakeTree:
    tree, _ = search(PLAYBOOK, Surface(1), rounds=rounds, seed=3)
    return tree


def design(tree: FakeTree, parent: int, **values) -> list[dict[str, str]]:
    asked = {
        "settings_budget": BUDGET,
        "stage": "plan",
        "brief": "Asked: a digit.",
        "direction": "data: copies",
    } | values
    return design_messages(tree, parent, **asked)


def text_of(messages: list[dict[str, str]]) -> str:
    return "\n".join(message["content"] for message in messages)


def part(messages: list[dict[str, str]], title: str) -> str:
    """The text of one part of the user message."""
    found = re.search(
        rf"^## {re.escape(title)}[^\n]*\n(.*?)(?=^##|\Z)", messages[-1]["content"], re.DOTALL | re.MULTILINE
    )
    assert found, f"no part {title!r}"
    return found.group(1)


def row(number: int, *, score: float = 0.0, flags: tuple[str, ...] = (), prompt: str = "1 + 1 =") -> EvaluatedRow:
    return EvaluatedRow(f"dev:{number}", prompt, "3", "2", score, flags)
