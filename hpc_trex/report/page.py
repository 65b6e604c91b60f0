"""The parts of the page that stand in it as text: heading, comparison, budget, progress, tables."""

from __future__ import annotations

from typing import Any

from hpc_trex.models import FATES, AttemptView, BestView, FailureClass, JobKind, NodeView, Score, TrialView
from hpc_trex.report.agents import spent_words
from hpc_trex.report.charts import axis, best_so_far, staircase
from hpc_trex.report.difference import describe_recipe, telling
from hpc_trex.report.gates import person_words
from hpc_trex.report.openings import again_words
from hpc_trex.report.source import ReportSource, hours, interval, points, signed, signed_interval, span


def heading(source: ReportSource) -> dict[str, Any]:
    """Return the large figures: the gain on dev, and the sealed test's answer once there is one."""
    status = source.status
    top = status.chosen or status.best
    gain = top.gain if top and top.node else None  # of node 0, the baseline, there is none
    test = status.test_difference
    return {
        "gain": signed(gain) if gain is not None else "",
        "better": _is_better(gain, test, higher_is_better=source.task.metric.higher_is_better),
        "top": top,
        "chosen": status.chosen is not None,
        "dev": points(top.dev if top else None),
        "base": points(status.baseline.dev if status.baseline else None),
        "how": _how(source, top),
        "test": test,
        "testText": f"{signed(test.value)} {signed_interval(test)}" if test else "",
        "verdict": _verdict(test, source) if test else "",
    }


def _is_better(gain: float | None, test: Score | None, *, higher_is_better: bool) -> bool:
    """Tell whether the page may look pleased: the sealed test decides once it is there, before that the gain on dev
    (positive where the round is better, whatever the metric's direction).
    """
    if test is not None:
        return test.low > 0 if higher_is_better else test.high < 0
    return gain is not None and gain > 0


def _how(source: ReportSource, top: BestView | None) -> list[tuple[str, str]]:
    """Return what the best round does, in two or three short lines: move, data, training."""
    node = next((node for node in source.nodes if top and node.id == top.node), None)
    if top is None or node is None or node.plan is None:
        return []
    planned = {trial.trial: trial.plan for trial in node.trials}.get(top.trial) or node.plan.trials[0]
    settings = ", ".join(f"{name} {text}" for name, text in telling(planned.train).items())
    lines = [("move", node.move or node.plan.move), ("data", " → ".join(describe_recipe(node.plan.data)))]
    return [(name, text) for name, text in [*lines, ("training", settings)] if text]


def _verdict(test: Score, source: ReportSource) -> str:
    again = again_words(source.status.test_openings)
    if test.low <= 0 <= test.high:
        return f"The interval contains 0: no difference is shown. {again}".strip()
    better = (test.value > 0) == source.task.metric.higher_is_better
    what = f"The interval excludes 0: the chosen model is {'better' if better else 'worse'} than the baseline."
    return f"{what} {again}".strip()


def comparison(source: ReportSource) -> dict[str, Any]:
    """Return the rows of the comparison drawing: baseline, best and references on one axis, intervals as bars."""
    status = source.status
    rows: list[dict[str, Any]] = []
    top = status.chosen or status.best
    for split in ("dev", "test"):
        for label, view, kind in (("baseline", status.baseline, "base"), (_top_name(source), top, "top")):
            known = view is not None and (view.test is not None or split == "dev")
            if view is None or not known or (kind == "top" and status.baseline and view.node == status.baseline.node):
                continue
            value, low, high = _bounds(view, split)
            rows.append(
                {"label": f"{split} · {label}", "value": value, "low": low, "high": high, "kind": kind, "title": ""}
            )
    rows += [
        {"label": reference.name, "value": reference.score, "low": None, "high": None, "kind": "reference", "title": reference.source}
        for reference in source.task.references
    ]  # fmt: skip
    values = [row[key] for row in rows for key in ("value", "low", "high") if row[key] is not None]
    scale = axis(values, 212, 484)
    for line, row in enumerate(rows):
        row["y"] = 14 + line * 24
        row["x"] = scale.at(row["value"])
        row["x1"], row["x2"] = (None, None) if row["low"] is None else (scale.at(row["low"]), scale.at(row["high"]))
        row["text"] = points(row["value"])
        row["range"] = interval(row["low"], row["high"])
    return {"rows": rows, "ticks": scale.ticks(6), "height": 14 + len(rows) * 24 + 14}


