"""A recipe that asks a language model, with real jobs on this machine; then the same round again, with nobody to ask."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.llm_server import LlmServer, Request
from tests.minds import Mind, plan
from tests.program import trex, wait_until

pytestmark = pytest.mark.local

STEPS = [
    {"op": "load", "source": "curated", "limit": 40},
    {"op": "generate", "instruction": "longer lists", "rows": 8},
    {"op": "judge", "instruction": "the answer is right", "rows": 60},
]


def rows(request: Request) -> list[dict[str, Any]]:
    return [json.loads(line) for line in re.findall(r'^\{"row": .*\}$', request.text, re.MULTILINE)]


def generates(request: Request) -> dict[str, Any]:
    return {"rows": [{"row": one["row"], "prompt": f"{one['prompt']} one", "answer": one["answer"]} for one in rows(request)]}  # fmt: skip


def judges(request: Request) -> dict[str, Any]:
    return {"rows": [{"row": one["row"], "reason": "read", "score": 1 + one["row"] % 5} for one in rows(request)]}


def over(name: str) -> bool:
    """Whether the first round has ended."""
    time.sleep(2)  # each look is a process
    nodes = json.loads(trex("tree", name, "--json").stdout)["nodes"]
    return len(nodes) > 1 and nodes[1]["state"] != "pending"


def test_a_round_is_prepared_with_the_models_answers_and_comes_out_the_same_again(
    tmp_path: Path, home: Path, untrained: dict[str, str]
) -> None:
    asks = plan(1e-3) | {
        "data": {"steps": STEPS},
        "trials": [{"train": {"method": "lora", "max_steps": 2}}],
    }
    mind = Mind(asks, GeneratedRows=generates, JudgedRows=judges)
    with LlmServer(mind) as server:
        trex("launch", "-y", "--model", untrained["path"], "--researcher", "llm", "--llm-model", "tiny", "--llm-base-url", server.url, "--llm-rows", 100,
             "--no-llm-research", "--no-llm-review", "--name", "asks", "--max-nodes", 1, "--trials", 1, "-d")  # fmt: skip
        wait_until(lambda: over("asks"), seconds=900, what="the end of the round")
        trex("cancel", "asks")  # the repeats and the sealed test tell nothing here
    trex("db", "check", "asks")
    shown = json.loads(trex("show", 1, "asks", "--json").stdout)
    assert shown["state"] == "done", shown
    assert (mind.asked["GeneratedRows"], mind.asked["JudgedRows"]) == (1, 5)
    folder = home / "asks" / "nodes" / "0001"
    assert len(list((folder / "trials" / "0" / "attempts").iterdir())) == 3
    log = (folder / "trials" / "0" / "attempts" / "1" / "job.out").read_text()
    assert "its answers are awaited" in log
    made = json.loads((folder / "data" / "manifest.json").read_text())
    assert [step["rows_out"] for step in made["steps"][:2]] == [40, 48]
    assert made["steps"][2]["rows_out"] < 48
    trex("reproduce", "asks", 1, "--to", tmp_path / "again", code=None)  # the server is gone
    again = json.loads((tmp_path / "again" / "data" / "manifest.json").read_text())
    assert again["sha256"] == made["sha256"]
