"""What ``train`` and ``evaluate`` are told: paths, defaults, and clear words for what is wrong. No job is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from hpc_trex.by_hand.jobs import beat_line, numbered
from hpc_trex.by_hand.reproduce import Reproduced
from hpc_trex.by_hand.run import Hand, require_success
from hpc_trex.by_hand.spec import HandSpec, read_spec, train_config
from hpc_trex.cli.main import cli
from hpc_trex.errors import JobFailure, NotFound, UsageProblem
from hpc_trex.models import FailureClass, Heartbeat, JobResult, Score


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_paths_are_those_beside_the_file_and_names_stay_names(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    spec = read_spec(written(tmp_path, 'out = "mine"\nmodel = "base"\ntask = "mini-triage"\ndata = "set"\n'))
    assert (spec.out, spec.model, spec.task) == (str(tmp_path / "mine"), str(tmp_path / "base"), "mini-triage")
    assert spec.data == str(tmp_path / "set")
    assert read_spec(written(tmp_path, 'out = "/elsewhere"')).out == "/elsewhere"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("out = ", "not valid TOML"),
        ("", "out: Field required"),
        ('out = "x"\nmodle = "y"', "modle: Extra inputs are not permitted"),
        ('out = "x"\n[resources]\nmem_gb = -1', "resources.mem_gb"),
        ('out = "x"\n[[recipe.steps]]\nop = "sort"', "recipe.steps.0"),
    ],
)
def test_a_bad_file_is_told_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageProblem) as caught:
        read_spec(path)
    assert str(path) in caught.value.message
    assert said in caught.value.message


def test_what_is_missing_is_told_before_any_job(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        read_spec(tmp_path / "none.toml")
    hand = Hand(HandSpec(out=str(tmp_path / "mine")), lambda _: None)
    with pytest.raises(UsageProblem, match="nothing to train on"):
        hand.train(resume=False)
    with pytest.raises(UsageProblem, match="nothing to evaluate on"):
        hand.evaluate()
    with pytest.raises(NotFound, match="no training that could be resumed"):
        hand.train(resume=True)
    with pytest.raises(UsageProblem, match=r"train\.learning_rate"):
        train_config({"learning_rate": -1}, {})
    with pytest.raises(UsageProblem, match=r"^train: .*stage 1: batch_size 12 is no multiple of generations 8"):
        train_config({"batch_size": 12, "stages": [{"objective": "grpo"}]}, {})
    assert train_config({"learning_rate": 1e-3}, {"epochs": 3}).epochs == 3


def test_the_command_line_says_it_and_exits_with_2(tmp_path: Path) -> None:
    path = written(tmp_path, 'out = "x"\nmodle = "y"')
    done = CliRunner().invoke(cli, ["train", str(path)])
    assert done.exit_code == 2
    assert "modle: Extra inputs are not permitted" in done.output
    assert CliRunner().invoke(cli, ["evaluate", str(tmp_path / "none.toml")]).exit_code == 3
    assert CliRunner().invoke(cli, ["export", "nowhere", "--to", str(tmp_path / "to")]).exit_code == 3


def test_attempts_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("2", "10", "1", "x"):
        (tmp_path / name).mkdir()
    assert [path.name for path in numbered(tmp_path)] == ["1", "2", "10"]


def test_a_heartbeat_is_one_line() -> None:
    beat = Heartbeat(phase="training", step=4, total_steps=10, loss=0.41234, tokens_per_second=9800.4, eta_seconds=12.3)
    assert beat_line(beat) == "training 4/10  loss 0.412  9,800 tokens/s  12 s left"
    assert beat_line(Heartbeat(phase="loading", message="rows")) == "loading  rows"


def test_a_failure_keeps_its_class_and_a_stop_by_hand_is_an_interrupt() -> None:
    failed = JobResult(token="t", state="failed", failure=FailureClass.DATA, message="empty")
    with pytest.raises(JobFailure, match="DATA: empty") as caught:
        require_success(failed)
    assert caught.value.failure is FailureClass.DATA
    with pytest.raises(KeyboardInterrupt):
        require_success(failed.model_copy(update={"failure": FailureClass.PREEMPTED}))


@pytest.mark.parametrize(("now", "inside"), [(0.5, True), (0.4, True), (0.6, True), (0.39, False), (0.61, False)])
def test_inside_is_within_the_recorded_interval_ends_included(now: float, inside: bool) -> None:
    then = Score(metric="m", value=0.5, low=0.4, high=0.6, n=10)
    score = then.model_copy(update={"value": now})
    assert Reproduced(then, score, JobResult(token="t", state="succeeded")).inside is inside
