"""Hand-made searches for the report's tests: records as the store gives them, and files as jobs leave them."""

import math
import random

from hpc_trex.files import write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import (
    AttemptState,
    AttemptView,
    BestView,
    Budget,
    CostView,
    FailureClass,
    Insight,
    JobKind,
    JobResult,
    LossPoint,
    NodeState,
    NodeView,
    Profile,
    Reference,
    RoundPlan,
    Score,
    SearchConfig,
    SearchState,
    Source,
    StatusView,
    TaskCard,
    TrainConfig,
    TrialPlan,
    TrialState,
    TrialView,
)
from hpc_trex.report.html import ReportSource
from hpc_trex.samples import EvaluatedRow, write_samples

MOVES = ["probe:learning-rate-up", "probe:dedup", "probe:filter-conflicts", "probe:lora-rank", "probe:mix-curated",
         "combine:winners", "bandit:epochs", "bandit:learning-rate", "crossover"]  # fmt: skip
STEPS = [
    {"op": "dedup"},
    {"op": "filter_conflicts"},
    {"op": "filter_loss", "drop_fraction": 0.25},
    {"op": "mix", "weights": {"curated": 2, "crowd": 1}},
    {"op": "filter_length", "max_chars": 200},
]


def task(**fields):
    return TaskCard(
        **{
            "name": "tickets",
            "title": "Support tickets",
            "description": "Sort a short message into one of six queues; the crowd's labels are noisy.",
            "licence": "Apache-2.0",
            "sources": {"curated": Source(path="a.jsonl"), "crowd": Source(path="b.jsonl")},
            "dev": Source(path="d.jsonl"),
            "test": Source(path="t.jsonl"),
            "references": (Reference(name="majority class", score=0.21), Reference(name="rules", score=0.66)),
        }
        | fields
    )


def config(**fields):
    return SearchConfig(
        **{
            "name": "tickets-demo",
            "task": "tickets",
            "model": "builtin:qwen3-tiny",
            "profile": Profile(name="local"),
            "budget": Budget(max_nodes=40, cpu_hours=2),
        }
        | fields
    )


def plan(number, *, steps=2, lr=1e-3, trials=2):
    chosen = [STEPS[(number + i) % len(STEPS)] for i in range(steps)]
    return RoundPlan.model_validate(
        {
            "hypothesis": f"Round {number}: rows with conflicting answers teach noise; without them the loss floor falls.",
            "expected_effect": "Two to four points on dev, most of it from the rare queues.",
            "move": MOVES[number % len(MOVES)],
            "data": {"steps": [{"op": "load", "source": "curated"}, {"op": "load", "source": "crowd"}, *chosen]},
            "trials": [
                {"train": {"learning_rate": lr * 3**i, "epochs": 2 + i}, "label": f"lr x{3**i}"} for i in range(trials)
            ],
        }
    )


def score(value, n=200):
    half = 1.96 * math.sqrt(max(value * (1 - value), 1e-4) / n)
    return Score(metric="accuracy", value=value, low=max(0, value - half), high=min(1, value + half), n=n)


def result(value, seed):
    curve = tuple(
        LossPoint(step=i + 1, loss=2.2 * math.exp(-i / 40) + 0.3 + 0.06 * math.sin(i * seed), lr=1e-3, tokens=i * 900)
        for i in range(120)
    )
    return JobResult(
        token=f"t{seed}", state="succeeded", scores={"main": score(value)}, curve=curve, steps=120, tokens=108_000,
        extra_scores={"unparsable": 0.02, "truncated": 0.0, "holdout_loss": 0.41}, tokens_per_second=4180.0,
        peak_memory_gb=0.62, attention="sdpa", seconds=31, host="cn07", job_id=str(4000 + seed),
        versions={"torch": "2.13.0", "transformers": "5.23.0", "lm_eval": "0.4.13"},
    )  # fmt: skip


