"""The Researcher with a language model as a reader: its brief from the baseline, its diagnosis of each finished round.

The rules read every round too: their report stands above the model's, and alone where the model cannot be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel

from hpc_trex.agents.llm import people
from hpc_trex.agents.llm.answers import Brief, DiagnosisAnswer, brief_text, to_insights
from hpc_trex.agents.llm.asking import RESEARCHER
from hpc_trex.agents.llm.context import brief_messages, diagnosis_messages
from hpc_trex.agents.llm.errors import LlmBadAnswer, LlmBudgetReached
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.protocol import Diagnosis, Sample, StillThinking, TreeView
from hpc_trex.errors import TrexError
from hpc_trex.models import LlmSettings, digest
from hpc_trex.models.cases import CaseReport

M = TypeVar("M", bound=BaseModel)


class ReadsRounds:
    """The part of the Researcher ``llm`` that stands behind :meth:`hpc_trex.agents.protocol.Researcher.diagnose`."""

    settings: LlmSettings
    rules: PlaybookResearcher
    _read: dict[int, tuple[Diagnosis, list[Sample]]]
    _trouble: Exception | None

    def _answer(
        self, node: int, name: str, role: str, answer: type[M], messages: Callable[[], Sequence[dict[str, Any]]]
    ) -> M:
        raise NotImplementedError

    def diagnose(
        self, view: TreeView, node: int, samples: Iterable[Sample], cases: CaseReport | None = None
    ) -> Diagnosis:
        """Read a finished round: the model's report, then the rules'; insights of both."""
        if node not in self._read:
            rows = list(samples)
            self._read[node] = self.rules.diagnose(view, node, rows, cases), rows
        rules, rows = self._read[node]
        try:
            said = self._brief_of(view, rules, rows) if node == 0 else self._reading(view, node, rules, rows, cases)
        except (LlmBadAnswer, LlmBudgetReached) as error:
            said = self._without(rules, error.message)
        except TrexError as error:
            if node == 0 and view.config.budget.max_nodes:
                self._trouble = error  # nothing is designed without a brief: the search pauses
                raise StillThinking from error
            said = self._without(rules, error.message)
        self._trouble = None
        del self._read[node]
        # What is claimed of moves is counted now: other rounds may have come in while the model was reading.
        return said._replace(insights=[*self.rules.claims(view), *said.insights])

    def _brief_of(self, view: TreeView, rules: Diagnosis, rows: list[Sample]) -> Diagnosis:
        budget = self.settings.context_tokens
        asks = partial(brief_messages, view, rows, budget=budget, notes=people.notes_of(view))
        brief = self._answer(0, brief_name(view), RESEARCHER, Brief, asks)
        return Diagnosis(f"{rules.report}\n\nBrief\n{brief_text(brief)}", [])

    def _reading(
        self, view: TreeView, node: int, rules: Diagnosis, rows: list[Sample], cases: CaseReport | None
    ) -> Diagnosis:
        budget = self.settings.context_tokens
        asks = partial(diagnosis_messages, view, node, rows, budget=budget, rule_report=rules.report, cases=cases)
        # A round that was opened again by a person is read again: its trials stand in other states then.
        # Repeats that were planned since change nothing of what is read.
        trials = [trial for trial in view.node(node).trials if trial.replicate_of is None]
        outcome = digest({str(trial.trial): trial.state.value for trial in trials})[:6]
        answer = self._answer(node, f"diagnosis-{outcome}", RESEARCHER, DiagnosisAnswer, asks)
        groups = [f"- {group.kind} {group.share:.0%}: {group.cause}" for group in answer.groups]
        report = "\n".join([rules.report, "", "Diagnosis", answer.report, f"Moved: {answer.moved}", *groups])
        told = to_insights(answer, node, {one.id for one in view.nodes()})
        return Diagnosis(report, [] if "insights" in view.config.researcher.without else told)

    def _without(self, rules: Diagnosis, why: str) -> Diagnosis:
        return Diagnosis(f"{rules.report}\nRead by the rules alone: {why}", [])


def brief_name(view: TreeView) -> str:
    """Return the name of the question for the brief: another one after a person has rejected the last."""
    rejected = people.briefs_rejected(view)
    return f"brief-{rejected + 1}" if rejected else "brief"
