"""The moves are data: every shipped one works, and a bad file is named with its key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tree_view import FakeTree, card

from hpc_trex.agents.apply import Draft, Sources, apply_change, apply_move, scaled
from hpc_trex.agents.defaults import default_draft, default_plan, sources_of
from hpc_trex.agents.moves import load_playbook
from hpc_trex.agents.tree_facts import NO_EFFECT
from hpc_trex.errors import UsageProblem
from hpc_trex.models import DataRecipe, LoraSettings, TrainConfig
from hpc_trex.models.operators import FilterLoss, FilterSimilar, Load, Order, Sample, Split

BOOK = load_playbook()
REPOSITORY = Path(__file__).resolve().parents[3]


def plans() -> list[Draft]:
    """A default plan, and one on which the moves that need something to change can work."""
    tree = FakeTree()
    rich = DataRecipe(
        steps=(
            Load(source="curated"),
            Load(source="crowd"),
            FilterSimilar(reference="curated"),
            FilterLoss(),
            Sample(fraction=0.5),
        )
    )
    narrow = TrainConfig(lora=LoraSettings(targets=("q_proj",)), max_steps=100)
    return [default_draft(tree), Draft(rich, narrow), Draft(rich, TrainConfig(method="full"))]


@pytest.mark.parametrize("name", sorted(BOOK.moves))
def test_every_move_changes_some_plan_and_only_its_own_side(name: str) -> None:
    move = BOOK.moves[name]
    changed = [(draft, new) for draft in plans() if (new := apply_move(move, draft, sources_of(FakeTree())))]
    assert changed
    for old, new in changed:
        assert (new.data == old.data) == (move.kind == "train")
        if move.kind == "data":
            assert new.train == old.train


def test_no_move_changes_only_how_a_training_is_computed() -> None:
    """Packing, the micro-batch and their like leave the loss as it is: such a round would repeat an experiment."""
    assert [move.name for move in BOOK.moves.values() if move.kind == "train" and move.touches <= NO_EFFECT] == []
    assert "packing" in NO_EFFECT  # tests/local/test_training.py: how a batch is computed does not change the loss


def test_a_small_trusted_source_does_not_vanish_from_the_mixture() -> None:
    tree = FakeTree()
    sources = Sources({"curated": 20, "crowd": 400_000}, frozenset({"curated"}))
    new = apply_move(BOOK.moves["trusted-down"], default_draft(tree), sources)
    assert new is not None
    assert new.mixture is not None
    assert new.mixture["curated"] == pytest.approx(0.33 * 20 / 400_000, rel=1e-3)


@pytest.mark.parametrize("rule", BOOK.repairs, ids=lambda rule: rule.name)
def test_every_repair_changes_some_plan(rule) -> None:
    assert any(apply_change(rule, draft, sources_of(FakeTree())) for draft in plans())


def test_every_move_and_repair_is_documented() -> None:
    text = (REPOSITORY / "docs" / "researchers.md").read_text(encoding="utf-8")
    text = text.partition("## Data moves")[2].partition("## Diagnosis")[0]
    documented = set(re.findall(r"^\| `([a-z0-9-]+)`", text, re.MULTILINE))
    known = set(BOOK.moves) | {rule.name for rule in BOOK.repairs}
    assert len(known) >= 40
    assert documented == known


def test_steps_are_put_at_their_usual_place() -> None:
    tree = FakeTree()
    tail = DataRecipe(steps=(Load(source="curated"), Load(source="crowd"), Split(), Order()))
    draft = Draft(tail, TrainConfig())
    for name in ("wrong-answers", "clean", "conflicts"):
        draft = apply_move(BOOK.moves[name], draft, sources_of(tree)) or draft
    ops = [step.op for step in draft.data.steps]
    expected = ["load", "load", "filter_conflicts", "dedup", "filter_similar", "filter_loss", "split", "order"]
    assert ops == expected


def test_a_move_without_its_trusted_source_does_not_apply() -> None:
    tree = FakeTree(card(trusted=False))
    for name in ("clean", "trusted-only", "trusted-up"):
        assert apply_move(BOOK.moves[name], default_draft(tree), sources_of(tree)) is None


@pytest.mark.parametrize(
    ("value", "by", "size", "expected"),
    [
        (1e-3, 3.0, 1.0, 3e-3),
        (1e-3, 3.0, 0.5, 1.73e-3),
        (2e-2, 3.0, 1.0, 3e-2),
        (3e-2, 3.0, 1.0, 3e-2),
        (0.5, 3.0, 1.0, 0.5),
    ],
)
def test_a_factor_is_shrunk_by_size_and_held_by_its_bounds(value, by, size, expected) -> None:
    assert scaled(value, by, 1e-6, 3e-2, size) == pytest.approx(expected)


def test_a_whole_number_stays_one_and_moves() -> None:
    assert scaled(16, 2.0, 1, 256, 1.0) == 32
    assert scaled(2, 1.1, 1, 256, 0.5) == 3
    assert scaled(1, 0.5, 1, 256, 1.0) == 1


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / "agents" / "playbook" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


OWN = """
[[move]]
name = "own-move"
kind = "train"
hypothesis = "our cluster likes round batches."
expected = "Nothing much, but we like it."
prior = { gain = 0.0, sd = 0.1 }
train = [{ do = "set", field = "batch_size", value = 64 }]
"""


def test_a_sites_own_file_adds_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "ours.toml", OWN)
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path))
    assert set(load_playbook().moves) == {*BOOK.moves, "own-move"}


def test_a_sites_own_file_hides_the_shipped_one_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "train.toml", OWN)
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path))
    assert {move.name for move in load_playbook().moves.values() if move.kind == "train"} == {"own-move"}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("batch_size", "batch_sice", "batch_sice"),
        ('do = "set"', 'do = "sett"', "move.0.train.0"),
        ("sd = 0.1", "sd = 0", "move.0.prior.sd"),
        ("own-move", "lr-up", "there already"),
        ("round batches", "round {batches}", "{trusted}"),
        ('kind = "train"', 'kind = "data"', "needs the list 'data'"),
        ("prior =", 'opposite = "nosuch"\nprior =', "nosuch"),
        ("[[move]]", "[[move]", "not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_key(tmp_path, monkeypatch, old, new, named) -> None:
    path = write(tmp_path, "ours.toml", OWN.replace(old, new, 1))
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path))
    with pytest.raises(UsageProblem) as caught:
        load_playbook()
    assert str(path) in caught.value.message
    assert named in caught.value.message
    assert caught.value.hint


def test_the_default_plan_loads_all_sources_with_the_cards_training() -> None:
    tree = FakeTree()
    tree.config = tree.config.model_copy(update={"default_train": {"epochs": 7, "lora": {"rank": 4}}})
    plan = default_plan(tree)
    assert [step.source for step in plan.data.steps] == ["curated", "crowd"]
    train = plan.trials[0].train
    assert (train.learning_rate, train.epochs, train.lora.rank) == (1e-3, 7, 4)


def test_a_bad_default_training_names_its_key() -> None:
    tree = FakeTree(card(default_train={"learning_rat": 1e-3}))
    with pytest.raises(UsageProblem, match=r"default_train\.learning_rat"):
        default_plan(tree)
