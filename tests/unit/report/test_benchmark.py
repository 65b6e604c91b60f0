"""The table of a benchmark: what a G is made of, when there is none, and every format of it."""

from __future__ import annotations

import csv
import io
import re

import pytest

from hpc_trex.models import Reference, Score, TaskCard
from hpc_trex.report.benchmark import Measured, bench_rows, rules_of
from hpc_trex.report.benchmark_text import notes, table_csv, table_html, table_latex, table_text
from hpc_trex.report.look import Look


def card(name: str, *, higher: bool = True, references: tuple[Reference, ...] = (), stop: str = "\n") -> TaskCard:
    source = {"generator": "triage", "part": "dev", "rows": 100}
    metric = {"name": "exact_match", "higher_is_better": higher, "stop": (stop,)}
    made = {"name": name, "sources": {"a": source}, "dev": source, "test": source, "metric": metric}
    return TaskCard.model_validate(made | {"references": [one.model_dump() for one in references]})


def score(value: float, half: float = 0.04) -> Score:
    return Score(metric="exact_match", value=value, low=value - half, high=value + half, n=400)


def search(task: str, base: float, test: float, /, **more: object) -> Measured:
    given = {
        "task": task, "model": "small", "method": "playbook", "base": score(base), "test": score(test),
        "difference": score(test - base, 0.02), "gpu_hours": 1.5, "cpu_hours": 3.0, "money": 0.25,
    }  # fmt: skip
    return Measured.model_validate(given | more)


def alone(task: str, role: str, model: str, value: float, half: float = 0.04) -> Measured:
    return Measured.model_validate({"task": task, "model": model, "role": role, "base": score(value, half)})


PAPER = Reference(name="TREX", role="trex", score=0.9, source="arXiv")
PUBLISHED = Reference(name="large", role="reference", model="Large-235B", score=0.8, source="arXiv")


@pytest.fixture
def rows():
    """Five tasks: half the way, in the noise, published, the reference worse, nothing but a base."""
    a, b, c = card("a"), card("b"), card("c", references=(PUBLISHED, PAPER, PAPER.model_copy(update={"score": 0.7})))
    d, e = card("d"), card("e")
    return bench_rows(
        [
            (alone("a", "baseline", "small", 0.2), a),
            (alone("a", "reference", "large", 0.6), a),
            (search("a", 0.2, 0.3), a),
            (search("a", 0.2, 0.5, seed=1), a),
            (search("a", 0.2, 0.25, method="llm big"), a),
            (search("a", 0.2, 0.3, seed=2, done=False, test=None, difference=None), a),
            (alone("b", "baseline", "small", 0.5), b),
            (alone("b", "reference", "large", 0.55), b),
            (search("b", 0.5, 0.6), b),
            (search("c", 0.4, 0.6), c),
            (alone("d", "reference", "large", 0.1), d),
            (search("d", 0.4, 0.6), d),
            (alone("e", "baseline", "small", 0.3), e),
        ]
    )


def test_g_is_the_share_of_the_way_to_the_reference(rows):
    a = rows[0]
    assert (a.base.value, a.reference.value, a.reference.source) == (0.2, 0.6, "large")
    playbook, llm = a.methods
    assert (playbook.runs, playbook.score.seeds) == (3, 2)
    assert playbook.score.value == pytest.approx(0.4)
    assert playbook.score.sd == pytest.approx(0.1414, abs=1e-4)
    assert (playbook.score.low, playbook.score.high) == (pytest.approx(0.36), pytest.approx(0.44))
    assert playbook.gain.value == pytest.approx(0.2)
    assert playbook.g == pytest.approx((0.4 - 0.2) / (0.6 - 0.2))
    assert llm.g == pytest.approx(0.125)
    assert (playbook.gpu_hours, playbook.cpu_hours, playbook.money) == (4.5, 9.0, 0.75)
    assert a.rows == 400


def test_where_the_distance_is_noise_or_turned_there_is_no_g(rows):
    _, b, c, d, e = rows
    assert b.distance == pytest.approx(0.05)
    assert b.noise == pytest.approx(0.04 * 2**0.5)
    assert (b.methods[0].g, b.methods[0].why) == (None, "within noise")
    assert c.reference.published
    assert c.noise == pytest.approx(0.04 * 2**0.5)
    assert c.methods[0].g == pytest.approx(0.5)
    assert c.paper.value == 0.9
    assert (d.methods[0].g, d.methods[0].why) == (None, "reference not better")
    assert (e.methods, e.reference, e.base.value) == ((), None, 0.3)


def test_without_a_measured_base_there_is_no_g():
    task = card("f", references=(PUBLISHED, Reference(name="small", role="base", score=0.1)))
    (row,) = bench_rows([(search("f", 0.1, 0.5, base=None, difference=None), task)])
    assert row.base.published
    assert (row.methods[0].g, row.methods[0].why, row.methods[0].gain) == (None, "no base", None)


def test_a_metric_of_which_less_is_better_is_turned():
    task = card("g", higher=False)
    (row,) = bench_rows(
        [(alone("g", "reference", "large", 0.2), task), (search("g", 0.6, 0.5), task)],
    )
    assert row.distance == pytest.approx(0.4)
    assert row.methods[0].gain.value == pytest.approx(0.1)
    assert (row.methods[0].gain.low, row.methods[0].gain.high) == (pytest.approx(0.08), pytest.approx(0.12))
    assert row.methods[0].g == pytest.approx(0.25)


