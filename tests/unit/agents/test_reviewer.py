"""The Reviewer refuses what cannot work, with a reason; the Executor's repairs leave the experiment as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_view import FakeTree

from hpc_trex.agents.apply import Draft, with_field
from hpc_trex.agents.defaults import default_plan
from hpc_trex.agents.distance import NEAR, distance, recipe_distance
from hpc_trex.agents.moves import load_playbook
from hpc_trex.agents.reviewer import near_duplicates, review
from hpc_trex.models import DataRecipe, MetricSpec, Resources, RoundPlan, TrainConfig, TrialPlan
from hpc_trex.models.operators import (
    Convert,
    Dedup,
    FilterConflicts,
    FilterLength,
    FilterLoss,
    FilterRegex,
    FilterSimilar,
    Format,
    Load,
    Mix,
    Order,
    Python,
    Sample,
    Split,
)

BOOK = load_playbook()
BOTH = (Load(source="curated"), Load(source="crowd"))


def plan(*steps, trials: tuple[TrialPlan, ...] = (TrialPlan(),)) -> RoundPlan:
    return RoundPlan(hypothesis="a test", data=DataRecipe(steps=steps or BOTH), trials=trials)


def staged(**stage: object) -> TrialPlan:
    return TrialPlan(train=TrainConfig.model_validate({"stages": [stage]}))


def test_the_default_plan_is_accepted() -> None:
    tree = FakeTree()
    assert review(default_plan(tree), tree) == []


def test_a_stage_of_rewards_needs_a_metric_that_judges_one_answer() -> None:
    bad, tree = plan(trials=(staged(objective="grpo"),)), FakeTree()
    assert review(bad, tree) == []
    tree.task = tree.task.model_copy(update={"metric": MetricSpec(keep=("kind",))})
    assert review(bad, tree) == [
        "trial 1: stage 1 (grpo) is not possible: the task's scorer needs columns that training rows do not have: kind"
    ]
    tree.task = tree.task.model_copy(update={"metric": MetricSpec(max_new_tokens=512)})
    assert review(bad, tree) == ["trial 1: stage 1 (grpo): answers of 512 tokens leave no room in max_seq_len 512"]


@pytest.mark.parametrize(("batch", "becomes"), [(13, 12), (2, 6), (18, 18)])
def test_a_batch_that_is_changed_holds_whole_groups_of_answers(batch: int, becomes: int) -> None:
    """Else the plan is none, and a search by ``tpe`` would end there."""
    stages = [{"objective": "grpo", "generations": 6}, {"objective": "grpo", "generations": 3}]
    train = TrainConfig.model_validate({"stages": stages, "batch_size": 12})
    assert with_field(train, "batch_size", batch).batch_size == becomes
    assert with_field(TrainConfig(), "batch_size", batch).batch_size == batch


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (plan(Load(source="nosuch")), "unknown source 'nosuch'; valid: crowd, curated"),
        (plan(*BOTH, Load(source="crowd")), "loaded more than once"),
        (plan(BOTH[0], Mix(weights={"crowd": 1, "curated": 1})), "mix: source 'crowd' is not loaded"),
        (plan(*BOTH, Mix(temperature=2.0, caps={"crwd": 5})), "mix: source 'crwd' is not loaded"),
        (plan(*BOTH, FilterRegex(pattern="(")), "filter_regex: bad pattern: missing )"),
        (plan(*BOTH, FilterRegex(pattern="a{99999999999}")), "filter_regex: bad pattern: the repetition"),
        (plan(*BOTH, Convert(prompt="{{ prompt")), "convert: prompt.prompt: line 1 of the template"),
        (plan(*BOTH, FilterSimilar(reference="nosuch")), "unknown reference 'nosuch'"),
        (plan(BOTH[1], FilterSimilar(reference="curated")), "'curated' is not loaded by this recipe"),
        (plan(BOTH[0], Dedup(), BOTH[1]), "load steps come before all others"),
        (plan(*BOTH, Split(), Dedup()), "split comes after all steps that choose rows"),
        (plan(*BOTH, Format(), Format()), "format: at most one"),
        (plan(*BOTH, FilterLength(min_chars=10, max_chars=5)), "no row is left"),
        (plan(*BOTH, FilterSimilar(reference="curated", min_similarity=1.0)), "drops every row"),
        (plan(*BOTH, Sample(n=1)), "at most 1 rows"),
        (plan(Load(source="curated", limit=1)), "at most 1 rows"),
        (plan(BOTH[0], Sample(n=20), FilterLoss(drop_fraction=0.95)), "at most 1 rows"),
        (plan(trials=(TrialPlan(mixture={"other": 1.0}),)), "trial 1: mixture names source 'other'"),
        (plan(trials=(TrialPlan(mixture={"crowd": 0.0}),)), "not all 0"),
        (plan(trials=(TrialPlan(mixture={}),)), "not all 0"),
        (plan(trials=(staged(sources=["othr"]),)), "trial 1: stage 1 names source 'othr', which is not loaded"),
        (plan(trials=(staged(objective="dpo", rejected=["bad"]),)), "stage 1 names source 'bad'"),
        (
            plan(*BOTH, FilterConflicts(), trials=(staged(objective="dpo", rejected=["crowd"]),)),
            "two answers to a prompt",
        ),
        (plan(*BOTH, Dedup(columns=("prompt",)), trials=(staged(objective="dpo", rejected=["crowd"]),)), "two answers"),
        (plan(trials=(TrialPlan(), TrialPlan(label="again"))), "two trials of the round are the same"),
        (
            plan(trials=tuple(TrialPlan(train=TrainConfig(epochs=n)) for n in (1, 2, 3))),
            "3 trials; this search runs at most 2",
        ),
        (plan(trials=(TrialPlan(train=TrainConfig(max_seq_len=500_000)),)), "max_seq_len 500000 is above"),
        (plan(trials=(TrialPlan(train=TrainConfig(micro_batch_size=64)),)), "above batch_size 16"),
        (plan(trials=(TrialPlan(train=TrainConfig(epochs=1e-5)),)), "less than one row"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_with_a_reason(bad: RoundPlan, reason: str) -> None:
    refusals = review(bad, FakeTree())
    assert any(reason in refusal for refusal in refusals), refusals


def test_near_duplicates_are_noted_with_their_outcome_and_not_refused() -> None:
    tree = FakeTree()
    first = default_plan(tree)
    tree.finish(tree.add(0, first), [0.41])
    train = first.trials[0].train
    near = first.model_copy(
        update={"trials": (TrialPlan(train=train.model_copy(update={"learning_rate": train.learning_rate * 1.05})),)}
    )
    far = first.model_copy(
        update={"trials": (TrialPlan(train=train.model_copy(update={"learning_rate": train.learning_rate * 10})),)}
    )
    assert near_duplicates(near, tree, BOOK) == ["trial 1 is nearly trial 1 of node 1 (score 0.410)"]
    assert near_duplicates(far, tree, BOOK) == []
    assert review(near, tree) == []


RATES = st.floats(1e-6, 3e-2)
DRAFTS = st.builds(
    lambda rate, epochs, steps, mixture: Draft(
        DataRecipe(steps=(*BOTH, *steps)), TrainConfig(learning_rate=rate, epochs=epochs), mixture
    ),
    RATES,
    st.floats(0.25, 32),
    st.lists(st.sampled_from([Dedup(), FilterLoss(), FilterLoss(drop_fraction=0.5), Sample(n=9)]), max_size=4),
    st.sampled_from([None, {"curated": 1.0, "crowd": 1.0}, {"curated": 3.0, "crowd": 1.0}]),
)


@given(one=DRAFTS, other=DRAFTS)
def test_the_distance_is_symmetric_between_0_and_1_and_0_for_equals(one: Draft, other: Draft) -> None:
    assert distance(one, one, BOOK) == 0
    assert distance(one, other, BOOK) == pytest.approx(distance(other, one, BOOK))
    assert 0 <= distance(one, other, BOOK) <= 1


def test_the_distance_tells_a_tweak_from_a_change() -> None:
    base = Draft(DataRecipe(steps=BOTH), TrainConfig(learning_rate=1e-3))

    def rate(factor: float) -> float:
        train = base.train.model_copy(update={"learning_rate": 1e-3 * factor})
        return distance(base, base._replace(train=train), BOOK)

    cleaned = base._replace(data=DataRecipe(steps=(*BOTH, Dedup())))
    mixed = base._replace(mixture={"curated": 1.0, "crowd": 1.0})
    assert rate(1.05) < NEAR < rate(10)
    assert rate(1.05) < rate(2) < rate(10)
    assert distance(base, cleaned, BOOK) > NEAR
    assert distance(base, mixed, BOOK) > NEAR


def test_recipes_are_compared_by_their_edits() -> None:
    steps = [*BOTH, Dedup(), FilterLoss(), Order()]
    assert recipe_distance(steps, steps[:-1]) == pytest.approx(1 / 5)
    assert recipe_distance(steps, [*steps[:3], FilterLoss(drop_fraction=0.4), Order()]) < 1 / 5
    assert recipe_distance(steps, [*BOTH, FilterLoss(), Dedup(), Order()]) == pytest.approx(2 / 5)


def test_weights_are_compared_after_they_are_normalised() -> None:
    base = Draft(DataRecipe(steps=BOTH), TrainConfig(), {"curated": 1.0, "crowd": 1.0})
    assert distance(base, base._replace(mixture={"curated": 0.5, "crowd": 0.5}), BOOK) == 0


IDENTITY = "def transform(row):\n    return row\n"


def coding(**profile: object) -> FakeTree:
    tree = FakeTree()
    changed = tree.config.profile.model_copy(update={"agent_code": True, **profile})
    tree.config = tree.config.model_copy(update={"profile": changed})
    return tree


def test_code_of_agents_is_refused_unless_the_profile_allows_it() -> None:
    asked = plan(*BOTH, Python(code=IDENTITY))
    assert ["agent_code" in reason for reason in review(asked, FakeTree())] == [True]
    assert review(asked, coding()) == []
    assert review(asked, coding(sandbox="bwrap")) == []
    assert [reason for reason in review(asked, coding(sandbox="none")) if 'sandbox = "none"' in reason]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (plan(BOTH[0], Python(code=IDENTITY), BOTH[1]), "load steps come before all others"),
        (plan(*BOTH, *[Python(code=IDENTITY)] * 3), "at most 2 such steps; found 3"),
        (plan(*BOTH, Split(), Python(code=IDENTITY)), "split comes after all steps that choose rows"),
        (
            plan(*BOTH, Python(code="def transform(row) return row")),
            "python step 1: the code cannot be read: SyntaxError",
        ),
        (plan(*BOTH, Python(code="x = '\0'")), "cannot be read"),
        (plan(*BOTH, Python(code="(" * 5000)), "cannot be read"),
        (plan(*BOTH, Python(code="-" * 15000 + "1")), "cannot be read"),
        (
            plan(*BOTH, Python(code=IDENTITY), Python(code="def change(row): return row")),
            "python step 2: the code defines no",
        ),
        (plan(*BOTH, Python(code="raise SystemExit")), "defines no function transform"),
        (plan(*BOTH, Python(code=IDENTITY, memory_gb=16)), "memory_gb 16 is above the 4 of its job"),
        (plan(*BOTH, Python(code=IDENTITY, max_output_rows=1)), "at most 1 rows"),
    ],
)
def test_code_that_cannot_work_is_refused_without_running_it(bad: RoundPlan, reason: str) -> None:
    refusals = review(bad, coding())
    assert any(reason in refusal for refusal in refusals), refusals


def test_code_that_needs_longer_than_its_job_is_refused() -> None:
    short = coding(prepare=FakeTree().config.profile.prepare.model_copy(update={"minutes": 5}))
    assert [r for r in review(plan(*BOTH, Python(code=IDENTITY, seconds=301)), short) if "5 minutes" in r]


def test_moves_find_their_place_beside_a_step_of_code() -> None:
    from hpc_trex.agents.apply import placed

    steps = [*BOTH, Python(code=IDENTITY), Split()]
    assert [step.op for step in placed(steps, Dedup())] == ["load", "load", "dedup", "python", "split"]
    assert [step.op for step in placed(steps, Sample(n=5))] == ["load", "load", "python", "sample", "split"]


def test_a_training_that_cannot_fit_the_profiles_gpus_is_refused_with_figures() -> None:
    tree = coding(gpu_mem_gb=0.01, train=Resources(gpus_per_node=1))
    tree.config = tree.config.model_copy(update={"model": "builtin:tiny-qwen3"})
    refused = [reason for reason in review(plan(*BOTH), tree) if "gpu_mem_gb" in reason]
    assert len(refused) == 1
    assert "trial 1: one row of 512 tokens needs about" in refused[0]
