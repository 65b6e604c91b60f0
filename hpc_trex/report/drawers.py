"""The details of every round: plain data for the page's script, which writes them as text, never as markup."""

from __future__ import annotations

from typing import Any

from hpc_trex.layout import SearchPaths
from hpc_trex.models import AttemptView, JobKind, NodeView, Score, TrialView
from hpc_trex.report.cases import cases_view, read_cases
from hpc_trex.report.difference import describe_recipe, describe_train, number, plan_difference, telling
from hpc_trex.report.gather import of_attempt
from hpc_trex.report.review import review_lines
from hpc_trex.report.source import ReportSource, span

#: Up to so many jobs the log of every trial's last job is shown, beyond it only those of failed ones.
LOGGED_JOBS = 150

_NOTHING: dict[str, Any] = {"curve": [], "stdout": "", "stderr": "", "bad": []}


def node_details(search: SearchPaths, source: ReportSource) -> dict[str, dict[str, Any]]:
    """Return the drawer's content of each round by its number (as text: JSON keys are)."""
    nodes = {node.id: node for node in source.nodes}
    jobs: dict[tuple[int, int], list[AttemptView]] = {}
    for attempt in source.attempts:
        jobs.setdefault((attempt.node, attempt.trial), []).append(attempt)
    logged = len(source.attempts) <= LOGGED_JOBS
    return {
        str(node.id): _node(
            search,
            node,
            nodes.get(node.parent) if node.parent is not None else None,
            jobs,
            logged=logged,
            noise=source.status.noise_sd,
            higher=source.task.metric.higher_is_better,
        )
        for node in source.nodes
    }


def _node(
    search: SearchPaths,
    node: NodeView,
    parent: NodeView | None,
    jobs: dict[tuple[int, int], list[AttemptView]],
    *,
    logged: bool,
    noise: float | None,
    higher: bool,
) -> dict[str, Any]:
    plan = node.plan
    trials = [_trial(search, trial, jobs.get((node.id, trial.trial), []), logged=logged) for trial in node.trials]
    best = next((trial for trial in trials if trial["trial"] == node.best_trial and trial["bad"]), None)
    bad = best or next((trial for trial in trials if trial["bad"]), None)
    return {
        "id": node.id,
        "parent": node.parent,
        "state": node.state.value,
        "move": node.move,
        "score": node.score,
        "parentScore": parent.score if parent else None,
        "reward": node.reward,
        "visits": node.visits,
        "pending": node.pending,
        "hypothesis": plan.hypothesis if plan else "",
        "expected": plan.expected_effect if plan else "",
        "recipe": describe_recipe(plan.data) if plan else [],
        "changes": plan_difference(parent, node),
        "dataFrom": node.data_from,
        "report": node.report,
        "failure": node.failure.value if node.failure else None,
        "message": node.message,
        "gpuHours": node.cost_gpu_hours,
        "cpuHours": node.cost_cpu_hours,
        "best": node.best_trial,
        "struck": node.struck,
        "review": review_lines(node, parent, noise=noise, higher=higher),
        "preparation": _preparation(search, jobs.get((node.id, 0), []), logged=logged),
        "badFrom": bad["trial"] if bad else None,
        "bad": bad["bad"] if bad else [],
        "cases": cases_view(read_cases(search, node.id)),
        "trials": [{key: value for key, value in trial.items() if key != "bad"} for trial in trials],
    }


def _preparation(search: SearchPaths, attempts: list[AttemptView], *, logged: bool) -> dict[str, Any] | None:
    if not attempts:
        return None
    found = of_attempt(search, attempts[-1], with_logs=logged)
    return {"jobs": [_job(one) for one in attempts], "stdout": found["stdout"], "stderr": found["stderr"]}


def _trial(search: SearchPaths, trial: TrialView, attempts: list[AttemptView], *, logged: bool) -> dict[str, Any]:
    result = trial.result
    main = _main_score(trial)
    found = of_attempt(search, attempts[-1], with_logs=logged) if attempts else _NOTHING
    facts: dict[str, str] = {}
    if result:
        facts |= {name: number(value) for name, value in result.extra_scores.items()}
        facts |= {
            "steps": number(result.steps),
            "tokens": f"{result.tokens:,}",
            "tokens/s": number(result.tokens_per_second),
            "peak memory": f"{result.peak_memory_gb:.2f} GB" if result.peak_memory_gb else "-",
            "processes": number(result.world_size),
            "attention": result.attention or "-",
        }
        facts |= {"MFU": f"{result.mfu:.1%}"} if result.mfu else {}
    return {
        "trial": trial.trial,
        "kind": trial.kind.value,
        "state": "struck" if trial.struck else trial.state.value,
        "label": trial.plan.label if trial.plan else "",
        "seed": trial.seed,
        "replicateOf": trial.replicate_of,
        "reusedFrom": list(trial.reused_from) if trial.reused_from else None,
        "score": None if trial.struck else main.value if main else trial.score,
        "low": main.low if main else None,
        "high": main.high if main else None,
        "train": telling(trial.plan.train) if trial.plan else {},
        "settings": describe_train(trial.plan.train) if trial.plan else {},
        "mixture": {name: number(weight) for name, weight in (trial.plan.mixture or {}).items()} if trial.plan else {},
        "failure": trial.failure.value if trial.failure else None,
        "message": trial.message or (result.message if result else ""),
        "facts": {name: text for name, text in facts.items() if text not in ("-", "0", "")},
        "jobs": [_job(one) for one in attempts],
        "curve": found["curve"],
        "stdout": found["stdout"],
        "stderr": found["stderr"],
        # The sealed test's answers stay out of a page that anybody, also an agent, may read.
        "bad": [] if trial.kind is JobKind.TEST else found["bad"],
    }


def _main_score(trial: TrialView) -> Score | None:
    scores = trial.result.scores if trial.result else {}
    return scores.get("main") or scores.get("chosen")


def _job(attempt: AttemptView) -> dict[str, Any]:
    return {
        "attempt": attempt.attempt,
        "kind": attempt.kind.value,
        "id": attempt.job_id or "",
        "host": attempt.host,
        "state": attempt.state.value,
        "reason": attempt.reason,
        "time": span(attempt.seconds) if attempt.seconds else "",
        "gpus": attempt.gpus,
        "failure": attempt.failure.value if attempt.failure else None,
        "message": attempt.message,
        "step": attempt.progress_step,
    }
