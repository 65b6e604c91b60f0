"""``hpc-trex data run`` with steps that ask a language model: over HTTP, in one process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import Result

from hpc_trex.site import site
from tests.llm_server import LlmServer, Request, Status
from tests.unit.cli.conftest import read_json

Trex = Callable[..., Result]
STEPS = [
    {"op": "load", "source": "a"},
    {"op": "generate", "instruction": "others", "rows": 12},
    {"op": "judge", "instruction": "it is right", "rows": 50},
]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    rows = [{"prompt": f"question {n}", "answer": f"answer {n}"} for n in range(12)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps({"sources": {"a": {"path": "a.jsonl"}}, "steps": STEPS}))
    return path


def mind(request: Request) -> dict[str, Any]:
    rows = [json.loads(line) for line in re.findall(r'^\{"row": .*\}$', request.text, re.MULTILINE)]
    if request.schema.startswith("Generated"):
        return {"rows": [{"row": one["row"], "prompt": f"{one['prompt']}, new", "answer": "x"} for one in rows]}
    return {"rows": [{"row": one["row"], "reason": "-", "score": 1 if one["prompt"] == "question 3, new" else 4} for one in rows]}  # fmt: skip


def words(server: LlmServer, *more: object) -> tuple[object, ...]:
    return ("--llm-model", "tiny", "--llm-base-url", server.url, *more)


def test_rows_are_written_and_judged_and_a_second_run_asks_nobody(trex: Trex, recipe: Path) -> None:
    with LlmServer(mind) as server:
        result = trex("data", "run", recipe, *words(server, "--out", "kept"))
        assert result.exit_code == 0, result.output
        assert len(server.requests) == 2 + 3
        again = trex("data", "run", recipe, *words(server))
        assert len(server.requests) == 5
    steps = [line.split()[:4] for line in result.stdout.splitlines() if re.match(r" *\d+  [a-z]+ .* in ", line)]
    assert [step[:2] for step in steps] == [["1", "load"], ["2", "generate"], ["3", "judge"], ["4", "decontaminate"]]
    assert "23 rows to train on" in result.stdout
    assert "23 rows to train on" in again.stdout
    assert "tiny answered for 24 of 24 rows" in result.stderr
    seen = read_json(trex("data", "show", "kept", "--json"))
    made = seen["manifest"]["answers"]  # type: ignore[index]
    assert [one["rows"] for one in made] == [12, 24]  # type: ignore[union-attr]
    assert all(Path(one["path"]).is_file() for one in made)  # type: ignore[union-attr]


def test_what_was_paid_before_the_server_went_away_is_not_paid_again(trex: Trex, recipe: Path) -> None:
    with LlmServer(mind) as server:
        server.script = [mind, mind, mind, Status(503, "down", {"Retry-After": "9999"})]
        away = trex("data", "run", recipe, *words(server))
        assert away.exit_code == 8
        assert "HTTP 503" in away.stderr
        server.script = [mind]
        before = len(server.requests)
        assert trex("data", "run", recipe, *words(server)).exit_code == 0
        assert len(server.requests) - before == 2, "of three batches to judge one was answered"


def test_a_cap_ends_the_run_and_more_of_it_goes_on(trex: Trex, recipe: Path) -> None:
    with LlmServer(mind) as server:
        capped = trex("data", "run", recipe, *words(server, "--llm-tokens", 200))
        assert (capped.exit_code, "200 tokens" in capped.stderr) == (7, True)
        asked = len(server.requests)
        assert asked == 2, "the first step was paid for"
        assert trex("data", "run", recipe, *words(server, "--llm-tokens", 5000)).exit_code == 0
        assert len(server.requests) == 5


def test_other_words_of_the_prompt_ask_anew(
    trex: Trex, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was recorded by hand was found under its rows alone: a prompt that was mended changed nothing."""
    with LlmServer(mind) as server:
        assert trex("data", "run", recipe, *words(server)).exit_code == 0
        own = tmp_path / "site" / "agents" / "data.md"
        own.parent.mkdir(parents=True)
        own.write_text(site("agents", "data.md").read_text().replace("harm", "great harm"))
        monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path / "site"))
        assert trex("data", "run", recipe, *words(server)).exit_code == 0
        assert len(server.requests) == 5 + 5


def test_without_a_model_or_a_server_one_line_says_so(trex: Trex, recipe: Path) -> None:
    none = trex("data", "run", recipe)
    assert none.exit_code == 2
    assert none.stderr.splitlines()[-2:] == [
        "error: generate asks the language model about 12 rows",
        "hint: name it: --llm-model NAME --llm-base-url URL",
    ]
    half = trex("data", "run", recipe, "--llm-base-url", "http://127.0.0.1:9/v1")
    assert (half.exit_code, "--llm-base-url needs a model" in half.stderr) == (2, True)
    far = trex("data", "run", recipe, "--llm-model", "m", "--llm-base-url", "https://llm.invalid/v1")
    assert (far.exit_code, "needs a key" in far.stderr) == (4, True)
    assert trex("data", "run", recipe, "--llm-model", "m", "--llm-money", "1").exit_code == 2
