"""Step 2 of a tick: the Researcher reads finished rounds, perhaps over several ticks; what its calls used is recorded."""

from __future__ import annotations

from hpc_trex.agents.protocol import StillThinking
from hpc_trex.controller.cases import make_cases, samples_of
from hpc_trex.controller.context import Work
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.models import NodeState, NodeView
from hpc_trex.models.cases import CaseReport
from hpc_trex.tree.events import AgentCalled, NodeDiagnosed

#: The reading of a task whose pool is empty.
NOTHING_TO_TRAIN_ON = "Evaluated only: the task has no training rows."


class Reading:
    """What has been read, and what is still being read."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.unread = False
        """The Researcher still reads a round that ended."""
        self._calls = work.store.calls()
        """Names of the agents' calls that are recorded."""
        self._cases: dict[int, CaseReport | None] = {}
        """Of rounds that are still being read."""

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
        if not self.work.view.task.sources:  # only evaluated: there is no plan that a Researcher could start from
            self.work.record(NodeDiagnosed(node=node, report=NOTHING_TO_TRAIN_ON, insights=()))
            return
        if node not in self._cases:
            self._cases[node] = self._read_cases(view)
        samples = samples_of(self.work, view) if self._cases[node] is not None else iter(())
        try:
            diagnosis = self.work.researcher.diagnose(self.work.view, node, samples, self._cases[node])
        except StillThinking:
            self.unread = True
            return
        del self._cases[node]
        self.work.record(NodeDiagnosed(node=node, report=diagnosis.report, insights=tuple(diagnosis.insights)))
        for line in diagnosis.report.splitlines()[:2]:
            self.work.say(f"node {node} {view.state.value}: {line}")

    def _read_cases(self, view: NodeView) -> CaseReport | None:
        """Return a round's bad cases; None where it left no rows, and, with a note, where they cannot be read any more."""
        try:
            return make_cases(self.work, view)
        except EnvironmentProblem as problem:
            # A restored round may stand on such a file. To raise would be to raise at each tick.
            self.work.note(f"node {view.id} is read without its bad cases: {problem.message}", view.id)
            return None

    def book_calls(self) -> None:
        """Record what the agents' calls used, those too that an earlier controller paid and had no time to record."""
        for call in self.work.researcher.new_calls(self._calls):
            self._calls.add(call.call)
            self.work.record(
                AgentCalled(
                    call=call.call, node=call.node, role=call.role, model=call.model, usage=call.usage, error=call.error
                )
            )
