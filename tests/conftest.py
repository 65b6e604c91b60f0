"""Folders, a base model and an own task for all tests; none may write into a home."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_trex.builtin import builtin_path

#: What the tests' folders need at most, with room to spare: one of a failed run is kept.
ROOM = 6 * 2**30


def pytest_configure() -> None:
    """Put the tests' folders into memory where there is room: searches flush every event, 3 ms on a disk and 0.1 ms there."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and not os.statvfs(memory).f_flag & os.ST_NOEXEC:
        free = shutil.disk_usage(memory).free
        available = int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]) * 1024
        if min(free, available) > ROOM:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """A shell without job control starts what it puts into the background with SIGINT ignored: no test may wait for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for a worker's whole run: a base model that is there is not made again, as for a user."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPC_TREX_CACHE", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("HPC_TREX_OFFLINE", "1")  # no test asks a service of the outside
        # No test reads or fills the developer's knowledge base, and none that of another test.
        patch.setenv("HPC_TREX_KNOWLEDGE", "off")
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        yield folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the test's searches; the name has a space, as people's folders do."""
    folder = tmp_path / "my searches"
    monkeypatch.setenv("HPC_TREX_HOME", str(folder))
    return folder


#: In a process of its own: the test process need not hold torch.
MAKE_BASE = """
import sys
from pathlib import Path
from hpc_trex.job.heartbeat import Beat
from hpc_trex.layout import AttemptPaths
from hpc_trex.training.base_model import make_builtin
make_builtin("tiny-qwen3", sys.argv[1], Beat(AttemptPaths(Path(sys.argv[1])), every=5.0))
"""


@pytest.fixture(scope="session")
def base_model(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model as a folder, really pre-trained (half a minute) by the first worker that needs it."""
    path = builtin_path("tiny-qwen3", cache)
    if path.exists():
        return path
    root = tmp_path_factory.getbasetemp()
    shared = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "shared-cache"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not builtin_path("tiny-qwen3", shared).exists():
            subprocess.run([sys.executable, "-c", MAKE_BASE, str(shared)], check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(builtin_path("tiny-qwen3", shared), path)
    return path


@pytest.fixture
def own_card(tmp_path: Path) -> Path:
    """A user's own task: two JSONL files with columns of their own and a card beside them."""
    draw = random.Random(5)
    words = ["red", "green", "blue", "black", "white", "small", "big", "old", "new", "cold"]

    def rows(count: int) -> list[dict[str, str]]:
        made = []
        for _ in range(count):
            picked = draw.sample(words, 3)
            made.append({"question": " ".join(picked), "reply": picked[0]})
        return made

    unique = {row["question"]: row for row in rows(600)}
    lines = [json.dumps(row) for row in unique.values()]
    folder = tmp_path / "own task"
    folder.mkdir()
    (folder / "train.jsonl").write_text("\n".join(lines[:300]) + "\n")
    (folder / "dev.jsonl").write_text("\n".join(lines[300:360]) + "\n")
    (folder / "test.jsonl").write_text("\n".join(lines[360:420]) + "\n")
    card = folder / "card.toml"
    card.write_text(
        """name = "first-word"
licence = "CC0-1.0"
dev = { path = "dev.jsonl" }
test = { path = "test.jsonl" }

[sources.train]
path = "train.jsonl"
trusted = true

[prompt]
prompt = "first word of: {{ question }}\\nanswer:"
answer = "{{ reply }}"

[metric]
name = "exact_match"
max_new_tokens = 8

[default_train]
method = "full"
learning_rate = 0.003
epochs = 4
batch_size = 32
max_seq_len = 64
"""
    )
    return card
