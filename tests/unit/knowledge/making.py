"""Searches as the knowledge base holds them, made by hand."""

from __future__ import annotations

from hpc_trex.models.knowledge import Finding, Remembered, Target, Verdict

TARGET = Target(
    task="triage", metric="accuracy", tags=("classification",), model="m/One-1B", model_digest="m1", size="1B to 4B"
)


def finding(move: str = "clean", verdict: Verdict = "gain", effect: float | None = 0.1, **more: object) -> Finding:
    scaled = {"in_noise": effect / 0.02, "share": effect / 0.5} if effect is not None else {}
    body = {"move": move, "verdict": verdict, "effect": effect, "pairs": 1, "nodes": (1, 2)} | scaled | more
    return Finding.model_validate(body)


def remembered(uid: str = "a", *findings: Finding, **more: object) -> Remembered:
    body = {
        "uid": uid,
        "name": f"search-{uid}",
        "directory": f"/searches/{uid}",
        "ended": "2026-11-25T10:00:00+00:00",
        "task": "triage",
        "task_digest": "t1",
        "metric": "accuracy",
        "tags": ("classification",),
        "model": "m/One-1B",
        "model_digest": "m1",
        "size": "1B to 4B",
        "profile": "local",
        "researcher": "playbook",
        "policy": "uct",
        "findings": findings,
    }
    return Remembered.model_validate(body | more)
