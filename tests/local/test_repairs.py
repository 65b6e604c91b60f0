"""Repairs with real jobs on this machine: the model's answer over HTTP, the step in its sandbox, the training with peft."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.llm_server import LlmServer, Request
from tests.minds import Mind, plan
from tests.program import trex, wait_until

pytestmark = pytest.mark.local

#: Raises on one row of the source.
RAISES = (
    "def transform(row):\n    if row['row_id'].endswith(':7'):\n        raise KeyError('renamed')\n    return row\n"
)
MENDED = "def transform(row):\n    return None if row['row_id'].endswith(':7') else row\n"


def over(name: str) -> bool:
    """Whether the first round has ended."""
    time.sleep(2)  # each look is a process
    nodes = json.loads(trex("tree", name, "--json").stdout)["nodes"]
    return len(nodes) > 1 and nodes[1]["state"] != "pending"


def test_code_that_raises_on_a_row_and_a_lora_target_that_is_not_there_are_mended(tmp_path: Path, home: Path) -> None:
    """One round of both: the preparation is repaired, then the training; two servers answer, each its own agents."""
    profile = tmp_path / "mine.toml"
    profile.write_text('scheduler = "local"\nagent_code = true\nsandbox = "bwrap"\n')
    broken = plan(1e-3) | {
        "data": {"steps": [{"op": "load", "source": "curated", "limit": 40}, {"op": "python", "code": RAISES}]},
        "trials": [{"train": {"method": "lora", "lora": {"targets": ["no_such"]}, "max_steps": 2}}],
    }

    def repair(request: Request) -> dict[str, Any]:
        answer = {"analysis": "read", "reason": "the message names it", "give_up": False}
        if "the preparation of its data" in request.text:
            assert "KeyError" in request.text
            return answer | {"steps": [{"step": 2, "code": MENDED}]}
        assert "q_proj" in request.text, "the valid targets are told"
        return answer | {"train": {"lora_targets": ["q_proj", "v_proj"]}}

    mind = Mind(broken)
    executor = Mind(RepairAnswer=repair)
    with LlmServer(mind) as server, LlmServer(executor) as second:
        trex("launch", "-y", "--profile", profile, "--researcher", "llm", "--llm-model", "tiny", "--llm-base-url", server.url,
             "--llm-executor-base-url", second.url, "--llm-executor-model", "small", "--no-llm-research", "--name", "mended",
             "--max-nodes", 1, "--trials", 1, "-d")  # fmt: skip
        wait_until(lambda: over("mended"), seconds=900, what="the end of the round")
        trex("cancel", "mended")  # the repeats and the sealed test tell nothing here
    trex("db", "check", "mended")
    shown = json.loads(trex("show", 1, "mended", "--json").stdout)
    assert shown["state"] == "done", shown
    assert [(one["trial"], one["by"], one["outcome"]) for one in shown["repairs"]] == [
        (0, "model", "repaired"),
        (1, "model", "repaired"),
    ]
    assert shown["recipe"]["steps"][1]["code"] == MENDED
    trial = shown["trials"][0]
    assert trial["plan"]["train"]["lora"]["targets"] == ["q_proj", "v_proj"]
    assert trial["result"]["repairs"], "the job that trained says what had been repaired"
    assert executor.asked == {"RepairAnswer": 2}
    assert mind.asked["RepairAnswer"] == 0
    budget = trex("budget", "mended").stdout
    assert "executor" in budget
    assert "small" in budget
    agents = json.loads(trex("budget", "mended", "--json").stdout)["searches"][0]["agents"]
    assert {(one["role"], one["model"], one["calls"]) for one in agents if one["role"] == "executor"} == {
        ("executor", "small", 2)
    }
