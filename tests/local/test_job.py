"""Jobs as real processes: every way in which one can end leaves exactly one result and no process."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hpc_trex.builtin import builtin_path
from hpc_trex.files import write_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import FailureClass, MetricSpec, ModelRef, Source, TaskCard
from hpc_trex.samples import read_samples
from hpc_trex.training.progress import complete_checkpoints
from tests.jobs import IMPATIENT, RunningJob, assert_all_gone, family, hang, long_training, run_job, spec_for, tell

pytestmark = pytest.mark.local


def test_base_job_makes_the_model_once_where_the_controller_expects_it(
    place: Path, base: dict[str, str], base_cache: Path
) -> None:
    assert Path(base["path"]) == builtin_path("builtin:tiny-qwen3", base_cache, steps=12)
    assert [path.name for path in (base_cache / "models").iterdir()] == [Path(base["path"]).name]
    began = (Path(base["path"]) / "model.safetensors").stat().st_mtime_ns
    result, output = run_job(spec_for(place / "base-again", base_cache, kind="base", train={"max_steps": 12}))
    assert result.model == ModelRef.model_validate(base)
    assert "made before" in output
    assert (Path(base["path"]) / "model.safetensors").stat().st_mtime_ns == began


@pytest.mark.parametrize("method", ["full", "lora"])
def test_train_job_leaves_a_model_a_curve_and_its_origin(
    place: Path, base: dict[str, str], rows: str, method: str
) -> None:
    spec = long_training(
        place, f"train-{method}", base, rows, train={"method": method, "learning_rate": 3e-3, "max_steps": 40}
    )
    result, output = run_job(spec)
    assert result.state == "succeeded", output
    assert result.model is not None
    saved = Path(result.model.adapter or result.model.path)
    assert saved == AttemptPaths(Path(spec.attempt_dir)).model
    assert list(saved.glob("*.safetensors"))
    assert (result.model.adapter is not None) == (method == "lora")
    assert result.steps == len(result.curve) == 40
    assert result.curve[-1].loss < result.curve[0].loss
    assert result.attention.startswith("sdpa")
    assert result.attention in output
    assert set(result.hashes) == {"base", "code", "data", "model"}
    assert result.versions["torch"]
    assert result.cpu_seconds > 0
    assert result.peak_memory_gb
    assert result.host


def test_warning_signal_saves_a_checkpoint_and_the_next_attempt_goes_on_from_it(
    place: Path, base: dict[str, str], rows: str
) -> None:
    spec = long_training(place, "warned", base, rows, train={"max_steps": 400})
    job = RunningJob(spec)
    job.until(lambda beat: beat.step >= 20)
    processes = family(job)
    tell([psutil.Process(job.process.pid), *processes], signal.SIGUSR2)
    assert job.wait() == 1
    assert_all_gone(processes)
    first = job.result()
    assert first.failure is FailureClass.TIMEOUT
    assert 20 <= first.steps < 400
    assert complete_checkpoints(job.paths.checkpoints)[-1].step == first.steps

    again = long_training(
        place, "resumed", base, rows, train={"max_steps": 400}, resume_from=(str(job.paths.checkpoints),)
    )
    second, output = run_job(again)
    assert second.state == "succeeded", output
    assert second.resumed_from_step == first.steps
    assert second.steps == 400
    steps = [point.step for point in second.curve]
    assert steps == list(range(2, 401, 2))


def test_term_far_from_the_time_limit_is_a_preemption(place: Path, base: dict[str, str], rows: str) -> None:
    job = RunningJob(long_training(place, "pushed-out", base, rows))
    job.until(lambda beat: beat.step >= 5)
    processes = family(job)
    tell([psutil.Process(job.process.pid), *processes], signal.SIGTERM)
    job.wait()
    assert_all_gone(processes)
    assert job.result().failure is FailureClass.PREEMPTED
    assert job.result().steps >= 5


SHORT_LIMIT = """
import sys
from hpc_trex.job.entry import run
from hpc_trex.job.watch import Limits
Limits.of = classmethod(lambda cls, spec: cls(total=20, margin=6, stall=600))
sys.exit(run(sys.argv[1]))
"""


def test_time_limit_is_kept_without_any_signal(place: Path, base: dict[str, str], rows: str) -> None:
    """With a limit in seconds, since a job's is a minute at least."""
    job = RunningJob(long_training(place, "too-long", base, rows), command=["-c", SHORT_LIMIT])
    job.wait()
    assert 14 <= job.result().seconds < 30  # by its own clock: a busy machine is slow to start it
    assert job.result().failure is FailureClass.TIMEOUT
    assert "time limit" in job.result().message
    # On a busy machine the limit may come before the first step.
    saved = complete_checkpoints(job.paths.checkpoints)
    assert job.result().steps == (saved[-1].step if saved else 0)


