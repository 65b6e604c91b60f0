"""Minds for the model server: they answer each of the agents' questions by its schema, and remember what was asked."""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import Any

from tests.llm_server import Request

BRIEF = {
    "analysis": "the base model guesses",
    "asked": "one label",
    "lacking": "the rule",
    "metric": "exact answers",
    "data": "curated is clean, web is noise",
    "priorities": ["train at all", "drop noise"],
}
DIRECTION = {"analysis": "nothing was trained", "direction": "a larger learning rate", "kind": "training"}
DIAGNOSIS = {
    "analysis": "better than its parent",
    "groups": [{"cause": "mixes up two labels", "kind": "knowledge", "share": 0.25}],
    "moved": "fewer invalid answers",
    "report": "the larger rate helped",
    "insights": [{"text": "a larger learning rate helps", "nodes": [1, 99], "kind": "learning rate"}],
}
REVIEW = {"analysis": "sound", "reasons": [], "accept": True}


def plan(rate: float, *, source: str = "curated", trials: int = 1, **more: Any) -> dict[str, Any]:
    """A plan that the rules accept: one source, LoRA, its learning rate."""
    return {
        "analysis": "a probe",
        "hypothesis": f"a learning rate of {rate:g} is better",
        "expected_effect": "a higher score",
        "move": "llm:rate",
        "data": {"steps": [{"op": "load", "source": source}]},
        "trials": [
            {"train": {"learning_rate": rate * (1 + number)}, "label": f"lr {number}"} for number in range(trials)
        ],
    } | more


class Mind:
    """Answers as a sensible model would; ``plans`` are given in their order, then new rates for ever.

    ``asked`` counts the questions by schema. Thread-safe, as the server is.
    """

    def __init__(self, *plans: Any, **answers: Any) -> None:
        self.plans = list(plans)
        self.answers = {
            "Brief": BRIEF, "Direction": DIRECTION, "DiagnosisAnswer": DIAGNOSIS, "ReviewAnswer": REVIEW,
        } | answers  # fmt: skip
        self.asked: Counter[str] = Counter()
        self.texts: dict[str, list[str]] = {}
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Any:
        kind = re.sub(r"[^A-Za-z]", "", request.schema)
        with self.lock:
            self.asked[kind] += 1
            self.texts.setdefault(kind, []).append(request.text)
            if kind == "PlanAnswer":
                return self.plans.pop(0) if self.plans else plan(1e-4 * 1.1 ** self.asked[kind])
            answer = self.answers[kind]
            return answer(request) if callable(answer) else answer
