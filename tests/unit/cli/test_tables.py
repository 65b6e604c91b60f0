"""The text of tree, status and the end of a launch, and the live picture."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_trex.files import write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import (
    AttemptState,
    AttemptView,
    BestView,
    Budget,
    Heartbeat,
    JobKind,
    NodeState,
    NodeView,
    Score,
    SearchState,
    StatusView,
)
from hpc_trex.report.live import LiveView, Picture, PlainView, bar, live_text, make_view
from hpc_trex.report.look import Look, duration
from hpc_trex.report.tables import best_text, final_text, status_text, tree_text


def node(number: int, parent: int | None, depth: int, score: float | None = None, move: str = "probe") -> NodeView:
    state = NodeState.PENDING if score is None else NodeState.DONE
    return NodeView(id=number, parent=parent, depth=depth, state=state, score=score, move=move)


def running(directory: str = "nodes/0001/trials/1/attempts/1") -> AttemptView:
    return AttemptView(
        node=1, trial=1, attempt=1, kind=JobKind.TRAIN, token="t", state=AttemptState.RUNNING, job_id="77",
        host="node01", directory=directory,
    )  # fmt: skip


def status(**changes: object) -> StatusView:
    fields: dict[str, object] = {
        "search": "s-1",
        "directory": "/searches/s-1",
        "task": "t",
        "model": "m",
        "state": SearchState.RUNNING,
        "nodes": {"done": 2, "pending": 1},
        "trials": {"done": 3},
        "baseline": BestView(node=0, trial=1, dev=0.2, dev_low=0.15, dev_high=0.25),
        "best": BestView(node=1, trial=1, dev=0.5, dev_low=0.45, dev_high=0.55, gain=0.3),
        "max_nodes": 8,
        "running": (running(),),
    }
    return StatusView.model_validate(fields | changes)


@settings(max_examples=40)
@given(st.lists(st.integers(min_value=0, max_value=200), max_size=60))
def test_every_round_of_any_tree_has_one_line_below_its_parents(choices: list[int]) -> None:
    nodes = [node(0, None, 0, 0.1)]
    for number, choice in enumerate(choices, 1):
        parent = nodes[choice % number]
        nodes.append(node(number, parent.id, parent.depth + 1, 0.2))
    lines = tree_text(nodes, look=Look(unicode=True)).splitlines()[1:]
    numbers = [int(line.split(" probe")[0].split(" baseline")[0].split()[-1].strip("│├└─")) for line in lines]
    assert sorted(numbers) == list(range(len(nodes)))
    for item in nodes[1:]:
        assert numbers.index(item.parent) < numbers.index(item.id)  # type: ignore[arg-type]


def test_a_chain_of_a_thousand_rounds_stays_readable() -> None:
    chain = [node(number, number - 1 if number else None, number, 0.5) for number in range(1000)]
    lines = tree_text(chain).splitlines()
    assert len(lines) == 1001
    assert max(map(len, lines)) < 100
    assert "(999) 999 probe" in lines[-1]


def test_a_gain_is_positive_where_the_round_is_better() -> None:
    nodes = [node(0, None, 0, 2.0), node(1, 0, 1, 1.5)]
    assert "-0.5000" in tree_text(nodes)
    assert "+0.5000" in tree_text(nodes, higher=False)


def test_the_gain_on_the_sealed_test_is_positive_where_less_is_better() -> None:
    less = Score(metric="exact_match", value=-0.35, low=-0.4, high=-0.3, n=400, higher_is_better=False)
    test = less.model_copy(update={"value": 0.2, "low": 0.15, "high": 0.25})
    over = status(chosen=BestView(node=1, trial=1, dev=0.2, gain=0.3, test=test), test_difference=less)
    assert "gain +0.3500 [+0.3000, +0.4000] (paired, sealed)" in best_text(over)


def test_an_empty_tree_says_so() -> None:
    assert tree_text([]) == "no rounds yet"


def test_a_limit_keeps_the_last_rounds_and_counts_the_others() -> None:
    nodes = [node(0, None, 0, 0.1), *(node(number, 0, 1, 0.2) for number in range(1, 10))]
    lines = tree_text(nodes, limit=3).splitlines()
    assert lines[1] == "... 7 more rounds above"
    assert len(lines) == 5


@pytest.mark.parametrize("width", [80, 120])
def test_status_fits_the_terminal(width: int) -> None:
    long = status(
        search="s" * 60, directory="/very/long" * 20, task="/a/task" * 20, model="org/" + "m" * 200, message="why " * 60,
        running=(running().model_copy(update={"reason": "Resources" * 20}),), noise_sd=0.01,
        nodes={"done": 1000, "pending": 10, "failed": 20, "cancelled": 3},
    )  # fmt: skip
    for line in status_text(long, Look(width=width)).splitlines():
        assert len(line) <= width, line


def test_best_is_the_baseline_until_something_beats_it() -> None:
    assert "the baseline itself" in best_text(status(best=BestView(node=0, trial=1, dev=0.2, gain=0.0)))
    assert best_text(status(baseline=None, best=None)).startswith("no score yet")


def test_the_end_of_a_launch_shows_the_sealed_test_and_ends_with_the_path_of_the_report() -> None:
    test = Score(metric="exact_match", value=0.6, low=0.55, high=0.65, n=400)
    gain = Score(metric="exact_match", value=0.35, low=0.3, high=0.4, n=400)
    over = status(
        state=SearchState.DONE,
        chosen=BestView(node=1, trial=1, dev=0.5, dev_seeds=3, gain=0.3, test=test),
        test_difference=gain,
        running=(),
    )
    lines = final_text(
        over, [node(0, None, 0, 0.2), node(1, 0, 1, 0.5)], Path("/searches/s-1/report.html")
    ).splitlines()
    assert lines[-1] == "/searches/s-1/report.html"
    assert "test      chosen   exact_match 0.6000 [0.5500, 0.6500], n = 400" in lines
    assert "          gain +0.3500 [+0.3000, +0.4000] (paired, sealed)" in lines
    assert any("over 3 seeds, gain +0.3000" in line for line in lines)


def test_no_colour_and_no_box_character_without_a_terminal() -> None:
    nodes = [node(0, None, 0, 0.1), node(1, 0, 1, 0.2), node(2, 1, 2, None)]
    text = final_text(status(), nodes, Path("/r.html"))
    assert text.isascii()
    assert "\x1b" not in text
    assert "\x1b[" in tree_text(nodes, best=1, look=Look(color=True))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0s"), (59.6, "1m00s"), (190, "3m10s"), (7500, "2h05m"), (None, "-")]
)
def test_durations_read_well(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


class Report:
    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.state = SearchState.RUNNING


def test_plain_lines_have_the_time_and_say_once_that_the_controller_is_at_work() -> None:
    out = io.StringIO()
    with PlainView(out) as view:
        view.on_tick(Report("node 1 done"))
        view.on_tick(Report())
        view.on_tick(Report("node 2 done"))
    lines = [line.split(" ", 1) for line in out.getvalue().splitlines()]
    assert [words for _, words in lines] == ["node 1 done", "controller at work: search running", "node 2 done"]
    assert all(len(time) == 8 and time[2] == ":" for time, _ in lines)


def test_the_live_picture_shows_tree_running_trials_best_and_budget(tmp_path: Path) -> None:
    paths = SearchPaths(tmp_path)
    files = paths.attempt(1, 1, 1)
    files.root.mkdir(parents=True)
    beat = Heartbeat(phase="training", step=30, total_steps=120, loss=1.25, tokens_per_second=5432.1, eta_seconds=95)
    write_record(files.heartbeat, beat)
    picture = Picture(status(), [node(0, None, 0, 0.2), node(1, 0, 1, 0.5)], Budget(max_nodes=8, wall_minutes=60))
    text = live_text(picture, tmp_path, 100.0, Look(width=100), height=24)
    assert "`-1 probe" in text
    for words in (
        "30/120",
        "loss 1.2500",
        "5,432 tokens/s",
        "ETA 1m35s",
        "best      node 1",
        "rounds 1/8",
        "1m40s of 1h00m",
    ):
        assert words in text
    queued = running().model_copy(update={"state": AttemptState.QUEUED})
    assert "30/120" in live_text(picture._replace(status=status(running=(queued,))), tmp_path, 1.0, Look(), height=24)
    files.heartbeat.write_text("{ half")
    assert "starting" in live_text(picture, tmp_path, 100.0, Look(), height=24)


@pytest.mark.parametrize("height", [10, 24, 60])
def test_the_live_picture_of_a_large_search_fits_the_terminal(tmp_path: Path, height: int) -> None:
    many = tuple(running() for _ in range(50))
    nodes = [node(0, None, 0, 0.1), *(node(number, 0, 1, 0.2) for number in range(1, 500))]
    text = live_text(Picture(status(running=many), nodes, Budget()), tmp_path, 1.0, Look(width=80), height=height)
    assert len(text.splitlines()) <= max(height, 16)


@settings(max_examples=30)
@given(st.floats(allow_nan=False))
def test_a_bar_has_one_width(fraction: float) -> None:
    assert len(bar(fraction, Look())) == 12


def test_off_a_terminal_the_view_is_plain(tmp_path: Path) -> None:
    view = make_view(SearchPaths(tmp_path), lambda: pytest.fail("not read"), color=None)
    assert isinstance(view, PlainView)


def test_the_live_view_draws_on_a_terminal_and_leaves_the_history_behind(tmp_path: Path) -> None:
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=30)
    picture = Picture(status(), [node(0, None, 0, 0.2), node(1, 0, 1, 0.5)], Budget())
    with LiveView(SearchPaths(tmp_path), lambda: picture, console) as view:
        view.on_tick(Report("node 1 [done] score 0.5"))
        view.live.refresh()
    assert "node 1 [done] score 0.5" in out.getvalue()
    assert "probe" in out.getvalue()