def _top_name(source: ReportSource) -> str:
    top = source.status.chosen or source.status.best
    word = "chosen" if source.status.chosen else "best"
    seeds = f" ({top.dev_seeds} seeds)" if top and top.dev_seeds > 1 else ""
    return f"{word} #{top.node}{seeds}" if top else word


def _bounds(view: BestView, split: str) -> tuple[float, float | None, float | None]:
    if split == "test" and view.test is not None:
        return view.test.value, view.test.low, view.test.high
    return view.dev, view.dev_low, view.dev_high


def budget(source: ReportSource) -> list[dict[str, Any]]:
    """Return the bars of what was used of what was allowed; without a cap only the figure."""
    cost, caps = source.status.cost, source.config.budget
    rounds = sum(node.parent is not None for node in source.nodes)
    bars = [_bar("rounds", rounds, caps.max_nodes, f"{rounds} of {caps.max_nodes}")]
    for name, used, cap in (
        ("GPU time", cost.gpu_hours, caps.gpu_hours),
        ("CPU time", cost.cpu_hours, caps.cpu_hours),
    ):
        if used or cap:
            bars.append(_bar(name, used, cap, f"{hours(used)} of {cap:g} h" if cap else hours(used)))
    if cost.tokens:
        bars.append(_bar("LLM tokens", cost.tokens, None, f"{cost.tokens:,}"))
    if cost.money:
        bars.append(_bar("LLM cost", cost.money, None, f"{cost.money:.2f}"))
    bars += [_bar(f"{one.role}, {one.model}", one.calls, None, spent_words(one)) for one in source.agents]
    person = source.status.person
    if words := person_words(person):
        bars.append(_bar("a person", person.seconds, None, words.removeprefix("a person: ")))
    return bars


def _bar(name: str, used: float, cap: float | None, text: str) -> dict[str, Any]:
    return {"name": name, "text": text, "percent": round(min(100.0, 100 * used / cap), 1) if cap else None}


def progress(source: ReportSource) -> dict[str, Any]:
    """Return the drawing of scores against what they cost: GPU-hours if any were used, else CPU-hours, else rounds."""
    unit, costs = _costs(source.nodes)
    scored = [(node, costs[node.id], node.score) for node in source.nodes if node.score is not None]
    end = max(costs.values(), default=0.0)
    references = [(reference.name, reference.score) for reference in source.task.references]
    x = axis([0.0, end] if end else [0.0, 1.0], 46, 500, pad=0.02, floor=0.0)
    y = axis([*(score for *_, score in scored), *(score for _, score in references)], 196, 12)
    steps = best_so_far(
        [(cost, score) for _, cost, score in scored], higher_is_better=source.task.metric.higher_is_better
    )
    return {
        "unit": unit,
        "line": staircase(steps, end, x, y),
        "dots": [
            {"id": node.id, "x": x.at(cost), "y": y.at(score), "text": points(score)} for node, cost, score in scored
        ],
        "references": [{"name": name, "y": y.at(score), "text": points(score)} for name, score in references],
        "baseline": next((y.at(score) for node, _, score in scored if node.parent is None), None),
        "x": x.ticks(6),
        "y": y.ticks(5),
    }


