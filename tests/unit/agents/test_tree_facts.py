"""What a Researcher keeps in mind between two looks at the tree is what it would read anew."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tree_view import FakeTree

from hpc_trex.agents.evidence import gains
from hpc_trex.agents.moves import load_playbook
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.tree_facts import FactsReader, read_tree, train_key
from hpc_trex.models import FailureClass, JobKind, NodeState, TrainConfig, TrialState

BOOK = load_playbook()
OUTCOMES = st.sampled_from([0.2, 0.35, 0.4, 0.55, FailureClass.DIVERGED, FailureClass.NODE_FAIL])


def repeat(tree: FakeTree, number: int, score: float) -> None:
    """Add a repeat of a round's first trial, as the measurement of the noise floor does."""
    node = tree.node(number)
    first = node.trials[0]
    update = {"trial": len(node.trials) + 1, "replicate_of": 1, "seed": 7, "kind": JobKind.TRAIN}
    again = first.model_copy(update=update | {"state": TrialState.DONE, "score": score, "failure": None})
    tree._nodes[number] = node.model_copy(update={"trials": (*node.trials, again)})


def test_how_a_training_is_computed_is_no_part_of_what_is_compared() -> None:
    """A field that is none of a trial's identity tells no two trials apart."""
    plain = TrainConfig()
    other = plain.model_copy(update={"attention": "eager", "loss": "plain", "compiled": True, "parallel": "fsdp"})
    assert other.identity() == plain.identity()
    assert train_key(other) == train_key(plain)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 9), OUTCOMES, OUTCOMES, st.booleans()), min_size=4, max_size=14))
def test_a_reader_that_remembers_knows_what_a_new_one_reads(rounds) -> None:
    tree, reader, researcher = FakeTree(max_nodes=14), FactsReader(), PlaybookResearcher(BOOK)
    for seed, first, second, again in rounds:
        done = [node.id for node in tree.nodes() if node.state is NodeState.DONE]
        parent = random.Random(seed).choice(done)
        number = tree.add(parent, researcher.propose(tree, parent, seed=seed))
        reader.read(tree)  # in the middle of the round too
        tree.finish(number, [first, second][: len(tree.node(number).trials)])
        if again and number > 1:
            repeat(tree, number - 1, 0.45)
        kept, new = reader.read(tree), read_tree(tree)
        assert kept.nodes == new.nodes
        assert dict(kept.scores) == dict(new.scores)
        assert set(kept.known) == set(new.known)
        assert (kept.noise, kept.unit) == (new.noise, new.unit)
        assert gains(kept, BOOK) == gains(new, BOOK)


def test_another_tree_is_read_from_its_beginning() -> None:
    first, second, reader = FakeTree(), FakeTree(), FactsReader()
    first.add(0, PlaybookResearcher(BOOK).propose(first, 0, seed=1))
    assert len(reader.read(first).nodes) == 2
    assert len(reader.read(second).nodes) == 1
    assert not reader.read(second).known