def test_what_was_measured_by_other_rules_is_never_put_together():
    one, other = card("h"), card("h", stop="x")
    found = bench_rows(
        [(search("h", 0.2, 0.4), one), (alone("h", "reference", "large", 0.9), other), (search("h", 0.3, 0.4), other)]
    )
    assert [(row.base.value, row.reference and row.reference.value) for row in found] == [(0.2, None), (0.3, 0.9)]
    assert "h: measured by different rows, prompts or metrics, told in rows of their own" in notes(found)


def fetched(revision: str = "0" * 40, rows: int = 200, licence: str = "") -> TaskCard:
    repo = {"kind": "git", "url": "https://example.org/x", "revision": revision, "licence": licence}
    tables = {"all": {"from": "repo"}, "dev": {"of": "all", "rows": rows}, "test": {"from": "repo", "path": "test.csv"}}
    made = {
        "name": "j",
        "downloads": {"repo": repo},
        "tables": tables,
        "dev": {"table": "dev"},
        "test": {"table": "test"},
    }
    return TaskCard.model_validate(made)


def test_rows_that_were_fetched_otherwise_are_other_rows():
    others = [fetched(), fetched("1" * 40), fetched(rows=300)]
    assert len({rules_of(one) for one in others}) == 3
    assert rules_of(fetched(licence="MIT")) == rules_of(fetched())
    assert rules_of(fetched().model_copy(update={"sources": card("k").sources})) == rules_of(fetched())


def test_of_several_references_the_one_that_is_shown_is_named_with_the_others():
    task = card("l")
    models = ("large", "huge", "large")
    (row,) = bench_rows([(search("l", 0.2, 0.4), task), *((alone("l", "reference", one, 0.8), task) for one in models)])
    assert (row.reference.source, row.other_references) == ("large", ("huge",))
    assert "l: reference large (also evaluated: huge; --reference-model)" in notes([row])


def test_base_models_are_rows_of_their_own():
    task = card("i")
    found = bench_rows([(search("i", 0.2, 0.4), task), (search("i", 0.3, 0.4, model="other"), task)])
    assert [(row.model, row.base.value) for row in found] == [("small", 0.2), ("other", 0.3)]
    assert table_text(found).splitlines()[0].split()[:2] == ["task", "model"]


GOLDEN = """\
task  metric       rows             base        reference         playbook             gain      G          llm big             gain      G   paper  GPU-h  CPU-h  money
a     exact_match   400  0.200 +-0.040  0.600 +-0.040  0.400 +-0.040  +0.200 +-0.020  +50 %  0.250 +-0.040  +0.050 +-0.020  +12 %       -   6.00  12.00   1.00
b     exact_match   400  0.500 +-0.040  0.550 +-0.040  0.600 +-0.040  +0.100 +-0.020      ~               -               -      -       -   1.50   3.00   0.25
c     exact_match   400  0.400 +-0.040         0.800*  0.600 +-0.040  +0.200 +-0.020  +50 %               -               -      -  0.900*   1.50   3.00   0.25
d     exact_match   400  0.400 +-0.040  0.100 +-0.040  0.600 +-0.040  +0.200 +-0.020      ~               -               -      -       -   1.50   3.00   0.25
e     exact_match   400  0.300 +-0.040              -               -               -      -               -               -      -       -   0.00   0.00   0.00
a: 2 of 3 searches of playbook have a test score
a: reference large
b: ~ no G: reference and base differ by less than the noise (+0.050, noise 0.057)
b: reference large
c: * published, other rows and prompts: Large-235B: arXiv
d: ~ no G: the reference is not better than the base (-0.300, noise 0.057)
d: reference large"""


def test_the_text_is_a_line_a_task_and_says_below_what_a_figure_does_not(rows):
    def squeezed(text: str) -> list[str]:
        return [re.sub(" +", " ", line) for line in text.splitlines()]

    assert squeezed(table_text(rows)) == squeezed(GOLDEN)
    cut = table_text(rows, Look(width=60)).splitlines()
    assert all(len(line) <= 60 for line in cut[:6])


def test_nothing_is_averaged_over_tasks(rows):
    assert [line.split()[0] for line in table_text(rows).splitlines()[1:6]] == ["a", "b", "c", "d", "e"]


def test_csv_has_a_line_for_each_task_and_method(rows):
    read = list(csv.DictReader(io.StringIO(table_csv(rows))))
    assert [(line["task"], line["method"]) for line in read] == [
        ("a", "playbook"), ("a", "llm big"), ("b", "playbook"), ("c", "playbook"), ("d", "playbook"), ("e", ""),
    ]  # fmt: skip
    assert float(read[0]["g"]) == pytest.approx(0.5)
    assert (read[2]["g"], read[2]["no_g_because"]) == ("", "within noise")
    assert (read[3]["reference_published"], read[3]["reference_low"]) == ("True", "")
    assert [(line["base_published"], line["paper"]) for line in read[2:4]] == [("False", ""), ("False", "0.9")]
    assert (read[5]["score"], read[5]["base"]) == ("", "0.3")


def test_latex_escapes_what_latex_reads(rows):
    text = table_latex([row.model_copy(update={"task": r"a_b & 50% #1 \x"}) for row in rows[:1]])
    assert r"a\_b \& 50\% \#1 \textbackslash{}x & exact\_match & 400 & 0.200 $\pm$0.040" in text
    assert r"+50 \%" in text
    assert text.count("\\\\") == 2
    assert text.splitlines()[0].startswith("% ")


def test_the_page_needs_nothing_and_runs_nothing(rows):
    hostile = rows[0].model_copy(update={"task": "<script>alert(1)</script>"})
    page = table_html([hostile, *rows[1:]], ["sweep-1"])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "Large-235B: arXiv" in page
    assert "+50 %" in page
    assert "0.200 \N{PLUS-MINUS SIGN}0.040" in page
    assert "within noise" in page
