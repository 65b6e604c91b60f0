"""``hpc-trex data run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpc_trex.cli.data_words import cut, need_datasets, step_line
from hpc_trex.cli.llm_options import given_llm, one_endpoint_options
from hpc_trex.cli.options import dry_run_option, emit, emit_json, json_option
from hpc_trex.errors import UsageProblem

if TYPE_CHECKING:
    from hpc_trex.data.by_hand import Alone, Ask
    from hpc_trex.data.steps import Seen
    from hpc_trex.models import LlmSettings
    from hpc_trex.models.asking import RowQuestion


@click.command(
    "run",
    epilog="Examples:\n\n\b\n  hpc-trex data run recipe.toml --task my-task.toml --sample 1000\n"
    "  hpc-trex data run recipe.toml --out prepared/\n"
    "  hpc-trex data run recipe.toml --llm-model NAME --llm-base-url http://127.0.0.1:8000/v1 --llm-tokens 200000",
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--task", help="Task card that names the sources, dev and test; default: the recipe file's own.")
@click.option("--base", help="Folder of the base model, for the steps that ask it.")
@click.option("--sample", type=click.IntRange(min=1), help="Take only the first so many rows of each source.")
@click.option("--out", type=click.Path(path_type=Path), help="New folder for the prepared set; default: keep nothing.")
@click.option(
    "--examples",
    type=click.IntRange(min=0, max=5),
    default=2,
    show_default=True,
    help="Dropped rows to show of each reason.",
)
@one_endpoint_options
@json_option
@dry_run_option
def command(
    recipe: Path, task: str | None, base: str | None, sample: int | None, out: Path | None, examples: int, json: bool,
    dry_run: bool, **llm: Any,
) -> None:  # fmt: skip
    """Run the data recipe in the file RECIPE (TOML or JSON) and show rows in, kept and dropped at each step.

    With --dry-run only the recipe, the names and the first row of each source are checked.
    """
    need_datasets()
    settings = _settings(llm)
    from hpc_trex.data.by_hand import first_rows, read_recipe, run_alone

    alone = read_recipe(recipe, task)
    if dry_run:
        _dry(alone, first_rows(alone), as_json=json)
        return
    told: list[dict[str, Any]] = []

    def watch(seen: Seen) -> None:
        from hpc_trex.data.look import dropped_examples

        entry = {**seen.entry, "cached": seen.cached, "dropped": dropped_examples(seen, examples)}
        told.append(entry)
        if not json:
            emit(step_line(entry, len(alone.recipe.steps)))

    ask = _asks(alone, settings) if settings is not None else None
    manifest = run_alone(alone, base=base, sample=sample, out=out, watch=watch, beat=lambda _: None, ask=ask)
    if json:
        emit_json({"steps": told, "manifest": manifest, "out": None if out is None else str(out.absolute())})
        return
    held = f", {manifest['holdout_rows']} held out" if manifest["holdout_rows"] else ""
    emit(
        f"{manifest['rows']} rows to train on{held}; {'written to ' + str(out) if out else 'nothing kept (--out DIR keeps them)'}"
    )
    if not alone.guarded:
        emit("no dev and test were named: nothing was kept apart from them")


def _settings(options: dict[str, Any]) -> LlmSettings | None:
    """Return the language model that was named; None where none was. Raises :class:`UsageProblem` for half of one."""
    from pydantic import ValidationError

    from hpc_trex.models import LlmSettings

    given = given_llm(options)
    if not given:
        return None
    if "model" not in given:
        raise UsageProblem(f"--llm-{next(iter(given)).replace('_', '-')} needs a model", hint="--llm-model NAME")
    try:
        return LlmSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        raise UsageProblem(f"--llm-{name}: {first['msg']}", hint="hpc-trex data run --help") from error


def _asks(alone: Alone, settings: LlmSettings) -> Ask:
    """Return how the questions of a step are asked, with a line about it for the terminal."""
    from hpc_trex.agents.llm.rows_by_hand import ByHand

    by_hand = ByHand(settings, alone.recipe.set_digest())

    def ask(questions: tuple[RowQuestion, ...]) -> Path:
        path, rows = by_hand.ask(questions)
        good = sum(one.usable for one in rows.answers)
        known = f", {rows.remembered} known from before" if rows.remembered else ""
        click.echo(f"{settings.model} answered for {good} of {len(rows.answers)} rows{known}", err=True)
        return path

    return ask


def _dry(alone: Alone, rows: dict[str, Any], *, as_json: bool) -> None:
    from hpc_trex.report.difference import describe_recipe

    steps = describe_recipe(alone.recipe)
    if as_json:
        emit_json({"steps": steps, "first_rows": {name: row._asdict() for name, row in rows.items()}})
        return
    for number, line in enumerate(steps, start=1):
        emit(f"{number:>3}  {line}")
    for name, row in rows.items():
        emit(f"first row of {name}: {cut(row.prompt)} -> {cut(row.answer)}")
    emit("nothing was run (--dry-run)")
