"""The whole loop as a user types it: an LLM Researcher over HTTP, jobs on a real Slurm that do no work."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from hpc_trex.models import DataRecipe, TrainConfig
from tests.llm_server import LlmServer, Raw, Request, Status
from tests.minds import Mind, plan
from tests.noop import noop_profile
from tests.noop.sweeps import written
from tests.program import assert_whole, start, status, trex, wait_until

pytestmark = pytest.mark.cluster
PATIENCE = 300.0
KEY = "sk-planted-0123456789abcdef"


def launch(
    folder: Path, server: LlmServer, *more: object, code: int | None = 0, **profile: object
) -> subprocess.CompletedProcess[str]:
    given = written(folder, noop_profile(poll_seconds=0.2, **profile))
    return trex(
        "launch", "-y", "--profile", given, "--researcher", "llm", "--llm-model", "tiny", "--llm-base-url", server.url,
        "--trials", 1, "--parallel", 4, "--name", "asked", *more, code=code, timeout=300,
    )  # fmt: skip


def test_a_search_is_launched_shown_and_replayed_and_its_key_is_nowhere(testcluster, tmp_path, home, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    mind = Mind()
    with LlmServer(mind, key=KEY) as server:
        done = launch(tmp_path, server, "--max-nodes", 2, "--llm-price-in", 1, "--llm-price-out", 2)
    assert_whole(home / "asked")
    assert status(home / "asked")["cost"]["tokens"] > 0
    text = trex("show", 1, "asked", "--reasoning").stdout
    for words in ("node-0001/plan-1", "tokens", "a learning rate of", "--- system", "one label"):
        assert words in text
    calls = json.loads(trex("show", 1, "asked", "--json").stdout)["calls"]
    assert {call["role"] for call in calls} == {"researcher", "reviewer"}
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if KEY.encode() in path.read_bytes()], "the key was written"
    assert KEY not in done.stdout + done.stderr
    profile = tmp_path / "noop.toml"
    monkeypatch.delenv("OPENAI_API_KEY")
    trex("launch", "-y", "--profile", profile, "--researcher", "llm", "--llm-model", "tiny", "--llm-base-url",
         "http://127.0.0.1:9/v1", "--trials", 1, "--max-nodes", 2, "--parallel", 4, "--replay", "asked", "--name", "again")  # fmt: skip
    trees = [json.loads(trex("tree", name, "--json").stdout)["nodes"] for name in ("asked", "again")]
    first, second = ([(node["parent"], node["hypothesis"]) for node in tree] for tree in trees)
    assert first == second


FORBIDDEN = [
    plan(1e-4, source="../sealed/test.jsonl"),
    plan(1e-4, source="test"),
    plan(1e-4, trials=5),
    plan(1e-4) | {"trials": [{"train": {"learning_rate": 1e-4}}] * 50},
    plan(1e-4) | {"data": {"steps": [{"op": "load", "source": "curated", "path": "/etc/passwd"}]}},
    plan(1e-4) | {"base_model": "other/weights"},
    plan(5.0),
    {"nothing": "at all"},
]


def test_what_is_out_of_reach_stays_so_whatever_the_model_asks_for(testcluster, tmp_path, home):
    """The test split, a path, other weights, fifty trials, a rate out of range: refused, told, and the search goes on."""
    mind = Mind(*FORBIDDEN)
    with LlmServer(mind) as server:
        launch(tmp_path, server, "--max-nodes", 2)
    assert_whole(home / "asked")
    tree = json.loads(trex("tree", "asked", "--json").stdout)["nodes"]
    assert len(tree) == 3
    for number in (1, 2):
        steps = json.loads(trex("show", number, "asked", "--json").stdout)["recipe"]["steps"]
        assert {step["source"] for step in steps if step["op"] == "load"} <= {"curated", "crowd", "web"}


def anything(draw: random.Random) -> dict:
    """A plan that the schema allows, drawn at random from its whole range."""
    steps: list[dict] = [
        {"op": "load", "source": name} for name in draw.sample(["curated", "crowd", "web"], draw.randint(1, 3))
    ]
    more = [
        {"op": "dedup"},
        {"op": "filter_length", "min_chars": draw.randint(0, 400), "max_chars": draw.choice([None, 5, 5000])},
        {"op": "filter_regex", "pattern": draw.choice(["a", "(", "[0-9]+$", "."]), "keep": draw.random() < 0.5},
        {"op": "sample", "fraction": draw.uniform(0.001, 1)},
        {"op": "mix", "weights": {draw.choice(["curated", "web", "no-such"]): draw.random() + 0.1}},
        {"op": "filter_similar", "reference": draw.choice(["curated", "web"]), "min_similarity": draw.random()},
        {"op": "filter_loss", "drop_fraction": draw.uniform(0.01, 0.99)},
        {"op": "split", "holdout_fraction": draw.uniform(0.01, 0.49)},
        {"op": "order", "by": "length"},
        {"op": "format", "style": draw.choice(["plain", "chat"])},
    ]
    steps += draw.sample(more, draw.randint(0, 5))
    train = {
        "method": draw.choice(["full", "lora"]),
        "lora": {"rank": draw.choice([1, 16, 1024]), "targets": draw.choice([["all-linear"], ["no_such_module"]])},
        "learning_rate": 10 ** draw.uniform(-8, 0),
        "epochs": 10 ** draw.uniform(-3, 2),
        "batch_size": draw.choice([1, 7, 65536]),
        "micro_batch_size": draw.choice([None, 1, 100_000]),
        "max_seq_len": draw.choice([8, 512, 1_048_576]),
        "warmup_ratio": draw.uniform(0, 0.5),
        "precision": draw.choice(["auto", "fp32", "bf16"]),
    }
    made = plan(1e-4) | {"data": {"steps": steps, "seed": draw.randint(0, 99)}, "trials": [{"train": train}]}
    TrainConfig.model_validate(train)
    return made


def test_a_model_that_answers_at_random_within_the_schema_ends_cleanly(testcluster, tmp_path, home):
    draw, sent = random.Random(4), []

    def answer(request: Request) -> dict:
        while True:
            made = anything(draw)
            try:
                DataRecipe.model_validate(made["data"])
            except ValueError:
                continue
            sent.append(made)
            return made

    mind = Mind()
    mind.plans = Endless(answer)
    with LlmServer(mind) as server:
        launch(tmp_path, server, "--max-nodes", 6, "--no-llm-review")
    assert_whole(home / "asked")
    assert len(sent) >= 6


class Endless(list):
    """Plans without end."""

    def __init__(self, make) -> None:
        super().__init__([None])
        self.make = make

    def pop(self, index: int = -1) -> dict:
        return self.make(None)


@pytest.mark.parametrize(
    ("behaviour", "code", "said"),
    [
        (Status(401, "invalid key"), 4, "key"),
        (Status(429, "slow down", {"Retry-After": "3600"}), 8, "no round can be designed"),
        (Raw("<html>please log in</html>", "text/html"), 8, ""),
    ],
)
def test_an_endpoint_that_does_not_work_pauses_the_search_with_its_documented_code(
    testcluster, tmp_path, home, behaviour, code, said
):
    with LlmServer(behaviour) as server:
        done = launch(tmp_path, server, "--max-nodes", 1, code=code)
    assert said in done.stdout + done.stderr
    assert status(home / "asked")["state"] == "paused"


def test_a_controller_that_is_killed_while_the_model_thinks_pays_no_recorded_answer_twice(testcluster, tmp_path, home):
    """The model has given a direction and thinks about the plan; the controller is killed over that, and another goes on."""
    mind, killed = Mind(), threading.Event()

    def thinks(request: Request) -> object:
        if "Plan" in request.schema:
            killed.wait(PATIENCE)
        return mind(request)

    log = tmp_path / "log"
    with LlmServer(thinks) as server:
        given = written(tmp_path, noop_profile(poll_seconds=0.2))
        words = ("launch", "-y", "--profile", given, "--researcher", "llm", "--llm-model", "tiny", "--llm-base-url",
                 server.url, "--trials", 1, "--max-nodes", 2, "--parallel", 4, "--name", "asked")  # fmt: skip
        process = start(*words, log=log)
        folder = home / "asked" / "llm"
        wait_until((folder / "node-0001" / "direction.json").exists, seconds=PATIENCE, what="a direction")
        process.kill()
        process.wait()
        asked = Counter(mind.asked)
        killed.set()
        trex("resume", "asked", timeout=PATIENCE)
    assert mind.asked["Brief"] == asked["Brief"] == 1
    assert mind.asked["Direction"] == 2, "a recorded answer was paid again"
    assert_whole(home / "asked")
    assert os.path.getsize(log) > 0  # noqa: PTH202