def attempt(node, trial, state=AttemptState.SUCCEEDED, *, number=1, **fields):
    kind = fields.pop("kind", JobKind.TRAIN if node else JobKind.BASELINE)
    return AttemptView(
        node=node, trial=trial, attempt=number, kind=kind, token=f"x-{node}-{trial}-{number}", state=state,
        job_id=str(4000 + node * 10 + trial), host="cn07", seconds=31 + node % 7, cpu_seconds=30,
        directory=f"nodes/{node:04d}/trials/{trial}/attempts/{number}", **fields,
    )  # fmt: skip


def leave_files(search: SearchPaths, view: AttemptView, done: JobResult | None, *, out="", err="", rows=()):
    """Write what a job leaves in its folder."""
    paths = search.attempt(view.node, view.trial, view.attempt)
    paths.root.mkdir(parents=True, exist_ok=True)
    if done:
        write_record(paths.result, done)
    paths.stdout.write_text(out)
    paths.stderr.write_text(err)
    if rows:
        write_samples(paths.samples, rows)


BAD = [
    EvaluatedRow("dev:3", "My invoice from March shows the old address.", "shipping", "billing", 0.0, ("other_label",)),
    EvaluatedRow("dev:9", "App closes when I open the camera tab", "bug report please", "bug", 0.0, ("unparsable",)),
    EvaluatedRow("dev:10", "Thanks!", "other", "other", 1.0, ()),
]


def grown(search: SearchPaths, count: int, *, seed: int = 5, trials: int = 2, done: bool = True) -> ReportSource:
    """Return a search of ``count`` rounds beside the baseline, of all states, with the files of its jobs."""
    rng = random.Random(seed)
    nodes, attempts = [_baseline(search)], [attempt(0, 1)]
    for number in range(1, count + 1):
        parent = rng.choice([node for node in nodes if node.state is NodeState.DONE][-12:] + nodes[:1])
        node, jobs = _round(search, number, parent, rng, trials)
        nodes.append(node)
        attempts += jobs
    nodes = [node.model_copy(update={"children": tuple(n.id for n in nodes if n.parent == node.id)}) for node in nodes]
    return _source(nodes, attempts, done=done)


def _baseline(search):
    leave_files(search, attempt(0, 1), result(0.41, 1), out="evaluating 200 rows\n", rows=BAD)
    trial = TrialView(node=0, trial=1, state=TrialState.DONE, kind=JobKind.BASELINE, score=0.41, result=result(0.41, 1))
    return NodeView(id=0, parent=None, depth=0, state=NodeState.DONE, score=0.41, best_trial=1, reward=0.0, visits=9,
                    trials=(trial,), cost_cpu_hours=0.004, report="The base model answers with the most frequent queue.")  # fmt: skip


