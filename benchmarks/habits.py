"""Habits of search on a made-up response surface: all arms of `researchers.py` but one, in seconds a search instead of minutes.

    python benchmarks/habits.py [--tasks 50] [--rounds 5 8 16]

The surface (``tests/unit/agents/tree_view.py``) is a formula with noise, one made-up task a seed. It ranks habits of search, it
says nothing about real gains. Rounds of two trials cost the same here, whatever they train. Compared is the true worth of the trial that a search
would choose by its noisy scores. Its answers show no symptoms, so the arm without bad cases would be the playbook itself and is left
out. Intervals: 95 % percentile bootstrap over the tasks, of the differences paired by task.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "unit" / "agents"))

from tree_view import FakeTree, Surface, uct_parent

from benchmarks.researchers import interval, shown
from hpc_trex.agents.optuna_researchers import RandomResearcher, TpeResearcher
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.protocol import NothingToPropose, Researcher

#: The base model's worth on every surface.
BASE = 0.27


def best_first(tree: FakeTree) -> int:
    return max((node for node in tree.nodes() if node.score is not None), key=lambda node: (node.score, -node.id)).id


def last(tree: FakeTree) -> int:
    return tree.nodes()[-1].id


ARMS: dict[str, tuple[Callable[[], Researcher], Callable[[FakeTree], int], tuple[str, ...]]] = {
    "playbook": (PlaybookResearcher, uct_parent, ()),
    "playbook, without insights": (PlaybookResearcher, uct_parent, ("insights",)),
    "playbook, greedy": (PlaybookResearcher, best_first, ()),
    "playbook, sequential": (PlaybookResearcher, last, ()),
    "tpe": (TpeResearcher, uct_parent, ()),
    "random": (RandomResearcher, uct_parent, ()),
}


def worth(arm: str, task: int, rounds: int) -> float:
    """Return the true worth of what one search would choose."""
    make, parent_of, without = ARMS[arm]
    researcher, surface, rng = make(), Surface(task), random.Random(task)
    tree = FakeTree(max_nodes=rounds, without=without)
    tree.noise_sd = surface.noise
    for _ in range(rounds):
        parent = parent_of(tree)
        try:
            plan = researcher.propose(tree, parent, seed=task)
        except NothingToPropose:  # the controller asks for another parent
            parent = uct_parent(tree)
            plan = researcher.propose(tree, parent, seed=task)
        number = tree.add(parent, plan)
        tree.finish(number, [surface.measured(plan, trial, rng) for trial in plan.trials])
    best = tree.best()
    if best is None or best.plan is None or best.best_trial is None:
        return BASE
    true = surface.true(best.plan, best.plan.trials[best.best_trial - 1])
    assert isinstance(true, float), "a trial that fails has no score"
    return true


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--rounds", type=int, nargs="+", default=[5, 8, 16])
    given = parser.parse_args()
    print("| arm | " + " | ".join(f"{rounds} rounds | minus playbook's" for rounds in given.rounds) + " |")
    print("|---|" + "---:|" * (2 * len(given.rounds)))
    reference: dict[int, np.ndarray] = {}
    for arm in ARMS:
        cells = []
        for rounds in given.rounds:
            found = np.array([worth(arm, task, rounds) for task in range(given.tasks)])
            reference.setdefault(rounds, found)
            difference = "-" if arm == "playbook" else shown(interval(list(found - reference[rounds])), "+")
            cells += [f"{found.mean():.3f}", difference]
        print(f"| {arm} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
