"""Kept columns, groups of rows and scorers of their own: what a task needs beside the general metrics."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation import scorers
from hpc_trex.evaluation.intervals import difference_interval, score_interval
from hpc_trex.evaluation.metrics import AnswerSet, Judged, aggregate, judge
from hpc_trex.evaluation.scoring import brought_together, judge_rows, ordered_flags
from hpc_trex.evaluation.tasks import EvalRow, read_rows
from hpc_trex.ftbench.frozen import eval_digest
from hpc_trex.ftbench.options import Options
from hpc_trex.ftbench.render import RowProblem
from hpc_trex.models import EvalSettings, MetricSpec, Source, TaskCard, metric_options
from hpc_trex.models.base import Record

SETTINGS = EvalSettings(bootstrap=400)


def card(**metric):
    source = Source(path="rows.jsonl")
    return TaskCard(name="t", sources={"s": source}, dev=source, test=source, metric=MetricSpec(**metric))


def together(given, texts):
    """Return the evaluation of rows of (reference, kind), answered by ``texts``."""
    rows = [
        EvalRow(f"dev:{i}", "p", answer, "p", columns={"kind": kind})
        for i, (answer, kind) in enumerate(given.pop("rows"))
    ]
    spec = card(**given)
    judged = judge_rows(rows, texts, spec.metric)
    return brought_together(spec, SETTINGS, rows, judged, [ordered_flags(one.flags) for one in judged])


ROWS = [("a", "long"), ("b", "long"), ("c", "long"), ("d", "short")]


def test_each_group_has_a_score_of_its_own_beside_the_mean_over_rows():
    made = together({"rows": ROWS, "keep": ["kind"], "groups": "kind"}, ["a", "b", "x", "x"])
    assert made.main.value == 0.5
    assert (made.extra["kind=long"], made.extra["kind=short"]) == (pytest.approx(2 / 3), 0.0)


def test_the_mean_of_groups_counts_a_small_group_as_much_as_a_large_one():
    asked = {"rows": ROWS, "keep": ["kind"], "groups": "kind", "average": "groups"}
    made = together(dict(asked), ["a", "b", "x", "d"])
    assert made.main.value == pytest.approx((2 / 3 + 1) / 2)
    assert made.main.low < made.main.value < made.main.high == 1.0
    with pytest.raises(ValueError, match="same rows"):
        difference_interval(made.answers, made.answers._replace(groups=["x"] * 4), SETTINGS)


def test_every_resample_holds_every_group_with_as_many_rows_as_it_has():
    """Drawn over all rows alike, a group of one would be missing from a third of the resamples."""
    groups = ["a"] * 30 + ["b"]
    answers = AnswerSet("exact_match", (), [1.0, 0.0] * 15 + [1.0], ["r"] * 31, ["r"] * 31, groups=groups)
    score = score_interval(answers, SETTINGS)
    assert score.value == 0.75
    assert score.low > 0.6  # the one row of b is in each of them
    assert score.n == 31


def test_equal_answers_in_groups_claim_no_certainty():
    """As wide as for as many rows as all groups would have were they as small as the smallest."""
    equal = AnswerSet("exact_match", (), [1.0] * 12, ["r"] * 12, ["r"] * 12, groups=["a"] * 9 + ["b"] * 3)
    six = AnswerSet("exact_match", (), [1.0] * 6, ["r"] * 6, ["r"] * 6)
    assert score_interval(equal, SETTINGS).low == score_interval(six, SETTINGS).low < 1


def test_macro_f1_of_groups_is_the_mean_of_their_macro_f1():
    answers = AnswerSet("macro_f1", ("x", "y"), [1, 0, 1], ["x", "y", "y"], ["x", "x", "y"], groups=["a", "a", "b"])
    alone = [aggregate(answers.of(places))[0] for places in ([0, 1], [2])]
    assert aggregate(answers)[0] == pytest.approx(np.mean(alone))


def test_old_cards_keep_their_digest():
    """Computed by the version before kept columns: a search that was started then goes on."""
    assert eval_digest(card(), EvalSettings()) == "2a4ac8c161a235351c3a1e0a2e09b89bb13b1659980d18e42dbec564a5259e8c"
    old = card(name="accuracy", labels=("yes", "no"), max_new_tokens=8)
    assert eval_digest(old, EvalSettings()) == "c8f3452bb11b9eb518e615985e5a2941acb9802b9fa22f2f709f404adb63f6bd"


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ({"groups": "kind"}, "must be one of the columns in keep"),
        ({"keep": ["kind"], "average": "groups"}, "needs groups"),
        ({"keep": ["kind", "kind"]}, "twice"),
        ({"options": {"x": 1}}, "exact_match takes no options, and has x"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_card(metric, said):
    with pytest.raises(ValidationError, match=said):
        MetricSpec(**metric)


def test_the_options_of_a_metric_are_checked_by_its_record(monkeypatch):
    class Known(Record):
        weight: float = 1.0

    monkeypatch.setitem(metric_options.METRIC_OPTIONS, "exact_match", Known)
    assert MetricSpec(options={"weight": 0.5}).options == {"weight": 0.5}
    with pytest.raises(ValidationError, match=r"options\.wieght.*exact_match knows weight"):
        MetricSpec(options={"wieght": 0.5})


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"prompt": "p"}, "no column kind; the row has prompt"),
        ({"kind": b"x"}, "the column kind is no JSON"),
        ({"kind": float("nan")}, "the column kind is no JSON"),
        ({"kind": ["x"]}, "metric.groups: kind is"),
        ({"kind": ""}, "metric.groups: kind is"),
    ],
)
def test_a_row_without_its_kept_columns_is_refused(columns, said):
    with pytest.raises(RowProblem, match=said):
        Options(MetricSpec(keep=["kind"], groups="kind"), "card")(columns, "a")


def test_kept_columns_reach_the_scorer_from_the_file_of_rows(tmp_path):
    kept = Options(MetricSpec(keep=["kind", "items"]), "card")({"kind": "k", "items": [1, {"a": None}], "more": 1}, "a")
    line = {"row_id": "dev:1", "prompt": "p", "answer": "a", "source": "dev", **kept}
    older = {"row_id": "dev:2", "prompt": "q", "answer": "b", "source": "dev"}
    (tmp_path / "dev.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(older)}\n")
    first, second = read_rows(tmp_path / "dev.jsonl", str)
    assert first.columns == {"kind": "k", "items": [1, {"a": None}]}
    assert second.columns == {}


def half(answer, reference, spec, row):
    """Score what the row says, with a flag and a further score of its own."""
    return Judged(float(row["worth"]), answer, reference, ("odd",), (("half", 0.5),) if answer else (), (1, 2))


def least(answers, weights):
    return np.full(len(weights), min(answers.scores))


@pytest.fixture
def own(monkeypatch):
    """``exact_match`` as a scorer of its own: with the name of a known metric, since the names are a closed list."""
    from hpc_trex.evaluation import metrics

    monkeypatch.delitem(metrics._JUDGES, "exact_match")
    monkeypatch.setitem(scorers.SCORERS, "exact_match", f"{__name__}:half")
    scorers.scorer.cache_clear()
    scorers.own_aggregate.cache_clear()
    yield monkeypatch
    scorers.scorer.cache_clear()
    scorers.own_aggregate.cache_clear()


def test_a_scorer_of_its_own_is_given_the_row_and_may_flag_as_it_likes(own):
    rows = [EvalRow(str(worth), "p", "r", "p", columns={"worth": worth}) for worth in (0.25, 0.75)]
    spec = card(keep=["worth"])
    judged = judge_rows(rows, ["x", ""], spec.metric)
    assert [one.score for one in judged] == [0.25, 0.0]  # an empty answer scores nothing under every metric
    flags = [ordered_flags(one.flags) for one in judged]
    assert flags == [("odd",), ("empty", "odd")]
    made = brought_together(spec, SETTINGS, rows, judged, flags)
    assert (made.main.value, made.extra["odd"], made.extra["half"]) == (0.125, 1.0, 0.5)
    own.setitem(scorers.AGGREGATES, "exact_match", f"{__name__}:least")
    scorers.own_aggregate.cache_clear()
    assert brought_together(spec, SETTINGS, rows, judged, flags).main.value == 0.0


def test_every_registered_scorer_is_there_and_no_general_metric_has_two():
    from hpc_trex.evaluation.metrics import _JUDGES

    names = set(MetricSpec.model_fields["name"].annotation.__args__)
    assert set(scorers.SCORERS) | set(_JUDGES) | {"accuracy_norm", "lm_eval"} == names
    assert not set(scorers.SCORERS) & set(_JUDGES)
    assert set(scorers.AGGREGATES) <= set(scorers.SCORERS)
    for metric in scorers.SCORERS:
        assert callable(scorers.scorer(metric))


def test_a_reference_that_a_metric_cannot_use_is_refused():
    with pytest.raises(UsageProblem, match="none of the labels"):
        judge("yes", "maybe", MetricSpec(name="accuracy", labels=("yes", "no")))