def _round(search, number, parent, rng, trials):
    dice = rng.random()
    state = NodeState.DONE if dice < 0.8 else NodeState.FAILED if dice < 0.9 else NodeState.PENDING
    state = NodeState.CANCELLED if dice > 0.97 else state
    made = plan(number, lr=rng.choice([3e-4, 1e-3, 3e-3]), trials=trials)
    value = min(0.97, max(0.1, parent.score + rng.gauss(0.025, 0.06)))
    views, jobs = [], []
    for index, planned in enumerate(made.trials, start=1):
        own = max(0.02, value - 0.03 * (index - 1))
        if state is NodeState.DONE:
            job, done = attempt(number, index), result(own, number + index)
            leave_files(search, job, done, out=f"step {number}\n", err="", rows=BAD if index == 1 else ())
            views.append(TrialView(node=number, trial=index, state=TrialState.DONE, kind=JobKind.TRAIN, plan=planned,
                                   score=own, result=done.model_copy(update={"curve": ()})))  # fmt: skip
        elif state is NodeState.FAILED:
            failure = rng.choice([FailureClass.DIVERGED, FailureClass.OOM, FailureClass.NODE_FAIL])
            job = attempt(number, index, AttemptState.FAILED, failure=failure, message="loss is nan at step 14")
            leave_files(search, job, None, err="Traceback (most recent call last):\n  ...\nFloatingPointError: nan\n")
            views.append(TrialView(node=number, trial=index, state=TrialState.FAILED, kind=JobKind.TRAIN, plan=planned,
                                   failure=failure, message="loss is nan at step 14"))  # fmt: skip
        else:
            waits = AttemptState.QUEUED
            job = attempt(number, index, waits, reason="Resources")
            views.append(TrialView(node=number, trial=index, state=TrialState.ACTIVE, kind=JobKind.TRAIN, plan=planned))
        jobs.append(job)
    scored = state is NodeState.DONE
    return NodeView(
        id=number, parent=parent.id, depth=parent.depth + 1, state=state, plan=made, move=made.move,
        score=value if scored else None, best_trial=1 if scored else None, reward=0.5 if scored else None,
        visits=1 + number % 4, pending=int(state is NodeState.PENDING), trials=tuple(views), cost_cpu_hours=0.018,
        failure=FailureClass.DIVERGED if state is NodeState.FAILED else None,
        message="every trial failed" if state is NodeState.FAILED else "",
        report="Errors left: 61 % confuse billing with shipping." if scored else "", data_from=number,
    ), jobs  # fmt: skip


def _source(nodes, attempts, *, done):
    best = max((node for node in nodes if node.score is not None), key=lambda node: node.score)
    base = BestView(node=0, trial=1, dev=0.41, dev_low=0.343, dev_high=0.478, test=score(0.395, 400) if done else None)
    own = score(best.score)
    top = BestView(
        node=best.id, trial=1, dev=best.score, dev_seeds=3, dev_low=own.low, dev_high=own.high,
        gain=best.score - 0.41, test=score(best.score - 0.02, 400) if done else None,
    )  # fmt: skip
    difference = Score(
        metric="accuracy", value=best.score - 0.415, low=best.score - 0.47, high=best.score - 0.36, n=400
    )
    states = [node.state.value for node in nodes]
    kinds = [trial.state.value for node in nodes for trial in node.trials]
    status = StatusView(
        search="tickets-demo", directory="searches/tickets-demo", task="tickets", model="builtin:qwen3-tiny",
        state=SearchState.DONE if done else SearchState.RUNNING, baseline=base, best=top, chosen=top if done else None,
        nodes={state: states.count(state) for state in dict.fromkeys(states)},
        trials={state: kinds.count(state) for state in dict.fromkeys(kinds)},
        test_difference=difference if done else None, noise_sd=0.0083, max_nodes=40,
        cost=CostView(cpu_hours=sum(node.cost_cpu_hours for node in nodes)),
        running=tuple(one for one in attempts if one.state is AttemptState.QUEUED),
    )  # fmt: skip
    insights = [
        Insight(text="Rows with conflicting answers cost about four points; dropping them helped in every round.",
                nodes=(best.id,), kind="data"),
        Insight(text="Learning rates above 0.005 diverge with this model.", nodes=(1, min(2, len(nodes) - 1)), kind="train"),
    ]  # fmt: skip
    return ReportSource(status, nodes, insights, attempts, task(), config())


def bare(state=SearchState.RUNNING) -> ReportSource:
    """Return a search whose baseline has only been designed."""
    root = NodeView(id=0, parent=None, depth=0, state=NodeState.PENDING, pending=1)
    status = StatusView(search="new", directory="searches/new", task="tickets", model="builtin:x", state=state,
                        nodes={"pending": 1}, max_nodes=8)  # fmt: skip
    return ReportSource(status, [root], [], [], task(references=()), config(name="new"))


__all__ = ["TrainConfig", "TrialPlan", "attempt", "bare", "config", "grown", "leave_files", "plan", "result", "task"]
