"""The page as text: what stands in it, and that hostile text stays text."""

import base64
import hashlib
import html
import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest

from hpc_trex.layout import SearchPaths
from hpc_trex.models import AttemptState, FailureClass, Insight, JobKind, NodeState, Score, SearchState, TrialState
from hpc_trex.report.html import render_report, write_report
from hpc_trex.report.page import heading, trial_rows
from hpc_trex.samples import EvaluatedRow
from tests.unit.report.sample import attempt, bare, config, grown, leave_files, result, task

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`--><!--{{ 7*7 }}\u2028 </style>"


class Outline(HTMLParser):
    """Collects tags with their attributes, and the text of each script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self._script = [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._script = [] if tag == "script" else None

    def handle_data(self, data):
        if self._script is not None:
            self._script.append(data)

    def handle_endtag(self, tag):
        if tag == "script":
            self.scripts.append("".join(self._script))
        self._script = None

    @property
    def data(self):
        return json.loads(self.scripts[0])


@pytest.fixture
def search(tmp_path):
    return SearchPaths(tmp_path)


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split('<script type="application/json"')[0]))


def test_the_page_is_one_file_that_names_no_other_place(search):
    page = write_report(search, grown(search, 6)).read_text()
    outline = Outline(page)
    refs = [attrs[name] for _, attrs in outline.tags for name in ("src", "href") if attrs.get(name)]
    assert all(ref.startswith(("#", "data:")) for ref in refs)
    assert "url(" not in page
    assert "@import" not in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert search.report.parent.joinpath("report.html").is_file()


def test_the_policy_names_the_only_script_that_may_run(search):
    outline = Outline(render_report(search, grown(search, 2)))
    policy = next(
        a["content"] for tag, a in outline.tags if tag == "meta" and "content" in a and "default-src" in a["content"]
    )
    own = base64.b64encode(hashlib.sha256(outline.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{own}'" in policy
    assert "default-src 'none'" in policy
    assert len(outline.scripts) == 2
    assert not any(name.startswith("on") for _, attrs in outline.tags for name in attrs)


def hostile(search):
    """Return a search in which every text that a job, a person or an LLM writes is an attack."""
    source = grown(search, 3)
    leave_files(search, attempt(1, 1), result(0.5, 2), out=HOSTILE, err=HOSTILE,
                rows=[EvaluatedRow(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 0.0, (HOSTILE,))])  # fmt: skip
    plan = source.nodes[1].plan
    recipe = plan.data.model_copy(update={"steps": (*plan.data.steps, *hostile_steps())})
    trials = tuple(t.model_copy(update={"label": HOSTILE[:80], "mixture": {HOSTILE: 1.0}}) for t in plan.trials)
    plan = plan.model_copy(
        update={"hypothesis": HOSTILE, "expected_effect": HOSTILE, "move": HOSTILE, "data": recipe, "trials": trials}
    )
    views = tuple(t.model_copy(update={"message": HOSTILE, "plan": trials[0]}) for t in source.nodes[1].trials)
    node = source.nodes[1].model_copy(
        update={"plan": plan, "move": HOSTILE, "report": HOSTILE, "message": HOSTILE, "trials": views}
    )
    attempts = [
        a.model_copy(
            update={
                "message": HOSTILE,
                "host": HOSTILE,
                "job_id": HOSTILE,
                "reason": HOSTILE,
                "failure": FailureClass.OOM,
            }
        )
        for a in source.attempts
    ]
    status = source.status.model_copy(
        update={"search": HOSTILE, "model": HOSTILE, "directory": HOSTILE, "message": HOSTILE}
    )
    return source._replace(
        status=status, nodes=[source.nodes[0], node, *source.nodes[2:]], attempts=attempts,
        insights=[Insight(text=HOSTILE, nodes=(1,), kind=HOSTILE)],
        task=task(title=HOSTILE, description=HOSTILE, licence=HOSTILE),
    )  # fmt: skip


def hostile_steps():
    from hpc_trex.models.operators import FilterRegex

    return (FilterRegex(pattern=HOSTILE),)


def test_hostile_text_changes_nothing_in_the_pages_structure(search):
    page = render_report(search, hostile(search))
    outline = Outline(page)
    assert len(outline.scripts) == 2
    assert not [tag for tag, _ in outline.tags if tag in {"img", "iframe", "object", "embed"}]
    assert not any(name.startswith("on") for _, attrs in outline.tags for name in attrs)
    assert "alert(1)</script>" not in page
    assert "49" not in outline.data["nodes"]["1"]["hypothesis"]


def test_hostile_text_reaches_the_reader_unchanged(search):
    node = Outline(render_report(search, hostile(search))).data["nodes"]["1"]
    assert node["hypothesis"] == node["report"] == HOSTILE
    assert node["bad"][0]["answer"] == HOSTILE
    assert "alert(2)" in node["trials"][0]["stderr"]
    assert node["trials"][0]["jobs"][0]["message"] == HOSTILE


def test_the_heading_tells_gain_sealed_test_and_whether_it_is_shown(search):
    source = grown(search, 12)
    text = text_of(render_report(search, source))
    assert f"{source.status.chosen.dev:.3f}" in text
    assert f"{source.status.chosen.gain:+.3f} on dev over the baseline" in text
    assert "n = 400" in text
    assert "the chosen model is better than the baseline" in text
    within = Score(metric="accuracy", value=0.01, low=-0.02, high=0.04, n=400)
    status = source.status.model_copy(update={"test_difference": within})
    unsure = render_report(search, source._replace(status=status))
    assert "no difference is shown" in text_of(unsure)
    assert 'class="big up"' in render_report(search, source)
    assert 'class="big up"' not in unsure


def test_where_lower_is_better_the_verdict_turns_round(search):
    source = grown(search, 4)
    metric = source.task.metric.model_copy(update={"higher_is_better": False})
    text = text_of(render_report(search, source._replace(task=task(metric=metric))))
    assert "the chosen model is worse than the baseline" in text
    assert "lower is better" in text


def test_where_lower_is_better_a_gain_is_still_positive(search):
    """A status gives gains with their sign already right: the page must not turn it round again."""
    metric = task().metric.model_copy(update={"higher_is_better": False})
    source = grown(search, 4)._replace(task=task(metric=metric))
    best = source.status.chosen.model_copy(update={"dev": 0.2, "gain": 0.21, "test": None})
    source = source._replace(status=source.status.model_copy(update={"chosen": best, "test_difference": None}))
    assert heading(source)["better"]
    lower = [row for row in trial_rows(source) if row["gain"] is not None and row["score"] < source.status.baseline.dev]
    higher = [
        row for row in trial_rows(source) if row["gain"] is not None and row["score"] > source.status.baseline.dev
    ]
    assert all(row["gain"] > 0 for row in lower)
    assert higher
    assert all(row["gain"] < 0 for row in higher)


def test_where_the_baseline_is_the_best_no_gain_over_itself_is_shown(search):
    source = grown(search, 3)
    own = source.status.baseline.model_copy(update={"gain": 0.0})
    status = source.status.model_copy(update={"chosen": own, "best": own, "test_difference": None})
    assert "the baseline's score on dev" in html.unescape(
        text_of(render_report(search, source._replace(status=status)))
    )


def test_a_round_carries_all_that_its_drawer_shows(search):
    source = grown(search, 12)
    data = Outline(render_report(search, source)).data
    best = source.status.chosen.node
    assert data["best"] == best
    node = data["nodes"][str(best)]
    assert node["hypothesis"].startswith(f"Round {best}")
    assert node["recipe"][0] == "load(curated)"
    assert node["changes"]
    assert len(node["trials"][0]["curve"]) > 50
    assert node["trials"][0]["jobs"][0]["host"] == "cn07"
    assert node["trials"][0]["low"] < node["trials"][0]["score"] < node["trials"][0]["high"]
    assert [case["flags"] for case in node["bad"]] == [["other_label"], ["unparsable"]]


def test_the_sealed_tests_answers_are_not_in_the_page(search):
    source = grown(search, 3)
    leave_files(search, attempt(1, 9), result(0.9, 3), rows=[EvaluatedRow("t:1", "secret prompt", "a", "b", 0.0)])
    views = source.nodes[1].trials[0].model_copy(update={"trial": 9, "kind": JobKind.TEST})
    nodes = [source.nodes[0], source.nodes[1].model_copy(update={"trials": (views,)}), *source.nodes[2:]]
    page = render_report(
        search, source._replace(nodes=nodes, attempts=[*source.attempts, attempt(1, 9, kind=JobKind.TEST)])
    )
    assert "sealed test" in page
    assert "secret prompt" not in page


@pytest.mark.parametrize("state", list(SearchState))
def test_a_search_of_one_pending_baseline_has_a_page(search, state):
    text = text_of(render_report(search, bare(state)))
    assert "no score yet" in text
    assert "No job has failed" in text
    assert state.value in text


def test_a_search_that_only_failed_has_a_page_that_says_why(search):
    source = bare(SearchState.FAILED)
    views = tuple(
        attempt(0, 1, AttemptState.FAILED, number=i, failure=failure, message=message)
        for i, (failure, message) in enumerate(
            [
                (FailureClass.ENVIRONMENT, "no module named peft"),
                (FailureClass.ENVIRONMENT, "again"),
                (FailureClass.OOM, ""),
            ],
            1,
        )
    )
    for view in views:
        leave_files(search, view, None, err="ModuleNotFoundError: peft")
    root = source.nodes[0].model_copy(update={"state": NodeState.FAILED, "failure": FailureClass.ENVIRONMENT})
    trial = {
        "node": 0,
        "trial": 1,
        "state": TrialState.FAILED,
        "kind": JobKind.BASELINE,
        "failure": FailureClass.ENVIRONMENT,
    }
    from hpc_trex.models import TrialView

    root = root.model_copy(update={"trials": (TrialView(**trial),)})
    page = render_report(search, source._replace(nodes=[root], attempts=list(views)))
    text = text_of(page)
    assert text.index("ENVIRONMENT") < text.index("OOM")
    assert "no module named peft" in text
    assert "half the micro-batch" in text
    assert Outline(page).data["nodes"]["0"]["trials"][0]["stderr"] == "ModuleNotFoundError: peft"


def test_three_hundred_rounds_make_a_page_in_seconds_of_a_few_megabytes(search):
    source = grown(search, 300, trials=3)
    began = time.process_time()
    page = render_report(search, source)
    assert time.process_time() - began < 10
    assert len(page) < 6_000_000
    assert page.count('role="treeitem"') == 301


def test_gpu_hours_are_used_where_there_are_any(search):
    source = grown(search, 4)
    assert "CPU-minutes" in render_report(search, source)
    nodes = [node.model_copy(update={"cost_gpu_hours": 1.5}) for node in source.nodes]
    assert "GPU-hours" in render_report(search, source._replace(nodes=nodes))
    free = [node.model_copy(update={"cost_cpu_hours": 0.0}) for node in source.nodes]
    assert "Best so far against rounds" in render_report(search, source._replace(nodes=free))


def test_the_budget_bar_stops_at_its_end(search):
    source = grown(search, 4)._replace(config=config(budget={"max_nodes": 2, "cpu_hours": 1}))
    page = render_report(search, source)
    assert "4 of 2" in page
    assert "width: 100.0%" in page


def test_the_report_needs_no_torch_pandas_or_numpy():
    code = (
        "import sys, hpc_trex.report.html, hpc_trex.report.difference;"
        "print({'torch', 'pandas', 'numpy', 'datasets', 'lm_eval', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
