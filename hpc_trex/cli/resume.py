"""``hpc-trex resume``: go on with a search, also with a raised budget or on another profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpc_trex.cli.launch import one_way
from hpc_trex.cli.options import dry_run_option, emit, last_option, pick, search_argument
from hpc_trex.errors import BudgetReached

if TYPE_CHECKING:
    from hpc_trex.layout import SearchPaths
    from hpc_trex.models import SearchConfig

COUNT = click.IntRange(min=1)
AMOUNT = click.FloatRange(min=0, min_open=True)
OVER = ("done", "failed", "cancelled")


@click.command("resume", epilog="Example: hpc-trex resume listops-1 --max-nodes 20")
@search_argument
@last_option
@click.option("--max-nodes", type=COUNT, help="New cap on rounds.")
@click.option("--parallel", type=COUNT, help="Jobs at once.")
@click.option("--gpu-hours", type=AMOUNT, help="New cap on GPU-hours.")
@click.option("--cpu-hours", type=AMOUNT, help="New cap on CPU-hours.")
@click.option("--wall-minutes", type=AMOUNT, help="New cap on the time of a run.")
@click.option("--minutes", type=COUNT, help="Time limit of further training jobs.")
@click.option("--profile", help="Run further jobs on another profile.")
@click.option("-d", "--detach", is_flag=True, help="Leave the search to a background controller and return.")
@click.option("--as-job", is_flag=True, help="Run the controller as a small job that keeps itself going.")
@click.option("--in-allocation", is_flag=True, help="Run jobs as steps of the allocation that this is typed in.")
@click.option(
    "--assume-gone",
    is_flag=True,
    help="Jobs that the old profile cannot be asked about are surely over: count them as lost.",
)
@click.option(
    "--open-test-again",
    metavar="WHY",
    help="Of a search that is over: test its choice on the sealed test once more. WHY goes on record.",
)
@click.option("--controller-job", is_flag=True, hidden=True, help="Inside the job of --as-job.")
@dry_run_option
@click.pass_context
def command(
    ctx: click.Context, /, *, search: str | None, last: bool, detach: bool, as_job: bool, in_allocation: bool,
    assume_gone: bool, open_test_again: str | None, controller_job: bool, dry_run: bool, profile: str | None, **caps: Any,
) -> None:  # fmt: skip
    """Go on with SEARCH where it stands: nothing is lost or run twice, whatever ended the last controller."""
    from hpc_trex.tree.store import Store

    paths = pick(search, last)
    with Store.read(paths) as reader:
        status, old = reader.status(), reader.config
    one_way(detach=detach, as_job=as_job, in_allocation=in_allocation)
    config = changed(old, profile, caps, in_allocation=in_allocation)
    words = changes(old, config)
    if open_test_again is not None:
        say_why(paths, open_test_again, dry_run=dry_run)
    elif status.state.value in OVER:
        already_over(paths, status.state.value, words)
        return
    if config.profile != old.profile:
        from hpc_trex.slurm.preflight import preflight

        words = [*words, *preflight(config.profile, paths.root)]
    emit("\n".join([f"search {status.search} is {status.state.value}", *words]))
    if dry_run:
        emit("nothing was changed or started (--dry-run)")
        return
    from hpc_trex.cli.background import detached
    from hpc_trex.cli.watch import run_controller

    if detach:
        more = ["--assume-gone"] if assume_gone else []
        ctx.exit(detached(paths, [*options(profile, caps), *more]))
    if as_job or controller_job:
        from hpc_trex.cli.as_job import run_inside, submitted

        if as_job and (words or assume_gone):
            record_changes(paths, config, assume_gone=assume_gone)
        ctx.exit(submitted(paths, config) if as_job else run_inside(paths))
    ctx.exit(run_controller(paths, config=config if words else None, color=ctx.color, assume_gone=assume_gone))


def say_why(paths: SearchPaths, why: str, *, dry_run: bool) -> None:
    """Put on record that the sealed test is opened again; with ``dry_run`` only see whether it can be.

    Raises :class:`UsageProblem` for a search that is not over, or without a reason.
    """
    from hpc_trex.cli.asking import do_or_leave
    from hpc_trex.cli.deciding import LONGEST_NOTE
    from hpc_trex.controller.control import why_not_open_again
    from hpc_trex.controller.requests import Request
    from hpc_trex.errors import UsageProblem
    from hpc_trex.files import user_name
    from hpc_trex.tree.store import Store

    note = " ".join(why.split())
    if not note or len(note) > LONGEST_NOTE:
        raise UsageProblem(
            f"--open-test-again needs a reason of at most {LONGEST_NOTE} characters: it goes on record",
            hint='e.g. --open-test-again "the first job ran with a wrong prompt"',
        )
    with Store.read(paths) as reader:
        refusal, hint = why_not_open_again(reader)
    if refusal:
        raise UsageProblem(refusal, hint=hint)
    if not dry_run:
        request = Request(action="open-test", note=note, user=user_name())
        emit("\n".join(do_or_leave(paths, request, "open the sealed test again", "its job is asked for now")))


def record_changes(paths: SearchPaths, config: SearchConfig, *, assume_gone: bool) -> None:
    """Write a changed configuration into the history without running anything."""
    from hpc_trex.controller import Controller

    Controller(paths, config=config, assume_gone=assume_gone).close()


def already_over(paths: SearchPaths, state: str, words: list[str]) -> None:
    """Say that a search is over. Raises :class:`BudgetReached` when more budget was asked for it.

    A finished search stays finished: its sealed test has been opened, and a second look (``--open-test-again``) would
    no longer be one.
    """
    if words:
        raise BudgetReached(
            f"search {paths.root.name} is {state}: more budget cannot wake it",
            hint="start a new one; the earlier results stay where they are: hpc-trex launch",
        )
    emit(f"search {paths.root.name} is {state}; see: hpc-trex best {paths.root.name}")


def changed(
    old: SearchConfig, profile: str | None, caps: dict[str, Any], *, in_allocation: bool = False
) -> SearchConfig:
    """Return the configuration with what was typed put over it."""
    given = {key: value for key, value in caps.items() if value is not None}
    parallel, minutes = given.pop("parallel", old.parallel), given.pop("minutes", None)
    updates: dict[str, Any] = {"budget": old.budget.model_copy(update=given), "parallel": parallel}
    if profile is not None:
        from hpc_trex.slurm.profiles import load_profile

        updates["profile"] = load_profile(profile)
    if in_allocation:
        from hpc_trex.launch import inside_allocation

        updates["profile"] = inside_allocation(updates.get("profile", old.profile))
    if minutes is not None:
        used = updates.get("profile", old.profile)
        updates["profile"] = used.model_copy(update={"train": used.train.model_copy(update={"minutes": minutes})})
    return old.model_copy(update=updates)


def options(profile: str | None, caps: dict[str, Any]) -> list[str]:
    """Return what was typed as options again, for the controller in the background."""
    given = caps if profile is None else {**caps, "profile": profile}
    return [f"--{key.replace('_', '-')}={value}" for key, value in given.items() if value is not None]


def _without_minutes(config: SearchConfig) -> dict[str, Any]:
    return config.profile.model_dump(exclude={"train": {"minutes"}})


def _name(config: SearchConfig) -> str:
    return f"{config.profile.name} ({config.profile.scheduler})"


def changes(old: SearchConfig, new: SearchConfig) -> list[str]:
    """Return what differs, one line a setting."""
    before, after = old.budget.model_dump(), new.budget.model_dump()
    lines = [f"{key}: {before[key]} -> {after[key]}" for key in before if before[key] != after[key]]
    if old.parallel != new.parallel:
        lines.append(f"parallel: {old.parallel} -> {new.parallel}")
    if old.profile.train.minutes != new.profile.train.minutes:
        lines.append(f"minutes: {old.profile.train.minutes} -> {new.profile.train.minutes}")
    if _without_minutes(old) != _without_minutes(new):
        lines.append(f"profile: {_name(old)} -> {_name(new)}")
    return lines
