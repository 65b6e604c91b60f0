"""Step 2 of a tick: the Researcher reads finished rounds, perhaps over several ticks; what its calls used is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from hpc_trex.agents.protocol import Sample, StillThinking
from hpc_trex.controller.context import Work
from hpc_trex.models import JobKind, NodeState, NodeView
from hpc_trex.samples import read_samples
from hpc_trex.tree.events import AgentCalled, NodeDiagnosed

SAMPLES_READ = 2000


class Reading:
    """What has been read, and what is still being read."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.unread = False
        """The Researcher still reads a round that ended."""
        self._calls = work.store.calls()
        """Names of the agents' calls that are recorded."""

    def read_rounds(self) -> None:
        """Have every round read that ended and that nobody has read."""
        self.unread = False
        for node in self.work.store.undiagnosed():
            self.diagnose(node)

    def diagnose(self, node: int) -> None:
        """Have the Researcher read a finished round."""
        view = self.work.store.node(node)
        if view.state not in (NodeState.DONE, NodeState.FAILED):
            return
        try:
            diagnosis = self.work.researcher.diagnose(self.work.view, node, self._samples(view))
        except StillThinking:
            self.unread = True
            return
        self.work.record(NodeDiagnosed(node=node, report=diagnosis.report, insights=tuple(diagnosis.insights)))
        for line in diagnosis.report.splitlines()[:2]:
            self.work.say(f"node {node} {view.state.value}: {line}")

    def book_calls(self) -> None:
        """Record what the agents' calls used, those too that an earlier controller paid and had no time to record."""
        for call in self.work.researcher.new_calls(self._calls):
            self._calls.add(call.call)
            self.work.record(
                AgentCalled(
                    call=call.call, node=call.node, role=call.role, model=call.model, usage=call.usage, error=call.error
                )
            )

    def _samples(self, view: NodeView) -> Iterator[Sample]:
        """Yield the evaluated dev rows of the round's best trial."""
        if view.best_trial is None:
            return
        trial = next(item for item in view.trials if item.trial == view.best_trial)
        if trial.result is None or trial.result.samples is None or trial.kind is JobKind.TEST:
            return
        path = Path(trial.result.samples)
        if path.exists():  # removed by a person: the round is read without its bad cases
            yield from islice(read_samples(path), SAMPLES_READ)