def test_killed_worker_leaves_a_result_with_its_class_and_last_checkpoint(
    place: Path, base: dict[str, str], rows: str
) -> None:
    job = RunningJob(long_training(place, "killed", base, rows, checkpoint_seconds=0.3))
    job.until(lambda beat: beat.step >= 100)
    processes = family(job)
    processes[0].kill()
    assert job.wait() == 1
    assert_all_gone(processes)
    result = job.result()
    assert result.failure is FailureClass.ENVIRONMENT
    assert "signal 9" in result.message
    assert result.steps == complete_checkpoints(job.paths.checkpoints)[-1].step > 0


def test_killed_supervisor_takes_its_workers_with_it(place: Path, base: dict[str, str], rows: str) -> None:
    job = RunningJob(long_training(place, "beheaded", base, rows))
    job.until(lambda beat: beat.step >= 5)
    processes = family(job)
    job.process.kill()
    job.wait()
    assert_all_gone(processes)
    assert not job.paths.result.exists()


def test_second_start_of_an_attempt_leaves_without_touching_anything(
    place: Path, base: dict[str, str], rows: str
) -> None:
    spec = long_training(place, "double", base, rows, train={"max_steps": 3})
    first = RunningJob(spec)
    first.wait()
    before = {path: path.stat().st_mtime_ns for path in Path(spec.attempt_dir).rglob("*")}
    second = RunningJob(spec)
    assert second.wait() == 0
    assert "started already" in second.output
    assert {path: path.stat().st_mtime_ns for path in Path(spec.attempt_dir).rglob("*")} == before


def test_diverging_training_ends_early(place: Path, base: dict[str, str], rows: str) -> None:
    spec = long_training(
        place, "diverged", base, rows, train={"learning_rate": 1.0, "warmup_ratio": 0, "schedule": "constant"}
    )
    result, output = run_job(spec)
    assert result.failure is FailureClass.DIVERGED, output
    assert "learning rate" in result.message


def test_hung_worker_is_ended_and_called_hung(place: Path, base: dict[str, str], rows: str) -> None:
    job = RunningJob(long_training(place, "hung", base, rows, stall_seconds=5), IMPATIENT)
    job.until(lambda beat: beat.step >= 5)
    processes = family(job)
    hang(job, processes[0])
    job.wait()
    assert_all_gone(processes)
    assert job.result().failure is FailureClass.TIMEOUT
    assert "hung" in job.result().message


@pytest.mark.parametrize(
    ("change", "failure", "word"),
    [
        ({"train": {"method": "lora", "lora": {"targets": ["q_proj", "nope"]}}}, FailureClass.CONFIG, "gate_proj"),
        ({"base": {"name": "lost", "path": "/nowhere/at/all"}}, FailureClass.CONFIG, "config.json"),
        ({"data_dir": "/nowhere/at/all"}, FailureClass.DATA, "manifest.json"),
        ({"mixture": {"unknown": 1.0}}, FailureClass.DATA, "unknown"),
        ({"train": {"attention": "flash_attention_2"}}, FailureClass.CONFIG, "no CUDA GPU"),
    ],
)
def test_what_a_plan_got_wrong_is_said_with_its_remedy(
    tmp_path: Path, base: dict[str, str], rows: str, change: dict[str, object], failure: FailureClass, word: str
) -> None:
    fields = {"base": base, "rows": rows} | {}
    spec = (
        long_training(tmp_path, "wrong", fields["base"], fields["rows"], **change)
        if "base" not in change
        else (spec_for(tmp_path / "wrong", tmp_path, data_dir=rows, train={}, **change))
    )
    result, _ = run_job(spec)
    assert result.failure is failure
    assert word in result.message


