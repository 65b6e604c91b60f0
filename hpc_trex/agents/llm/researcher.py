"""The Researcher with a language model: a brief, then for each round a direction, a plan, a review; then its diagnosis.

Every question has a name that follows from the tree alone (``node-0007/plan-1``), and its answer is on disk before it is
used. So a controller that died goes on where it was, and pays for no answer twice; and a search is replayed by copying
another's answers. Questions are asked in threads beside the jobs: ``propose`` and ``diagnose`` never wait.

What the model cannot do, the rules do: a plan that is refused three times is replaced by the playbook's, and the rules'
reading of a round stands above the model's in every report.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel

from hpc_trex.agents.llm import people
from hpc_trex.agents.llm.answers import (
    Brief,
    Direction,
    PlanAnswer,
    ReviewAnswer,
    brief_text,
    direction_text,
    to_plan,
)
from hpc_trex.agents.llm.asking import RESEARCHER, REVIEWER, Questions
from hpc_trex.agents.llm.client import LlmClient
from hpc_trex.agents.llm.context import (
    Message,
    design_messages,
    review_messages,
    revise_messages,
)
from hpc_trex.agents.llm.errors import LlmBadAnswer
from hpc_trex.agents.llm.evidence import Evidence, part
from hpc_trex.agents.llm.executor import AsksForRepairs
from hpc_trex.agents.llm.fit import Part
from hpc_trex.agents.llm.keys import read_key, served_key
from hpc_trex.agents.llm.ledger import Ledger
from hpc_trex.agents.llm.reading import ReadsRounds, brief_name
from hpc_trex.agents.llm.row_asking import AsksAboutRows
from hpc_trex.agents.llm.served import Served
from hpc_trex.agents.playbook import PlaybookResearcher
from hpc_trex.agents.protocol import AwaitsApproval, Diagnosis, Sample, StillThinking, TreeView
from hpc_trex.agents.reviewer import review
from hpc_trex.errors import CredentialsMissing, TrexError, UsageProblem
from hpc_trex.files import write_atomic
from hpc_trex.layout import SearchPaths
from hpc_trex.models import LlmCall, NodeState, RoundPlan, SearchConfig

M = TypeVar("M", bound=BaseModel)

#: A plan may be revised so often; then the playbook's is taken.
REVISIONS = 2


class LlmResearcher(AsksForRepairs, AsksAboutRows, ReadsRounds):
    """``llm``. Implements :class:`hpc_trex.agents.protocol.Researcher`.

    Raises :class:`CredentialsMissing` for a key file that cannot be used.
    """

    name = "llm"
    listens = True

    def __init__(self, config: SearchConfig, paths: SearchPaths, *, client: LlmClient | None = None) -> None:
        if config.llm is None:
            raise UsageProblem("the Researcher llm has no language model", hint="hpc-trex launch --llm-model NAME")
        self.settings = config.llm
        self.ledger = Ledger(paths.llm)
        self._no_key: TrexError | None = None
        asked = client or LlmClient(config.llm, self.ledger, key=self._key(paths))
        self.questions = Questions(config.llm, asked, self.ledger)
        self.rules = PlaybookResearcher()
        self._read: dict[int, tuple[Diagnosis, list[Sample]]] = {}
        """What the rules say of rounds that the model still reads, with their bad cases."""
        self._evidence = Evidence(paths.llm / "research.txt")
        self._trouble: Exception | None = None
        """Why there is no brief yet."""
        self._books = {}
        self._given_up: dict[int, str] = {}
        """Rounds that the playbook designs, and why the model does not."""

    def _key(self, paths: SearchPaths) -> str | None:
        """Return the key; one that cannot be read is told when it is needed: a cancel or an answer to a gate needs none."""
        try:
            return (served_key(paths) if self.settings.served else None) or read_key(self.settings)
        except TrexError as error:
            self._no_key = error
        except OSError as error:
            self._no_key = CredentialsMissing(
                f"the key cannot be read: {error}", hint="only its owner may ask this server"
            )
        return None

    # ---- designing ------------------------------------------------------------------------------------------------

    @property
    def thinking(self) -> bool:
        """Whether a question is under way, or an answer is there that nobody has fetched."""
        return self.questions.open or self._evidence.under_way

    @property
    def server(self) -> Served | None:
        """The job of the search that serves the model, where one does; the controller sets it."""
        return self.questions.server

    @server.setter
    def server(self, served: Served | None) -> None:
        self.questions.server = served

    def begun(self, view: TreeView) -> int | None:
        """Return the parent of the next round, where its design has begun."""
        try:
            return int(self._begun_file(len(view.nodes())).read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def propose(self, view: TreeView, parent: int, *, seed: int) -> RoundPlan:
        """Return the next child of ``parent``. See the protocol for what it raises meanwhile."""
        node = len(view.nodes())
        self._wait_for_reading(view, parent)
        if self.begun(view) is None:
            file = self._begun_file(node)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, f"{parent}\n")
        if node not in self._given_up:
            try:
                return self._designed(view, parent, node)
            except LlmBadAnswer as error:
                self._given_up[node] = error.message
        return self._by_rules(view, parent, seed, self._given_up[node])

    def _wait_for_reading(self, view: TreeView, parent: int) -> None:
        """Raise StillThinking while the parent is being read: its diagnosis is what the design rests on."""
        state = view.node(parent).state
        if state in (NodeState.DONE, NodeState.FAILED) and not view.node(parent).report:
            if self._trouble is not None:
                raise self._trouble
            raise StillThinking

    def _begun_file(self, node: int) -> Any:
        return self.ledger.folder / f"node-{node:04d}" / "begun.txt"

    def _designed(self, view: TreeView, parent: int, node: int) -> RoundPlan:
        budget = self.settings.context_tokens
        brief = self._brief(view)
        found = self._evidence_on(view)
        notes = people.notes_of(view)
        direction, again = self._direction(view, parent, node, brief, found, notes)

        def asks_plan() -> list[Message]:
            return design_messages(
                view,
                parent,
                settings_budget=budget,
                stage="plan",
                brief=brief,
                direction=direction,
                extra=found,
                notes=notes,
            )

        refusals: list[str] = []
        asks: Callable[[], list[Message]] = asks_plan
        for number in range(1, REVISIONS + 2):
            name = f"{again}{number}"
            answer = self._answer(node, f"plan-{name}", RESEARCHER, PlanAnswer, asks)
            plan = to_plan(answer)
            plan = plan if plan.move else plan.model_copy(update={"move": "llm"})
            refusals = self._refusals(view, parent, node, name, plan)
            if not refusals:
                return plan
            asks = self._asks_again(node, name, answer, refusals)
        raise LlmBadAnswer(f"{REVISIONS + 1} plans in a row were refused, the last one because: {'; '.join(refusals)}")

    def _evidence_on(self, view: TreeView) -> list[Part]:
        """Return what literature and data sources say. Raises StillThinking while they are asked."""
        brief = self._recorded_brief(view)
        if brief is None or not self.settings.research or not brief.queries:
            return []
        text = self._evidence.text(brief.queries, view.task, view.config.profile)
        if text is None:
            raise StillThinking
        return part(text)

    def _direction(
        self, view: TreeView, parent: int, node: int, brief: str, found: list[Part], notes: list[str]
    ) -> tuple[str, str]:
        """Return the direction of a round, and how the names of its plans begin: ``2-`` where a person rejected the first.

        Raises AwaitsApproval while a person has not approved it.
        """

        def asks() -> list[Message]:
            budget = self.settings.context_tokens
            return design_messages(
                view,
                parent,
                settings_budget=budget,
                stage="direction",
                brief=brief,
                direction=None,
                extra=found,
                notes=notes,
            )

        asked = people.directions(view, node)
        rejected = sum(1 for gate in asked if gate.approved is False)
        again = f"{rejected + 1}-" if rejected else ""
        name = f"direction-{rejected + 1}" if rejected else "direction"
        text = direction_text(self._answer(node, name, RESEARCHER, Direction, asks))
        if "strategy" in view.config.approve and not (asked and asked[-1].approved):
            raise AwaitsApproval(text)
        return text, again

    def _asks_again(
        self, node: int, number: str, answer: PlanAnswer, refusals: list[str]
    ) -> Callable[[], list[Message]]:
        def asks() -> list[Message]:
            earlier = self.ledger.find(f"node-{node:04d}/plan-{number}")
            messages = list(earlier.messages) if earlier else []
            return revise_messages(messages, answer.model_dump_json(), refusals)

        return asks

    def _refusals(self, view: TreeView, parent: int, node: int, number: str, plan: RoundPlan) -> list[str]:
        """Return why a plan cannot be run: by a person, by the rules, then by the Reviewer's second opinion."""
        if said := people.refusal(view, node, plan):
            return [said]
        refusals = review(plan, view)  # first: only a valid plan has an identity
        if refusals:
            return refusals
        if view.is_known(plan):
            return ["every trial of this plan has been run, or a person rejected it: change what is trained or on what"]
        if not self.settings.review:
            return []

        asks = partial(review_messages, view, parent, plan, budget=self.settings.context_tokens)
        try:
            opinion = self._answer(node, f"review-{number}", REVIEWER, ReviewAnswer, asks)
        except LlmBadAnswer:  # the rules have accepted it
            return []
        return [] if opinion.accept else list(opinion.reasons)

    def _by_rules(self, view: TreeView, parent: int, seed: int, why: str) -> RoundPlan:
        plan = self.rules.propose(view, parent, seed=seed)
        said = f"(The playbook's round; the language model gave no usable plan: {why[:600]}) {plan.hypothesis}"
        plan = plan.model_copy(update={"hypothesis": said[:4000]})
        if "strategy" in view.config.approve:  # nobody has approved this one
            raise AwaitsApproval(plan.hypothesis, plan)
        return plan

    def _brief(self, view: TreeView) -> str:
        brief = self._recorded_brief(view)
        return brief_text(brief) if brief is not None else ""

    def _recorded_brief(self, view: TreeView) -> Brief | None:
        try:
            return self.questions.recorded(f"node-0000/{brief_name(view)}", Brief)
        except LlmBadAnswer:  # of an earlier version of this program
            return None

    # ---- asking ---------------------------------------------------------------------------------------------------

    def _answer(
        self, node: int, name: str, role: str, answer: type[M], messages: Callable[[], Sequence[dict[str, Any]]]
    ) -> M:
        """Return the recorded answer to a question, or begin to ask it. Raises StillThinking meanwhile."""
        if self._no_key is not None and self.questions.recorded(f"node-{node:04d}/{name}", answer) is None:
            raise self._no_key
        return self.questions.answer(node, name, role, answer, messages)

    @property
    def asking(self) -> bool:
        """Whether somebody is being asked just now: the answer would be lost with this process."""
        return self.questions.asking or self._evidence.asking

    def close(self) -> None:
        """End the questions under way; what is not on disk yet is asked again by the next controller."""
        self.questions.close()

    def wait(self, seconds: float) -> None:
        """Sleep so long, or until an answer has come in."""
        if self.questions.asking or not self._evidence.under_way:
            self.questions.wait(seconds)
        else:
            self._evidence.wait(seconds)

    def new_calls(self, known: Container[str]) -> list[LlmCall]:
        """Return the calls that came to an end and whose names are not known; a failed one is named as its file."""
        return self.questions.new_calls(known)
