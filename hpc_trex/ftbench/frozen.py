"""What of an evaluation is frozen with the search, and its digest: a result that was measured otherwise is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpc_trex.models import EvalSettings, MetricSpec, TaskCard, digest

#: Raised whenever the same answers would be scored otherwise (tests/unit/evaluation/test_frozen.py holds known scores).
SCORING = 1

#: Settings that decide how fast an evaluation is, or where, never what comes out.
_FREE = {"batch_size", "scoring"}

#: Longest answer, in tokens, of a task of lm-eval that names none: as in lm-eval itself.
LM_EVAL_TOKENS = 256


def greedy(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's ``generation_kwargs`` made greedy: nothing of the model's own generation settings that is not."""
    until = settings.get("until", ["\n\n"])
    return {
        "until": [until] if isinstance(until, str) else list(until),
        "max_gen_toks": int(settings.get("max_gen_toks") or LM_EVAL_TOKENS),
        "do_sample": False,
        "temperature": 0.0,
        "num_beams": 1,
        "repetition_penalty": 1.0,
    }


def decoding(metric: MetricSpec) -> dict[str, Any]:
    """Return lm-eval's generation arguments of a card."""
    return greedy({"until": list(metric.stop), "max_gen_toks": metric.max_new_tokens})


def eval_digest(card: TaskCard, settings: EvalSettings) -> str:
    """Return the SHA-256 over prompt, decoding, metric, interval and the version of the scoring.

    Values that are a field's default are left out, so that a later version with one more field gives the same digest.
    """
    return digest(
        {
            "scoring": SCORING,
            "prompt": card.prompt.model_dump(mode="json", exclude_defaults=True),
            "metric": card.metric.model_dump(mode="json", exclude_defaults=True),
            "decoding": decoding(card.metric) if card.metric.mode == "generate" else {},
            "settings": settings.model_dump(mode="json", exclude_defaults=True, exclude=_FREE),
        }
    )
