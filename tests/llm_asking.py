"""Ask a server of :mod:`tests.llm_server` one question, quickly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hpc_trex.agents.llm.client import Answer, LlmClient, Question
from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.agents.llm.patience import Pace
from hpc_trex.models import LlmSettings
from hpc_trex.models.base import Record

#: Retries without waiting, a breaker that hardly ever opens.
QUICK = Pace(tries=3, first_pause=0.01, longest_pause=0.02, longest_retry_after=0.5, breaker_failures=99)
KEY = "sk-secret-0123456789"


class Direction(Record):
    """A small answer."""

    why: str = ""
    direction: Literal["data", "training"]
    trials: int = Field(ge=1, le=5)


GOOD = {"why": "few rows", "direction": "data", "trials": 2}


def client(folder: Path, url: str, *, key: str | None = KEY, pace: Pace = QUICK, **settings: Any) -> LlmClient:
    """Return a client whose ledger stands in ``folder``."""
    chosen = LlmSettings(**({"model": "tiny", "base_url": url, "deadline_seconds": 5} | settings))
    return LlmClient(chosen, Ledger(folder / "llm"), key=key, pace=pace)


def question(call: str = "node-0001/plan-1", text: str = "Where next?") -> Question:
    """Return a question."""
    system = {"role": "system", "content": "You design training runs."}
    return Question(call, "researcher", 1, [system, {"role": "user", "content": text}])


def ask(asked: LlmClient, call: str = "node-0001/plan-1") -> Answer[Direction]:
    """Ask for a direction."""
    return asked.ask(question(call), Direction)
