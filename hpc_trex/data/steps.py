"""Run the steps of a recipe one after the other, and note what each of them did. What is cached is not run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from hpc_trex.data.cache import StepCache, joined_key, step_key
from hpc_trex.data.errors import DataProblem
from hpc_trex.data.operators import OPERATORS, SEEDED, Context, Outcome, judged
from hpc_trex.data.operators.asked import ANSWERS
from hpc_trex.data.operators.base import from_rows
from hpc_trex.data.seeds import step_seed
from hpc_trex.models import Heartbeat, JobSpec, digest
from hpc_trex.models.asking import ASKING, RowAnswer
from hpc_trex.models.operators import Format, Load, Step

if TYPE_CHECKING:
    from datasets import Dataset

Beat = Callable[[Heartbeat], None]


class State(NamedTuple):
    """The rows between two steps, and what the manifest will say of the steps so far."""

    data: Dataset
    holdout: Dataset | None = None
    ordered: bool = False
    steps: tuple[dict[str, object], ...] = ()
    key: str = ""
    """Of the rows, in the cache of steps."""
    cached: tuple[int, ...] = ()
    """Numbers of the steps that were not run because what they make was known."""


class Seen(NamedTuple):
    """One step as it has just been done, for whoever watches."""

    entry: dict[str, object]
    before: Dataset
    outcome: Outcome
    cached: bool


Watch = Callable[[Seen], None]


class Runner(NamedTuple):
    """What the steps of one recipe are run with."""

    spec: JobSpec
    style: str
    system: str
    beat: Beat
    cache: StepCache | None
    scratch: Path
    watch: Watch | None = None
    answers: Mapping[str, RowAnswer] = MappingProxyType({})

    def __call__(self, steps: Sequence[Step]) -> State:
        """Run all steps. Raises :class:`DataProblem` naming the step that cannot be run or leaves no rows."""
        state = State(from_rows([]))
        began = monotonic()
        occurrences: dict[str, int] = {}
        assert self.spec.data is not None
        for number, step in enumerate(steps, start=1):
            occurrence = occurrences[step.op] = occurrences.get(step.op, -1) + 1
            tick = _ticker(self._alive, number, len(steps), step.op, began)
            seed = step_seed(self.spec.data.seed, step.op, occurrence)
            tick("")
            state = self._step(state, number, step, self._context(seed, tick))
        return state

    def _alive(self, beat: Heartbeat) -> None:
        self.beat(beat)
        if self.cache is not None:
            self.cache.renew()

    def _context(self, seed: int, tick: Callable[[str], None]) -> Context:
        sources = {name: Path(path) for name, path in self.spec.sources.items()}
        spec = self.spec
        return Context(
            sources,
            spec.base,
            seed,
            self.style,
            self.system,
            tick,
            spec.sandbox,
            _hidden(spec),
            self.scratch,
            self.answers,
        )

    def _step(self, state: State, number: int, step: Step, context: Context) -> State:
        outcome, key, found = self._outcome(state, step, context)
        after = outcome
        if outcome.appended and len(state.data):
            from datasets import concatenate_datasets

            after = outcome._replace(data=concatenate_datasets([state.data, outcome.data]))
        new = noted(state, after, number, step.op, step.model_dump(mode="json", exclude={"op"}), context.seed)
        if self.watch is not None:
            self.watch(Seen(new.steps[-1], state.data, after, found))
        return new._replace(key=key, cached=(*state.cached, number) if found else state.cached)

    def _outcome(self, state: State, step: Step, context: Context) -> tuple[Outcome, str, bool]:
        """Return what the step makes, the key of the rows after it, and whether it was known."""
        if self.cache is None or isinstance(step, Format):
            return OPERATORS[type(step)](step, state.data, context), state.key, False
        if isinstance(step, ASKING):  # cheap where the answers are there; the rows after it hang on them
            said = OPERATORS[type(step)](step, state.data, context)
            own = digest([step.model_dump(mode="json"), str(context.seed), said.notes[ANSWERS]])
            return said, joined_key(state.key, own), False
        own = step_key(state.key, step, context, seeded=type(step) in SEEDED, judged=judged(step))
        key = joined_key(state.key, own)
        outcome = self.cache.get(own, state.data)
        if outcome is not None:
            return outcome, key, True
        outcome = OPERATORS[type(step)](step, state.data, context)
        if len(outcome.data):
            trouble = self.cache.put(own, outcome)
            if trouble:
                context.tick(trouble)
        if isinstance(step, Load):  # read from the cache at once: its file is mapped, the scratch one could go
            outcome = self.cache.get(own, state.data) or outcome
        return outcome, key, False


def noted(
    state: State, outcome: Outcome, number: int, name: str, parameters: dict[str, Any], seed: int | None
) -> State:
    """Return the state after a step. Raises :class:`DataProblem` where it left no rows."""
    entry: dict[str, object] = {
        "step": number,
        "op": name,
        "parameters": parameters,
        "seed": seed,
        "rows_in": len(state.data),
        "rows_out": len(outcome.data),
        "dropped": [drop._asdict() | {"examples": list(drop.examples)} for drop in outcome.drops],
        **({"notes": outcome.notes} if outcome.notes else {}),
    }
    if not len(outcome.data):
        reasons = "; ".join(f"{drop.reason}: {drop.rows}" for drop in outcome.drops) or "its source is empty"
        raise DataProblem(
            f"step {number} ({name}) left no rows of {len(state.data)}: {reasons}", hint="loosen or remove that step"
        )
    holdout = outcome.holdout if outcome.holdout is not None else state.holdout
    ordered = state.ordered if outcome.ordered is None else outcome.ordered
    return state._replace(data=outcome.data, holdout=holdout, ordered=ordered, steps=(*state.steps, entry))


def _hidden(spec: JobSpec) -> tuple[Path, ...]:
    """Return what code of an agent must never see; the folders above the card and the attempt are the search."""
    files = (
        spec.task_card,
        *spec.block_rows,
        *spec.sources.values(),
        *spec.answers,
        spec.attempt_dir,
        spec.cache_dir,
        spec.base.path,
    )
    return tuple(Path(path) for path in files if path)


def _ticker(beat: Beat, number: int, total: int, name: str, began: float) -> Callable[[str], None]:
    def tick(message: str) -> None:
        text = f"{name}: {message}" if message else name
        beat(Heartbeat(phase="preparing", step=number, total_steps=total, seconds=monotonic() - began, message=text))

    return tick
