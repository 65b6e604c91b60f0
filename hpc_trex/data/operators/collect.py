"""Operators that bring rows together or draw from them: load, mix, sample, split, order, format."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.mixing import mix_counts, strata_counts, tempered
from hpc_trex.data.operators.base import (
    Context,
    Outcome,
    column,
    dropped,
    families,
    from_rows,
    picked,
    source_rows,
    texts,
    unpicked,
)
from hpc_trex.data.seeds import choose, rank_keys
from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.render import Renderer, RowProblem
from hpc_trex.ftbench.rows import Row, normalised
from hpc_trex.models import Prompt
from hpc_trex.models.operators import Convert, Format, Load, Mix, Order, Sample, Split

if TYPE_CHECKING:
    from datasets import Dataset


def load(step: Load, data: Dataset, context: Context) -> Outcome:  # noqa: ARG001 - one face for all operators
    """Return the rows of a source, to be appended."""
    rows = islice(source_rows(context, step.source), step.limit)
    return Outcome(from_rows(rows, context.scratch), ordered=False, appended=True)


def mix(step: Mix, data: Dataset, context: Context) -> Outcome:
    """Take the counted number of rows of each source; with ``repeat``, whole passes first, then a part of one."""
    places: dict[str, list[int]] = {}
    for place, source in enumerate(column(data, "source")):
        places.setdefault(source, []).append(place)
    ids = column(data, "row_id")
    for name, cap in (step.caps or {}).items():
        if name in places and len(places[name]) > cap:
            where = places[name]
            places[name] = [where[index] for index in choose(context.seed, [ids[place] for place in where], cap)]
    sizes = {name: len(where) for name, where in places.items()}
    counts = mix_counts(tempered(step.weights or sizes, step.temperature), sizes, step.total, step.repeat)
    taken: list[int] = []
    for name, count in counts.items():
        if count:
            where = places[name]
            passes, rest = divmod(count, len(where))
            part = choose(context.seed, [ids[place] for place in where], rest)
            taken += where * passes + [where[index] for index in part]
    drop = dropped(data, unpicked(data, taken), "not drawn for the mixture")
    return picked(data, sorted(taken), [drop], counts=counts)._replace(ordered=False)


def sample(step: Sample, data: Dataset, context: Context) -> Outcome:
    """Draw rows without repeating; more than there are is all of them."""
    count = step.n if step.n is not None else max(1, round(len(data) * (step.fraction or 0)))
    if step.method == "hardest":
        from hpc_trex.data.loss_judge import base_losses

        losses = base_losses(data, context)
        places = sorted(sorted(range(len(data)), key=lambda place: (-losses[place], place))[:count])
    elif step.method == "stratified":
        places = _stratified(step, data, count, context.seed)
    else:
        places = choose(context.seed, column(data, "row_id"), count)
    return picked(data, places, [dropped(data, unpicked(data, places), "not drawn for the sample")])


def _stratified(step: Sample, data: Dataset, count: int, seed: int) -> list[int]:
    strata: dict[str, list[int]] = {}
    for place, name in enumerate(column(data, step.by or "source")):
        strata.setdefault(normalised(name) if step.by == "answer" else name, []).append(place)
    counts = strata_counts({name: len(where) for name, where in strata.items()}, count, equal=step.equal)
    ids = column(data, "row_id")
    places: list[int] = []
    for name, where in strata.items():
        places += [where[index] for index in choose(seed, [ids[place] for place in where], counts[name])]
    return sorted(places)


def convert(step: Convert, data: Dataset, context: Context) -> Outcome:
    """Render each row anew; plain texts stay as they are. Raises :class:`DataProblem` naming the row."""
    try:
        render = Renderer(Prompt(prompt=step.prompt, answer=step.answer), "convert")
    except UsageProblem as error:
        raise DataProblem(error.message, hint=error.hint) from None

    def rows() -> Iterator[Row]:
        for row in (Row(*values) for values in texts(data, *Row._fields)):
            if not row.answer.strip():
                yield row
                continue
            try:
                prompt, answer = render({"prompt": row.prompt, "answer": row.answer, "source": row.source})
            except RowProblem as problem:
                raise DataProblem(f"convert: row {row.row_id}: {problem}", hint="mend the template") from None
            yield row._replace(prompt=prompt, answer=answer)

    return Outcome(from_rows(rows(), context.scratch))


def split(step: Split, data: Dataset, context: Context) -> Outcome:
    """Hold out whole prompts, with what was made of them, until their rows are the fraction that was asked for."""
    prompts = families(data)
    rows: dict[str, int] = {}
    for prompt in prompts:
        rows[prompt] = rows.get(prompt, 0) + 1
    names = list(rows)
    keys = rank_keys(context.seed, names)
    wanted, held = step.holdout_fraction * len(data), 0
    chosen: set[str] = set()
    for index in sorted(range(len(names)), key=keys.__getitem__)[:-1]:
        if held >= wanted:
            break
        chosen.add(names[index])
        held += rows[names[index]]
    if not chosen:
        raise DataProblem(
            f"split: {len(data)} rows with {len(names)} prompt(s) cannot be split", hint="leave split out"
        )
    outside = [place for place, prompt in enumerate(prompts) if prompt in chosen]
    inside = [place for place, prompt in enumerate(prompts) if prompt not in chosen]
    outcome = picked(data, inside, held_out=len(outside))
    return outcome._replace(holdout=data.select(outside), held=outside)


def order(step: Order, data: Dataset, context: Context) -> Outcome:
    """Sort the rows; equals keep their order."""
    values: list[float]
    if step.by == "loss":
        from hpc_trex.data.loss_judge import base_losses

        values = base_losses(data, context)
    else:
        values = [len(prompt) + len(answer) for prompt, answer in texts(data, "prompt", "answer")]
    sign = -1 if step.descending else 1
    places = sorted(range(len(data)), key=lambda place: sign * values[place])
    return picked(data, places)._replace(ordered=True)


def format_(step: Format, data: Dataset, context: Context) -> Outcome:  # noqa: ARG001 - one face for all operators
    """Nothing yet: the style is applied to the finished set, so that operators see the text of the task card."""
    return Outcome(data, notes={"style": step.style})
