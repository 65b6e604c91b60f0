"""What a round changed against its parent."""

import hashlib

from hpc_trex.models import NodeState, NodeView, RoundPlan, TrialState, TrialView
from hpc_trex.models.states import JobKind
from hpc_trex.report.difference import describe_recipe, plan_difference, telling

LOAD = {"op": "load", "source": "curated"}


def node(number, steps=(), trials=({},), *, best=1, parent=0):
    plan = RoundPlan.model_validate({"hypothesis": "h", "data": {"steps": [LOAD, *steps]}, "trials": list(trials)})
    views = tuple(
        TrialView(node=number, trial=i, state=TrialState.DONE, kind=JobKind.TRAIN, plan=one)
        for i, one in enumerate(plan.trials, start=1)
    )
    return NodeView(id=number, parent=parent, depth=1, state=NodeState.DONE, plan=plan, best_trial=best, trials=views)


BASELINE = NodeView(id=0, parent=None, depth=0, state=NodeState.DONE)


def rate(*values):
    return [{"train": {"learning_rate": value}} for value in values]


def test_equal_rounds_differ_in_nothing():
    assert plan_difference(node(1), node(2)) == []
    assert plan_difference(None, BASELINE) == []


def test_a_changed_setting_is_shown_with_both_values():
    assert plan_difference(node(1, trials=rate(0.001)), node(2, trials=rate(0.003))) == ["learning_rate 0.001 -> 0.003"]


def test_the_parents_best_trial_is_what_counts():
    parent = node(1, trials=rate(0.001, 0.003), best=2)
    assert plan_difference(parent, node(2, trials=rate(0.003))) == []
    assert plan_difference(parent, node(2, trials=rate(0.001))) == ["learning_rate 0.003 -> 0.001"]


def test_trials_that_differ_among_themselves_are_all_named():
    assert plan_difference(node(1, trials=rate(0.001)), node(2, trials=rate(0.001, 0.01))) == [
        "learning_rate 0.001 -> 0.001 | 0.01"
    ]


def test_added_removed_and_changed_steps_are_told_apart():
    before = node(1, [{"op": "dedup"}, {"op": "sample", "n": 100}])
    after = node(2, [{"op": "filter_conflicts"}, {"op": "dedup"}, {"op": "sample", "n": 50}])
    assert plan_difference(before, after) == ["+ filter_conflicts()", "sample(n 100) -> sample(n 50)"]
    assert plan_difference(before, node(2, [{"op": "dedup"}])) == ["- sample(n 100)"]
    assert plan_difference(node(1), node(2, [{"op": "dedup"}])) == ["+ dedup(prompt, answer)"]


def test_the_same_mix_in_other_numbers_is_no_change():
    halves = [{"op": "mix", "weights": {"a": 1, "b": 1}}], [{"op": "mix", "weights": {"b": 0.5, "a": 0.5}}]
    assert plan_difference(node(1, halves[0]), node(2, halves[1])) == []


def test_after_the_baseline_the_whole_recipe_and_the_main_settings_are_listed():
    lines = plan_difference(BASELINE, node(1, [{"op": "dedup"}], [{"train": {"warmup_ratio": 0.1}}]))
    assert lines == [
        "+ load(curated)",
        "+ dedup(prompt, answer)",
        "method lora",
        "learning_rate 0.0002",
        "warmup_ratio 0.1",
        "epochs 1",
        "batch_size 16",
    ]


def test_lora_settings_of_a_full_training_do_not_count():
    full = {"train": {"method": "full", "lora": {"rank": 8}}}
    assert plan_difference(node(1, trials=[{"train": {"method": "full"}}]), node(2, trials=[full])) == []
    changed = plan_difference(node(1, trials=[full]), node(2, trials=[{"train": {"lora": {"rank": 8}}}]))
    assert "method full -> lora" in changed
    assert "lora.rank - -> 8" in changed


def test_a_trials_own_mixture_is_shown():
    assert plan_difference(node(1), node(2, trials=[{"mixture": {"b": 1, "a": 3}}])) == ["mixture all rows -> a 3, b 1"]


def test_steps_read_like_short_calls():
    steps = [
        {"op": "mix", "weights": {"crowd": 1, "curated": 3}, "total": 500, "repeat": True},
        {"op": "filter_length", "max_chars": 80},
        {"op": "filter_regex", "pattern": "<x>", "keep": False},
        {"op": "filter_loss", "judge": "base"},
        {"op": "order", "by": "loss", "descending": True},
        {"op": "format", "style": "chat"},
    ]
    assert describe_recipe(node(1, steps).plan.data) == [
        "load(curated)",
        "mix(crowd 0.25, curated 0.75, total 500, repeat)",
        "filter_length(answer, min_chars 1, max_chars 80)",
        "filter_regex(prompt, pattern <x>)",
        "filter_loss(base, drop_fraction 0.3, steps 80)",
        "order(loss, descending)",
        "format(chat)",
    ]


def test_telling_settings_leave_defaults_out():
    train = node(1, trials=[{"train": {"lora": {"rank": 4}, "packing": False}}]).plan.trials[0].train
    assert telling(train) == {
        "method": "lora",
        "lora.rank": "4",
        "learning_rate": "0.0002",
        "epochs": "1",
        "batch_size": "16",
        "packing": "no",
    }


def test_code_is_one_line_with_its_hash_and_a_changed_line_of_it_is_a_change():
    code = "def transform(row):\n    return row\n"
    sha = hashlib.sha256(code.encode()).hexdigest()[:8]
    before = node(1, [{"op": "python", "code": code}])
    assert describe_recipe(before.plan.data)[-1] == f"python map (2 lines, sha {sha})"
    after = node(2, [{"op": "python", "code": "def transform(row): return None", "mode": "filter", "seconds": 600}])
    (change,) = plan_difference(before, after)
    assert change.startswith(f"python map (2 lines, sha {sha}) -> python filter (1 line, sha ")
    assert change.endswith(", seconds 600)")
