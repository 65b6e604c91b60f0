"""Run a round's data recipe and write the training set that its trials share.

``<data_dir>/rows`` (and ``holdout`` where the recipe splits) are Hugging Face data sets on disk with the columns
``row_id, source, prompt, answer``, the last two as the model's final text. ``manifest.json`` says where every row came
from and went. The folder appears whole, by a rename: a job that is killed leaves nothing half.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpc_trex.data.errors import DataProblem, NeedsAnswers
from hpc_trex.data.manifest import Finished, read_manifest, write_set
from hpc_trex.files import DISK_ERRORS, disk_problem, read_record, write_record
from hpc_trex.ftbench.rows import Row
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import Heartbeat, JobSpec, TaskCard
from hpc_trex.models.asking import AnsweredRows, Generate, Questions, Rewrite, RowAnswer
from hpc_trex.models.operators import Augment, Convert, Format, Load, Python

if TYPE_CHECKING:
    from datasets import Dataset

    from hpc_trex.data.steps import State, Watch

Beat = Callable[[Heartbeat], None]


def prepare(spec: JobSpec, beat: Beat, watch: Watch | None = None) -> dict[str, object]:
    """Run ``spec.data`` on ``spec.sources``, write ``spec.data_dir`` and return its manifest.

    A finished set of the same recipe is left as it is, and its manifest returned. ``watch`` is told of each step. Raises :class:`DataProblem` for a
    recipe that cannot be run or leaves no rows, naming the step.
    """
    assert spec.data is not None, "a prepare job has a recipe"
    assert spec.data_dir is not None, "a prepare job has a data_dir"
    recipe = spec.data.resolved()
    done = read_manifest(Path(spec.data_dir), recipe)
    if done is not None:
        return done
    import datasets

    from hpc_trex.data.cache import open_cache
    from hpc_trex.data.steps import Runner

    datasets.disable_progress_bars()
    card = _card(spec)
    style = final_style(spec)
    cache = open_cache(spec.cache_dir)
    with _scratch(Path(spec.data_dir)) as scratch:
        run = Runner(spec, style, card.prompt.system, beat, cache, scratch, watch, answers_of(spec))
        try:
            made = run(recipe.steps)
        except NeedsAnswers as wanted:
            write_record(questions_file(spec), Questions(questions=wanted.questions))
            raise
        state = _decontaminated(made, spec, card, watch)
        final = _formatted(state, spec, style, card.prompt.system, scratch)
        finished = Finished(final.data, final.holdout, final.ordered, style, final.steps, card, cached=final.cached)
        manifest = write_set(spec, recipe, finished)
    if cache is not None:
        cache.trim()
    return manifest


@contextlib.contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """Give a folder beside the set that is to be written: the one place where there is room for it."""
    folder = target.with_name(f".{target.name}-scratch-{secrets.token_hex(4)}")
    fresh = not target.parent.exists()
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise disk_problem(error, target) from error
        raise
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if fresh and not any(target.parent.iterdir()):  # made for this, and nothing came of it
            target.parent.rmdir()


def questions_file(spec: JobSpec) -> Path:
    """Return where a job writes what it wants to know of a language model."""
    return AttemptPaths(Path(spec.attempt_dir)).questions


def answers_of(spec: JobSpec) -> dict[str, RowAnswer]:
    """Return what a language model said of rows, by the key of the question.

    Raises :class:`DataProblem` for a file that cannot be read: the rows would silently be others.
    """
    found: dict[str, RowAnswer] = {}
    for name in spec.answers:
        record = read_record(Path(name), AnsweredRows)
        if record is None:
            raise DataProblem(f"the model's answers in {name} cannot be read", hint="remove that file: it is made anew")
        found |= {answer.key: answer for answer in record.answers}
    return found


def final_style(spec: JobSpec) -> str:
    """Return the style of the last format step; without one ``chat`` if the base's tokenizer has a template."""
    from hpc_trex.data.formatting import has_chat_template

    given = [step.style for step in spec.data.steps if isinstance(step, Format)] if spec.data else []
    return given[-1] if given else ("chat" if has_chat_template(Path(spec.base.path)) else "plain")


def _card(spec: JobSpec) -> TaskCard:
    card = read_record(Path(spec.task_card), TaskCard)
    if card is None:
        raise DataProblem(f"no valid task card at {spec.task_card}", hint="start the search anew")
    return card


def _decontaminated(state: State, spec: JobSpec, card: TaskCard, watch: Watch | None) -> State:
    """Drop what is evaluated on, from the rows and from the held-out part. Not a step: no recipe can leave it out.

    Raises :class:`DataProblem` where it is more than the card allows.
    """
    from hpc_trex.data.block import blocked_ids, outside, read_block, refuse_leaks
    from hpc_trex.data.steps import Seen, noted

    block = read_block([Path(path) for path in spec.block_rows])
    origins = blocked_ids(_rewritten(spec), block)
    outcome = outside(state.data, block, origins)
    after = noted(state, outcome, len(state.steps) + 1, "decontaminate", block.counts(), None)
    if watch is not None:
        watch(Seen(after.steps[-1], state.data, outcome, False))
    refuse_leaks(outcome, len(state.data), card.contamination.refuse)
    if state.holdout is None:
        return after
    return after._replace(holdout=outside(state.holdout, block, origins).data)


def _rewritten(spec: JobSpec) -> Iterator[Row]:
    """Yield the rows as their sources have them, where the recipe writes texts anew: a prefix hides no prompt of the test."""
    from hpc_trex.data.operators.base import Context, source_rows

    steps = spec.data.steps if spec.data else ()
    if any(isinstance(step, Augment | Convert | Generate | Python | Rewrite) for step in steps):
        context = Context(
            {name: Path(path) for name, path in spec.sources.items()}, spec.base, 0, "", "", lambda _: None
        )
        for name in dict.fromkeys(step.source for step in steps if isinstance(step, Load)):
            yield from source_rows(context, name)


def _formatted(state: State, spec: JobSpec, style: str, system: str, scratch: Path) -> State:
    tokenizer: Any = None
    if style == "chat":
        from hpc_trex.training.load import load_tokenizer

        tokenizer = load_tokenizer(spec.base)

    def final(data: Dataset) -> Dataset:
        from hpc_trex.data.operators.base import from_rows

        return from_rows(_final_rows(data, style, tokenizer, system), scratch)

    return state._replace(data=final(state.data), holdout=None if state.holdout is None else final(state.holdout))


def _final_rows(data: Dataset, style: str, tokenizer: Any, system: str) -> Iterator[Row]:
    from hpc_trex.data.formatting import final_texts
    from hpc_trex.data.operators.base import texts

    for row in (Row(*values) for values in texts(data, *Row._fields)):
        prompt, answer = final_texts(row.prompt, row.answer, style, tokenizer, system)
        yield row._replace(prompt=prompt, answer=answer)
