"""Run a round's data recipe and write the training set that its trials share.

``<data_dir>/rows`` (and ``holdout`` where the recipe splits) are Hugging Face data sets on disk with the columns
``row_id, source, prompt, answer``, the last two as the model's final text. ``manifest.json`` says where every row came
from and went. The folder appears whole, by a rename: a job that is killed leaves nothing half.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.manifest import Finished, read_manifest, write_set
from hpc_trex.data.seeds import step_seed
from hpc_trex.models import Heartbeat, JobSpec, TaskCard
from hpc_trex.models.operators import Format, Step

if TYPE_CHECKING:
    from datasets import Dataset

    from hpc_trex.data.operators import Outcome

Beat = Callable[[Heartbeat], None]


class State(NamedTuple):
    """The rows between two steps, and what the manifest will say of the steps so far."""

    data: Dataset
    holdout: Dataset | None = None
    ordered: bool = False
    steps: tuple[dict[str, object], ...] = ()


def prepare(spec: JobSpec, beat: Beat) -> dict[str, object]:
    """Run ``spec.data`` on ``spec.sources``, write ``spec.data_dir`` and return its manifest.

    A finished set of the same recipe is left as it is, and its manifest returned. Raises :class:`DataProblem` for a
    recipe that cannot be run or leaves no rows, naming the step.
    """
    assert spec.data is not None, "a prepare job has a recipe"
    assert spec.data_dir is not None, "a prepare job has a data_dir"
    recipe = spec.data.resolved()
    done = read_manifest(Path(spec.data_dir), recipe)
    if done is not None:
        return done
    import datasets

    datasets.disable_progress_bars()
    card = _card(spec)
    style = final_style(spec)
    state = _run_steps(spec, recipe.steps, style, card.prompt.system, beat)
    state = _decontaminated(state, spec)
    final = _formatted(state, spec, style, card.prompt.system)
    finished = Finished(final.data, final.holdout, final.ordered, style, final.steps, card.licence)
    return write_set(spec, recipe, finished)


def final_style(spec: JobSpec) -> str:
    """Return the style of the last format step; without one ``chat`` if the base's tokenizer has a template."""
    from hpc_trex.data.formatting import has_chat_template

    given = [step.style for step in spec.data.steps if isinstance(step, Format)] if spec.data else []
    return given[-1] if given else ("chat" if has_chat_template(Path(spec.base.path)) else "plain")


def _card(spec: JobSpec) -> TaskCard:
    from hpc_trex.files import read_record

    card = read_record(Path(spec.task_card), TaskCard)
    if card is None:
        raise DataProblem(f"no valid task card at {spec.task_card}", hint="start the search anew")
    return card


def _run_steps(spec: JobSpec, steps: tuple[Step, ...], style: str, system: str, beat: Beat) -> State:
    from hpc_trex.data.operators import OPERATORS, Context
    from hpc_trex.data.operators.base import from_rows

    assert spec.data is not None
    sources = {name: Path(path) for name, path in spec.sources.items()}
    state = State(from_rows([]))
    began = monotonic()
    occurrences: dict[str, int] = {}
    for number, step in enumerate(steps, start=1):
        occurrence = occurrences[step.op] = occurrences.get(step.op, -1) + 1
        tick = _ticker(beat, number, len(steps), step.op, began)
        seed = step_seed(spec.data.seed, step.op, occurrence)
        tick("")
        context = Context(sources, spec.base, seed, style, system, tick, spec.sandbox, _hidden(spec))
        outcome = OPERATORS[type(step)](step, state.data, context)
        state = _after(state, outcome, number, step.op, step.model_dump(mode="json", exclude={"op"}), seed)
    return state


def _hidden(spec: JobSpec) -> tuple[Path, ...]:
    """Return what code of an agent must never see; the folders above the card and the attempt are the search."""
    files = (spec.task_card, *spec.block_rows, *spec.sources.values(), spec.attempt_dir, spec.cache_dir, spec.base.path)
    return tuple(Path(path) for path in files if path)


def _ticker(beat: Beat, number: int, total: int, name: str, began: float) -> Callable[[str], None]:
    def tick(message: str) -> None:
        text = f"{name}: {message}" if message else name
        beat(Heartbeat(phase="preparing", step=number, total_steps=total, seconds=monotonic() - began, message=text))

    return tick


def _after(
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
    return State(outcome.data, holdout, ordered, (*state.steps, entry))


def _decontaminated(state: State, spec: JobSpec) -> State:
    """Drop what is evaluated on, from the rows and from the held-out part. Not a step: no recipe can leave it out."""
    from hpc_trex.data.block import blocked_hashes, outside

    hashes = blocked_hashes([Path(path) for path in spec.block_rows])
    number = len(state.steps) + 1
    after = _after(state, outside(state.data, hashes), number, "decontaminate", {"items": len(hashes)}, None)
    if state.holdout is None:
        return after
    return after._replace(holdout=outside(state.holdout, hashes).data)


def _formatted(state: State, spec: JobSpec, style: str, system: str) -> State:
    tokenizer: Any = None
    if style == "chat":
        from hpc_trex.training.load import load_tokenizer

        tokenizer = load_tokenizer(spec.base)

    def final(data: Dataset) -> Dataset:
        from hpc_trex.data.formatting import answer_text, render_prompt
        from hpc_trex.data.operators.base import column, from_rows
        from hpc_trex.ftbench.rows import Row

        rows = []
        for row in map(Row, *(column(data, name) for name in Row._fields)):
            prompt = render_prompt(row.prompt, style, tokenizer, system)
            rows.append(row._replace(prompt=prompt, answer=answer_text(row.answer, style, prompt)))
        return from_rows(rows)

    return state._replace(data=final(state.data), holdout=None if state.holdout is None else final(state.holdout))