def test_invalid_spec_is_a_failure_of_the_plan_where_its_token_can_be_read(tmp_path: Path) -> None:
    spec = spec_for(tmp_path / "invalid", tmp_path)
    path = AttemptPaths(Path(spec.attempt_dir)).spec
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "dance"}))
    job = RunningJob(spec)
    assert job.wait() == 2
    assert job.result().failure is FailureClass.CONFIG
    assert "dance" in job.result().message


CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}answer: {% endif %}"


@pytest.mark.parametrize("style", ["chat", "plain"])
def test_the_test_job_asks_a_chat_model_in_the_style_of_its_training(
    tmp_path: Path, base: dict[str, str], style: str
) -> None:
    """From the recipe's format step to the sealed test, each stage a job of its own: the same rows, the same answers."""
    from transformers import AutoTokenizer

    chat = tmp_path / "chat-base"
    shutil.copytree(base["path"], chat)
    tokenizer = AutoTokenizer.from_pretrained(chat)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(chat)
    source = Source(path="x.jsonl")
    metric = MetricSpec(max_new_tokens=8)
    card = TaskCard(name="tiny", sources={"s": source}, dev=source, test=source, metric=metric)
    write_record(tmp_path / "card.json", card)
    words = ["red", "green", "blue", "black", "white", "small"]
    lines = [
        json.dumps({"row_id": f"s:{i}", "prompt": f"{one} then {two}, last", "answer": two, "source": "s"})
        for i, (one, two) in enumerate(itertools.permutations(words, 2))
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    rows = str(tmp_path / "rows.jsonl")
    shared = {
        "base": {"name": "chat", "path": str(chat)},
        "task_card": str(tmp_path / "card.json"),
        "data_dir": str(tmp_path / "data"),
        "evaluate": {"bootstrap": 100},
    }
    recipe = {"steps": [{"op": "load", "source": "s"}, {"op": "format", "style": style}]}
    spec = spec_for(tmp_path / "prepare", tmp_path, kind="prepare", data=recipe, sources={"s": rows}, **shared)
    assert run_job(spec)[0].state == "succeeded"
    train = {
        "method": "full",
        "learning_rate": 3e-3,
        "batch_size": 10,
        "epochs": 30,
        "max_steps": 30,
        "max_seq_len": 64,
    }
    spec = spec_for(tmp_path / "train", tmp_path, eval_rows=rows, train=train, **shared)
    trained, output = run_job(spec)
    assert trained.model is not None, output
    assert trained.model.style == style
    other = trained.model.model_copy(update={"style": "plain" if style == "chat" else "chat"})
    answers = {}
    for name, model in (("same", trained.model), ("other", other)):
        compare = {"base": shared["base"], "chosen": model.model_dump()}
        spec = spec_for(tmp_path / name, tmp_path, kind="test", eval_rows=rows, compare=compare, **shared)
        tested, output = run_job(spec)
        assert tested.state == "succeeded", output
        answers[name] = [row.answer for row in read_samples(AttemptPaths(tmp_path / name).samples)]
    assert trained.samples is not None
    assert answers["same"] == [row.answer for row in read_samples(Path(trained.samples))]
    assert answers["other"] != answers["same"]


@contextlib.contextmanager
def tiny_disk(folder: Path) -> Iterator[None]:
    """A disk of one page for data: a RAM disk for root, else a limit of the size of any file."""
    folder.mkdir()
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
    else:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_said_and_leaves_no_half_result(tmp_path: Path, base: dict[str, str], rows: str) -> None:
    disk = tmp_path / "disk"
    with tiny_disk(disk):
        spec = long_training(disk, "full", base, rows, train={"max_steps": 3})
        if os.geteuid() == 0:  # leave one page beside the claim
            (disk / "filler").write_bytes(b"x" * (os.statvfs(disk).f_bavail - 2) * os.statvfs(disk).f_frsize)
        job = RunningJob(spec)
        assert job.wait() == 8
        assert "could not be written" in job.output
        assert not job.paths.result.exists()
        assert not list(job.paths.root.glob(".result*"))
