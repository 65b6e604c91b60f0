"""Helpers for tests of jobs: a tiny base, a prepared set, specs, and jobs as real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from hpc_trex.files import read_record, write_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import Heartbeat, JobResult, JobSpec

ROOT = Path(__file__).parent.parent
#: Seconds before a test gives up: these jobs take 5 to 15 s, and ten times that on a machine that is busy.
PATIENCE = 200.0


def prepared_set(
    folder: Path, rows: int = 120, *, ordered: bool = False, holdout: int = 0, style: str = "plain"
) -> Path:
    """Write a prepared set of copying tasks, in the format of ``datasets``' ``save_to_disk``."""
    draw = random.Random(rows)
    words = ["red", "green", "blue", "black", "white", "small", "big", "old", "new", "cold"]
    made = []
    for number in range(rows + holdout):
        picked = draw.sample(words, draw.randint(2, 5))
        made.append(
            {
                "row_id": f"s:{number}",
                "source": "a" if number % 3 else "b",
                "prompt": f"last word of: {' '.join(picked)}\nanswer:",
                "answer": f" {picked[-1]}",
            }
        )
    save_rows(folder / "rows", made[:rows])
    if holdout:
        save_rows(folder / "holdout", made[rows:])
    manifest = {"rows": rows, "ordered": ordered, "format": style, "sha256": f"{rows:064d}"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def staged_set(folder: Path) -> Path:
    """Write good and bad answers to the same prompts, some of them without a partner, and plain texts."""
    draw = random.Random(5)
    words = ["red", "green", "blue", "black", "white", "small", "big", "old", "new", "cold"]
    made = []
    for number in range(40):
        picked = draw.sample(words, draw.randint(2, 5))
        prompt = f"last word of: {' '.join(picked)}\nanswer:"
        made.append({"row_id": f"good:{number}", "source": "good", "prompt": prompt, "answer": f" {picked[-1]}"})
        if number % 4:
            made.append({"row_id": f"bad:{number}", "source": "bad", "prompt": prompt, "answer": f" {picked[0]} of it"})
        text = " ".join(draw.choices(words, k=draw.randint(3, 60)))
        made.append({"row_id": f"text:{number}", "source": "text", "prompt": text, "answer": ""})
    save_rows(folder / "rows", made)
    (folder / "manifest.json").write_text(json.dumps({"format": "plain", "sha256": "0" * 64}))
    return folder


def save_rows(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write rows of four texts as ``datasets`` does (``save_to_disk``)."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))


def spec_for(folder: Path, cache: Path, **fields: Any) -> JobSpec:
    """Make the folder of one attempt with its ``spec.json`` and return the spec."""
    folder.mkdir(parents=True)
    spec = JobSpec.model_validate(
        {
            "kind": "train",
            "token": f"test-{folder.name}",
            "search": "test",
            "node": 1,
            "trial": 1,
            "attempt": 1,
            "attempt_dir": str(folder),
            "task_card": str(folder / "card.json"),
            "base": {"name": "builtin:tiny-qwen3", "path": "/nowhere"},
            "cache_dir": str(cache),
            "heartbeat_seconds": 0.2,
            **fields,
        }
    )
    write_record(AttemptPaths(folder).spec, spec)
    return spec


class RunningJob:
    """A job as a local process, with its supervisor's output."""

    def __init__(self, spec: JobSpec, command: Sequence[str] = ("-m", "hpc_trex.job"), **environment: str) -> None:
        self.paths = AttemptPaths(Path(spec.attempt_dir))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        self.process = subprocess.Popen(
            [sys.executable, *command, str(self.paths.spec)],
            cwd=ROOT,
            env={**inherited, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for the end and return the exit code."""
        try:
            self.output, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.output, _ = self.process.communicate()
            raise AssertionError(f"the job did not end within {seconds} s:\n{self.output}") from None
        return self.process.returncode

    def result(self) -> JobResult:
        result = read_record(self.paths.result, JobResult)
        assert result is not None, self.output
        return result

    def until(self, done: Callable[[Heartbeat], bool], seconds: float = PATIENCE) -> Heartbeat:
        """Wait until the heartbeat satisfies ``done`` and return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            beat = read_record(self.paths.heartbeat, Heartbeat)
            if beat and done(beat):
                return beat
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"no such heartbeat; output:\n{self.process.communicate()[0]}")


def run_job(spec: JobSpec, seconds: float = PATIENCE, **environment: str) -> tuple[JobResult, str]:
    """Run a job to its end and return its result and output."""
    job = RunningJob(spec, **environment)
    job.wait(seconds)
    return job.result(), job.output


def long_training(place: Path, name: str, base: dict[str, str], rows: str, **fields: Any) -> JobSpec:
    """Return the spec of a training that goes on until it is ended, or to its ``max_steps``."""
    train = {"method": "full", "learning_rate": 1e-4, "batch_size": 8, "epochs": 100, "max_seq_len": 64}
    spec = {"base": base, "data_dir": rows, "train": train | dict(fields.pop("train", {}))} | fields
    return spec_for(place / name, place / "cache", **spec)


def family(job: RunningJob) -> list[psutil.Process]:
    """Return all processes of a job but its supervisor."""
    return psutil.Process(job.process.pid).children(recursive=True)


#: A job that heeds its ``stall_seconds`` from the moment on that its file ``hung`` is there. On a busy machine it may be
#: silent for longer than that while it starts.
IMPATIENT = (
    "-c",
    """
import sys
from pathlib import Path
from hpc_trex.job.entry import run
from hpc_trex.job.watch import Limits

class Impatient(Limits):
    @property
    def stall(self):
        return self[2] if Path(sys.argv[1]).with_name("hung").exists() else 600.0

of = Limits.of
Limits.of = classmethod(lambda cls, spec: Impatient(*of(spec)))
sys.exit(run(sys.argv[1]))
""",
)


def hang(job: RunningJob, process: psutil.Process) -> None:
    """Let a process of an ``IMPATIENT`` job block for ever."""
    process.suspend()
    (job.paths.root / "hung").touch()


def workers_of(job: RunningJob) -> list[psutil.Process]:
    """Return the ranks of a job on this node."""
    return [one for one in family(job) if "hpc_trex.job.worker" in " ".join(one.cmdline()[:4])]


def tell(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each, as Slurm does to every process of a step; one may have come to its end meanwhile."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def assert_all_gone(processes: list[psutil.Process]) -> None:
    """Assert that none of them lives on: by themselves they would go on for ever."""
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []
