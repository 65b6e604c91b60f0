"""An in-memory tree with the face of TreeView, and a made-up response surface that scores its trials.

The real store is tested elsewhere; here only what a Researcher can see matters. The surface is synthetic: it ranks
habits of search, it says nothing about real gains. Its effects and noise follow notes on small real trainings: data
moves weigh most, the learning rate has an optimum and a cliff, epochs saturate, wrong answers are learned by heart.
"""

from __future__ import annotations

import math
import random

from hpc_trex.agents.protocol import MoveOutcome
from hpc_trex.models import (
    FailureClass,
    Insight,
    JobKind,
    JobResult,
    MetricSpec,
    NodeState,
    NodeView,
    Profile,
    ResearcherSettings,
    RoundPlan,
    Score,
    SearchConfig,
    Source,
    TaskCard,
    TrialPlan,
    TrialState,
    TrialView,
    trial_identity,
)
from hpc_trex.models.search import Budget

CURATED = Source(generator="toy", part="curated", rows=60, trusted=True)
CROWD = Source(generator="toy", part="crowd", rows=1200)
HELD = Source(generator="toy", part="dev", rows=200)
DEFAULT_TRAIN = {"learning_rate": 1e-3, "epochs": 3.0, "batch_size": 32, "max_seq_len": 128}


def card(*, trusted: bool = True, higher: bool = True, default_train: dict[str, object] | None = None) -> TaskCard:
    sources = {"curated": CURATED, "crowd": CROWD} if trusted else {"crowd": CROWD}
    return TaskCard(
        name="toy",
        sources=sources,
        dev=HELD,
        test=HELD,
        metric=MetricSpec(higher_is_better=higher),
        default_train=DEFAULT_TRAIN if default_train is None else default_train,
    )


class FakeTree:
    """Holds NodeViews; grows by ``add`` (pending) and ``finish``."""

    def __init__(
        self, task: TaskCard | None = None, *, trials: int = 2, max_nodes: int = 8, without: tuple[str, ...] = ()
    ) -> None:
        self.task = task or card()
        self.config = SearchConfig(
            name="fake",
            task="toy",
            model="builtin:toy",
            profile=Profile(name="local"),
            budget=Budget(max_nodes=max_nodes),
            researcher=ResearcherSettings(trials=trials, without=without),
        )
        self.source_rows = {name: source.rows or 0 for name, source in self.task.sources.items()}
        self.noise_sd: float | None = None
        self.lessons: list[Insight] = []
        self._nodes: dict[int, NodeView] = {}
        self._known: set[str] = set()
        self.baseline(0.27)

    def baseline(self, score: float) -> None:
        trial = TrialView(node=0, trial=1, state=TrialState.DONE, kind=JobKind.BASELINE, score=score)
        root = NodeView(id=0, parent=None, depth=0, state=NodeState.DONE, score=score, best_trial=1, trials=(trial,))
        self._nodes[0] = root

    def add(self, parent: int, plan: RoundPlan) -> int:
        number = len(self._nodes)
        self._known.update(self.identities(plan))
        above = self._nodes[parent]
        trials = tuple(
            TrialView(node=number, trial=index, state=TrialState.ACTIVE, kind=JobKind.TRAIN, plan=trial)
            for index, trial in enumerate(plan.trials, start=1)
        )
        self._nodes[number] = NodeView(
            id=number,
            parent=parent,
            depth=above.depth + 1,
            state=NodeState.PENDING,
            plan=plan,
            move=plan.move,
            trials=trials,
        )
        self._nodes[parent] = above.model_copy(update={"children": (*above.children, number)})
        return number

    def finish(
        self,
        number: int,
        outcomes: list[float | FailureClass],
        *,
        extra: dict[str, float] | None = None,
    ) -> None:
        node = self._nodes[number]
        trials = []
        for trial, outcome in zip(node.trials, outcomes, strict=True):
            if isinstance(outcome, FailureClass):
                update = {"state": TrialState.FAILED, "failure": outcome}
            else:
                main = Score(metric="exact_match", value=outcome, low=outcome - 0.06, high=outcome + 0.06, n=200)
                result = JobResult(token="t", state="succeeded", scores={"main": main}, extra_scores=extra or {})
                update = {"state": TrialState.DONE, "score": outcome, "result": result}
            trials.append(trial.model_copy(update=update))
        sign = 1 if self.task.metric.higher_is_better else -1
        done = [trial for trial in trials if trial.score is not None]
        best = max(done, key=lambda trial: sign * trial.score, default=None)
        update = {"trials": tuple(trials), "state": NodeState.DONE if best else NodeState.FAILED}
        if best:
            update |= {"score": best.score, "best_trial": best.trial}
        else:
            update |= {"failure": trials[0].failure}
        self._nodes[number] = node.model_copy(update=update)

    def node(self, node: int) -> NodeView:
        return self._nodes[node]

    def nodes(self) -> list[NodeView]:
        return list(self._nodes.values())

    def path(self, node: int) -> list[NodeView]:
        this = self._nodes[node]
        return [*(self.path(this.parent) if this.parent is not None else []), this]

    def children(self, node: int) -> list[NodeView]:
        return [self._nodes[child] for child in self._nodes[node].children]

    def siblings(self, node: int) -> list[NodeView]:
        parent = self._nodes[node].parent
        return [] if parent is None else [child for child in self.children(parent) if child.id != node]

    def key_nodes(self, count: int = 6) -> list[NodeView]:
        return [node for node in self.nodes() if node.score is not None][:count]

    def insights(self) -> list[Insight]:
        return list(self.lessons)

    def moves(self) -> list[MoveOutcome]:
        found = []
        for node in self.nodes()[1:]:
            above = self._nodes[node.parent].score
            gain = None if node.score is None or above is None else node.score - above
            found.append(MoveOutcome(node.move, node.id, node.parent, gain, node.state is NodeState.PENDING))
        return found

    def best(self) -> NodeView | None:
        sign = 1 if self.task.metric.higher_is_better else -1
        scored = [node for node in self.nodes() if node.score is not None]
        return max(scored, key=lambda node: sign * node.score, default=None)

    def identities(self, plan: RoundPlan) -> list[str]:
        return [trial_identity(plan.data, trial, base="b", task="t") for trial in plan.trials]

    def is_known(self, plan: RoundPlan) -> bool:
        return set(self.identities(plan)) <= self._known


class Surface:
    """One made-up task: what a plan is truly worth, and what a noisy measurement of it gives."""

    def __init__(self, seed: int, *, noise: float = 0.02) -> None:
        rng = random.Random(seed)
        self.noise = noise
        self.best_lr = 1e-3 * 10 ** rng.uniform(-0.3, 0.9)
        self.cliff = self.best_lr * 10 ** rng.uniform(0.6, 1.0)
        self.clean = rng.uniform(0.0, 0.08)
        self.wrong = rng.uniform(0.05, 0.2)
        self.full = rng.uniform(-0.05, 0.05)
        self.hunger = rng.uniform(2.0, 8.0)
        self.small = {name: rng.uniform(-0.01, 0.01) for name in ("conflicts", "rank", "schedule", "order", "sample")}

    def true(self, plan: RoundPlan, trial: TrialPlan) -> float | FailureClass:
        train = trial.train
        rate = train.learning_rate * (3 if train.method == "full" else 1)
        if rate > self.cliff:
            return FailureClass.DIVERGED
        ops = {step.op: step for step in plan.data.steps}
        names = {step.source for step in plan.data.steps if step.op == "load"}
        if "crowd" not in names:
            return 0.35 + 0.05 * min(1.0, train.epochs / 20)
        clean = self.clean * (0.35 * ("dedup" in ops) + 0.65 * ("filter_similar" in ops))
        wrong = 0.0
        if "filter_loss" in ops:
            right = math.exp(-(((ops["filter_loss"].drop_fraction - 0.33) / 0.2) ** 2))
            wrong = self.wrong * right * (1.0 if "filter_similar" in ops else 0.4)
        steps = train.epochs * (32 / train.batch_size) ** 0.5
        learned = 1 - math.exp(-steps / self.hunger)
        tuned = math.exp(-((math.log10(rate / self.best_lr) / 0.8) ** 2))
        value = 0.27 + (0.25 + clean + wrong) * (0.3 + 0.7 * learned) * (0.4 + 0.6 * tuned)
        value += self.full * (train.method == "full")
        value += self.small["conflicts"] * ("filter_conflicts" in ops) + self.small["order"] * ("order" in ops)
        value += self.small["rank"] * math.log2(train.lora.rank / 16) - 0.05 * ("sample" in ops)
        value += self.small["schedule"] * (train.schedule != "cosine")
        return value

    def measured(self, plan: RoundPlan, trial: TrialPlan, rng: random.Random) -> float | FailureClass:
        value = self.true(plan, trial)
        return value if isinstance(value, FailureClass) else value + rng.gauss(0, self.noise)


def uct_parent(tree: FakeTree, c: float = 0.5) -> int:
    """The house's selection, in short: over all nodes with a score, pending children counted as visits."""
    scored = {node.id: node for node in tree.nodes() if node.score is not None}
    low, high = min(n.score for n in scored.values()), max(n.score for n in scored.values())
    span = (high - low) or 1.0

    def subtree(number: int) -> list[NodeView]:
        found = [tree.node(number)]
        for child in tree.node(number).children:
            found += subtree(child)
        return found

    total = len(tree.nodes())
    ranked = []
    for number, node in scored.items():
        below = subtree(number)
        rewards = [(n.score - low) / span for n in below if n.score is not None]
        if len(node.children) < math.ceil(2 * len(below) ** 0.5):
            value = sum(rewards) / len(rewards) + c * math.sqrt(math.log(total + 1) / len(below))
            ranked.append((value, -number))
    return -max(ranked)[1]


def search(
    researcher, surface: Surface, *, rounds: int, seed: int, trials: int = 2, without: tuple[str, ...] = ()
) -> tuple[FakeTree, float]:
    """Run a whole search; return the tree and the true worth of the trial with the best measured score."""
    tree = FakeTree(trials=trials, max_nodes=rounds, without=without)
    tree.noise_sd = surface.noise
    rng = random.Random(seed)
    for _ in range(rounds):
        parent = uct_parent(tree)
        plan = researcher.propose(tree, parent, seed=seed)
        number = tree.add(parent, plan)
        tree.finish(number, [surface.measured(plan, trial, rng) for trial in plan.trials])
    best = tree.best()
    if best is None or best.plan is None:
        return tree, 0.27
    worth = surface.true(best.plan, best.plan.trials[best.best_trial - 1])
    assert isinstance(worth, float)
    return tree, worth
