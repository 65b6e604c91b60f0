"""``hpc-trex stage``: bring models and data to the site before the jobs, which are offline."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import dry_run_option, emit, emit_json, json_option
from hpc_trex.errors import UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from hpc_trex.ftbench.lm_eval import StagedName
    from hpc_trex.staging.lm_eval import StagedTask
    from hpc_trex.staging.stage import Outcome


@click.command(
    "stage",
    epilog="\b\nExamples:\n  hpc-trex stage --task my-task.toml --model Qwen/Qwen3-1.7B\n"
    "  hpc-trex stage --model Qwen/Qwen3-1.7B@main --into /shared/trex-stage\n  hpc-trex stage list",
)
@click.argument("what", required=False, type=click.Choice(["list"]))
@click.option("--task", "tasks", multiple=True, help="Built-in task, card or lm-eval:NAME: its data, pinned.")
@click.option("--model", "models", multiple=True, help="Hub id of a base model, with @revision or without.")
@click.option("--tokenizer", "tokenizers", multiple=True, help="Hub id of which only the tokenizer is fetched.")
@click.option("--dataset", "datasets", multiple=True, help="Hub id of a data set, with @revision or without.")
@click.option("--profile", help="The site: group-readable where it shares, and what its network class asks for.")
@click.option(
    "--into", type=click.Path(file_okay=False), help="Folder; default: the first of HPC_TREX_STAGE, else the cache."
)
@click.option("--verify", is_flag=True, help="Hash what is staged again and name damaged files; fetches nothing.")
@dry_run_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    what: str | None,
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    tokenizers: tuple[str, ...],
    datasets: tuple[str, ...],
    profile: str | None,
    into: str | None,
    verify: bool,
    dry_run: bool,
    json: bool,
) -> None:
    """Fetch models, data sets and tokenizers at pinned commits into a shared folder; ``list`` shows what is there.

    Run it where there is network (a login node). Room and quota are checked first, an interrupted run goes on where it
    was, files are checked and made read-only. Launches take from there before they ask the network.
    """
    from hpc_trex.ftbench.lm_eval import PREFIX, parse_target
    from hpc_trex.staging.lm_eval import stage_task
    from hpc_trex.staging.stage import closing_words, stage, target, wishes_of

    targets = [task for task in tasks if task.startswith(PREFIX)]
    wishes, notes = wishes_of([task for task in tasks if task not in targets], models, tokenizers, datasets)
    if what == "list" or verify:
        if what == "list" and (wishes or targets or verify or dry_run):
            raise UsageProblem("stage list takes no option but --into and --json")
        return _look(ctx, into, [(wish.kind, wish.repository) for wish in wishes], verify=verify, json=json)
    if not wishes and not notes and not targets:
        raise UsageProblem("nothing to stage: give --task, --model, --tokenizer or --dataset", hint="hpc-trex stage -h")
    root = target(into)
    group, network = _site(profile)
    say = partial(click.echo, err=True)
    made = [stage_task(parse_target(task), root, say=say, group=group, dry_run=dry_run) for task in targets]
    outcomes = [one for task in made for one in task.data] + stage(wishes, root, say=say, group=group, dry_run=dry_run)
    if json:
        items = [_json(outcome) for outcome in outcomes]
        emit_json({"folder": str(root), "items": items, "tasks": [_task_json(one) for one in made], "notes": notes})
        return None
    emit("\n".join([*notes, *map(_line, outcomes), *map(_task_line, made)]))
    if (outcomes or made) and not dry_run:
        emit(closing_words(root) or f"in {root}")
    if network == "none":
        emit(f"profile {profile} has no network anywhere: copy {root} to the site, then: export HPC_TREX_STAGE=FOLDER")
    return None


def _site(profile: str | None) -> tuple[bool, str]:
    if profile is None:
        return False, ""
    from hpc_trex.slurm.profiles import load_profile

    loaded = load_profile(profile)
    return loaded.share == "group", loaded.network


def _look(ctx: click.Context, into: str | None, only: list[tuple[str, str]], *, verify: bool, json: bool) -> None:
    """Print what is staged; with ``verify`` hash it again and exit 1 when something is damaged."""
    from hpc_trex.errors import NotFound
    from hpc_trex.ftbench.lm_eval import staged_names
    from hpc_trex.staging.hub import WORDS
    from hpc_trex.staging.manifests import damage, list_staged
    from hpc_trex.staging.stage import row, target

    roots = [target(into)] if into else None
    found = list_staged(roots)
    names = [] if only or verify else staged_names(roots)
    found = [one for one in found if not only or (one.item.kind, one.item.repository) in only]
    if verify and not found:
        raise NotFound("nothing is staged here that could be verified", hint="hpc-trex stage list")
    problems = {one: damage(one) for one in found} if verify else {}
    damaged = {one: lines for one, lines in problems.items() if lines}
    if json:
        items = [
            one.item.model_dump(mode="json")
            | {"folder": str(one.paths.folder)}
            | ({"damaged": problems[one]} if verify else {})
            for one in found
        ]
        emit_json({"items": items, "tasks": [_name_json(one) for one in names]})
    else:
        for one in found:
            emit(row(one.item) + ("" if not verify else "  DAMAGED" if one in damaged else "  whole"))
        for name in names:
            rows = ", ".join(f"{split} {count}" for split, count in name.rows.items())
            emit(f"{'task':<11} {name.task}  {name.metric}  {rows}  {name.staged_at[:10]}")
        if not found and not names:
            emit("nothing is staged; hpc-trex stage --model ID fetches a model")
    for one, lines in damaged.items():
        click.echo("\n".join(f"error: {line}" for line in lines), err=True)
        option = f"{WORDS[one.item.kind][1]} {one.item.repository}@{one.item.commit}"
        again = f"rm -f {one.paths.manifest} && hpc-trex stage {option} --into {one.paths.root}"
        click.echo(f"hint: fetch anew what is damaged: {again}", err=True)
    ctx.exit(1 if damaged else 0)


def _line(outcome: Outcome) -> str:
    from hpc_trex.staging.space import gigabytes
    from hpc_trex.staging.stage import STATE_WORDS

    words = (
        f"{STATE_WORDS[outcome.state]:<14} {outcome.wish.words}: commit {outcome.commit}, {outcome.files} files, "
        f"{gigabytes(outcome.size)}, licence {outcome.licence}"
    )
    return words + (f"\n{'':<14} {outcome.note}" if outcome.note else "")


def _task_line(task: StagedTask) -> str:
    words = f"{task.target.words}: lm-eval {task.version}, metric {task.metric}"
    if task.card is None:
        return f"{'would render':<14} {words}"
    rows = ", ".join(f"{name} {count}" for name, count in task.rows.items())
    lines = [f"{'already here' if task.already else 'staged':<14} {words}, rows {rows}"]
    if not task.rows["train"]:
        lines.append(f"{'':<14} no training data: copy {task.card.parent} and add sources to its card.toml")
    return "\n".join(lines)


def _name_json(name: StagedName) -> dict[str, object]:
    return name._asdict() | {"folder": str(name.folder)}


def _task_json(task: StagedTask) -> dict[str, object]:
    return {
        "task": task.target.words,
        "lm_eval": task.version,
        "metric": task.metric,
        "rows": task.rows,
        "card": None if task.card is None else str(task.card),
        "state": "would render" if task.card is None else "already" if task.already else "staged",
    }


def _json(outcome: Outcome) -> dict[str, object]:
    folder: Path = outcome.folder
    return {
        "kind": outcome.wish.kind,
        "repository": outcome.wish.repository,
        "asked": outcome.wish.revision or "main",
        "commit": outcome.commit,
        "state": outcome.state,
        "files": outcome.files,
        "bytes": outcome.size,
        "licence": outcome.licence,
        "folder": str(folder),
        "note": outcome.note,
    }
