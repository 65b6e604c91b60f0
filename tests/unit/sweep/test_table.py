"""The table: means over the seeds that are done, and nothing averaged that is not known."""

from __future__ import annotations

import csv
import io

import pytest

from hpc_trex.models import Score
from hpc_trex.report.look import Look
from hpc_trex.sweep.folder import read_config
from hpc_trex.sweep.records import ElementResult, ElementState, Standing
from hpc_trex.sweep.table import table, table_csv, table_text


def score(value: float) -> Score:
    return Score(metric="accuracy", value=value, low=value, high=value, n=100)


def left(number: int, dev: float, test: float) -> ElementResult:
    return ElementResult(
        number=number, token="t", state="done", baseline=0.2, dev=dev, dev_gain=dev - 0.2,
        test=score(test), test_baseline=score(0.25), test_gain=test - 0.25,
    )  # fmt: skip


@pytest.fixture
def rows(make):
    config = read_config(make(seeds=(0, 1, 2), researchers=("random", "tpe")))
    results = {0: left(0, 0.4, 0.5), 1: left(1, 0.6, 0.6), 2: left(2, 0.6, 0.7)}
    found = [
        Standing(
            element=element,
            state=ElementState.DONE if element.number in results else ElementState.LOST,
            result=results.get(element.number),
        )
        for element in config.elements()
    ]
    return table(config, found, dict.fromkeys(range(6), (1.0, 0.5)))


def test_a_row_holds_the_seeds_of_one_method(rows):
    first, second = rows
    assert (first.researcher, first.seeds, first.done) == ("random", 3, 2)
    assert (first.dev, first.dev_gain) == (0.5, pytest.approx(0.3))
    assert first.dev_sd == pytest.approx(0.1414, abs=1e-4)
    assert (first.test, first.test_gain) == (pytest.approx(0.6), pytest.approx(0.35))
    assert (second.researcher, second.done, second.dev, second.dev_sd) == ("tpe", 1, 0.6, None)


def test_methods_that_differ_in_what_they_do_without_are_rows_of_their_own(make):
    config = read_config(make(seeds=(0, 1), researchers=("playbook",), without=("nothing", "insights")))
    found = [
        Standing(element=one, state=ElementState.DONE, result=left(one.number, 0.3 + one.number / 10, 0.5))
        for one in config.elements()
    ]
    rows = table(config, found, {})
    assert [(row.without, row.dev) for row in rows] == [("nothing", 0.4), ("insights", 0.5)]
    assert "playbook/uct without insights" in table_text(rows).splitlines()[2]
    assert "without" in table_csv(rows).splitlines()[0].split(",")


def test_what_was_held_counts_of_the_lost_ones_too(rows):
    assert [row.gpu_hours for row in rows] == [3.0, 3.0]


def test_the_text_is_one_line_a_row_and_fits_a_terminal(rows):
    text = table_text(rows)
    assert len(text.splitlines()) == 3
    assert "random/uct" in text
    assert "0.5000 +-0.1414" in text
    assert all(len(line) <= 60 for line in table_text(rows, Look(width=60)).splitlines())


def test_csv_is_read_back(rows):
    read = list(csv.DictReader(io.StringIO(table_csv(rows))))
    assert [row["task"] for row in read] == ["mini-triage", "mini-triage"]
    assert float(read[0]["dev"]) == 0.5
    assert read[1]["dev_sd"] == ""


def test_an_empty_sweep_has_its_rows_all_the_same(make):
    config = read_config(make())
    found = [Standing(element=element, state=ElementState.MISSING) for element in config.elements()]
    (row,) = table(config, found, {})
    assert (row.done, row.dev, row.gpu_hours) == (0, None, 0.0)
    assert "0/1" in table_text([row])
