"""What of an evaluation is frozen with the search, and its digest: a result that was measured otherwise is refused."""

from __future__ import annotations

from typing import Any

from hpc_trex.models import EvalSettings, MetricSpec, TaskCard, digest

#: Raised whenever the same answers would be scored otherwise (tests/unit/evaluation/test_frozen.py holds known scores).
SCORING = 1

#: Settings that decide how fast an evaluation is, never what comes out.
_FREE = {"batch_size"}


def decoding(metric: MetricSpec) -> dict[str, Any]:
    """Return lm-eval's generation arguments: greedy, and nothing of the model's own generation settings that is not."""
    return {
        "until": list(metric.stop),
        "max_gen_toks": metric.max_new_tokens,
        "do_sample": False,
        "temperature": 0.0,
        "num_beams": 1,
        "repetition_penalty": 1.0,
    }


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