def _costs(nodes: list[NodeView]) -> tuple[str, dict[int, float]]:
    """Return the unit and what the search had used when each round was done, rounds taken in the order of design."""
    gpu = sum(node.cost_gpu_hours for node in nodes)
    cpu = sum(node.cost_cpu_hours for node in nodes)
    small = (gpu or cpu) < 0.2
    unit = f"{'GPU' if gpu else 'CPU'}-{'minutes' if small else 'hours'}" if gpu or cpu else "rounds"
    costs, total = {}, 0.0
    for position, node in enumerate(nodes):
        own = node.cost_gpu_hours if gpu else node.cost_cpu_hours
        total = total + own * (60 if small else 1) if gpu or cpu else float(position)
        costs[node.id] = total
    return unit, costs


def trial_rows(source: ReportSource) -> list[dict[str, Any]]:
    """Return one row for each trial; ``sort`` values stand beside the texts."""
    jobs: dict[tuple[int, int], list[AttemptView]] = {}
    for attempt in source.attempts:
        jobs.setdefault((attempt.node, attempt.trial), []).append(attempt)
    base = source.status.baseline.dev if source.status.baseline else None
    sign = 1 if source.task.metric.higher_is_better else -1
    return [
        _trial_row(node, trial, jobs.get((node.id, trial.trial), []), base, sign)
        for node in source.nodes
        for trial in node.trials
    ]


def _trial_row(
    node: NodeView, trial: TrialView, jobs: list[AttemptView], base: float | None, sign: int
) -> dict[str, Any]:
    train = trial.plan.train if trial.plan else None
    scores = trial.result.scores if trial.result else {}
    main = scores.get("main") or scores.get("chosen")
    score = None if trial.struck else main.value if main else trial.score
    sealed = trial.kind is JobKind.TEST
    compared = not sealed and node.parent is not None
    gain = sign * (score - base) if score is not None and base is not None and compared else None
    seconds = sum(job.seconds for job in jobs)
    what = "sealed test" if sealed else (trial.plan.label if trial.plan and trial.plan.label else node.move)
    if trial.replicate_of is not None:
        what = f"{what} (seed {trial.seed})".strip()
    return {
        "node": node.id,
        "trial": trial.trial,
        "what": what or ("baseline" if node.parent is None else ""),
        "method": train.method if train else "",
        "lr": train.learning_rate if train else None,
        "epochs": train.epochs if train else None,
        "batch": train.batch_size if train else None,
        "score": score,
        "scoreText": points(score),
        "range": interval(main.low, main.high) if main else "",
        "gain": gain,
        "gainText": signed(gain) if gain is not None else "",
        "state": "struck" if trial.struck else trial.state.value,
        "failure": trial.failure.value if trial.failure else "",
        "seconds": seconds,
        "time": span(seconds) if seconds else "",
        "attempts": len(jobs),
        "host": jobs[-1].host if jobs else "",
        "best": node.best_trial == trial.trial,
    }


def failures(source: ReportSource) -> list[dict[str, Any]]:
    """Return the failed jobs by class, the most frequent first, with what the search does about each class."""
    groups: dict[Any, list[AttemptView]] = {}
    for attempt in source.attempts:
        if attempt.failure not in (None, FailureClass.ASKS):  # questions are no failure
            groups.setdefault(attempt.failure, []).append(attempt)
    table = []
    for failure, attempts in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0].value)):
        fate = FATES[failure]
        again = fate.change or "tried again"
        mended = "changed where a rule or the Executor's model knows how" if fate.repairs else "not tried again"
        follows = again if fate.retries else mended
        table.append(
            {
                "name": failure.value,
                "count": len(attempts),
                "charged": "the round's" if fate.charged else "the machine's",
                "follows": follows,
                "nodes": sorted({attempt.node for attempt in attempts}),
                "message": next((attempt.message for attempt in attempts if attempt.message), ""),
            }
        )
    return table


def versions(source: ReportSource) -> dict[str, str]:
    """Return the versions of what trained and evaluated, from the newest result that names them."""
    for node in reversed(source.nodes):
        for trial in reversed(node.trials):
            if trial.result and trial.result.versions:
                return dict(sorted(trial.result.versions.items()))
    return {}
