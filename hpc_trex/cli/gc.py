"""``hpc-trex gc``: remove from a search what nobody needs any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import dry_run_option, emit, keep_private, last_option, pick, search_argument
from hpc_trex.errors import LeaseHeld, NotFound, UsageProblem

if TYPE_CHECKING:
    from hpc_trex.controller.gc import Look
    from hpc_trex.layout import SearchPaths

SKIPPED = 8


@click.command(
    "gc",
    epilog="\b\nExamples:\n  hpc-trex gc listops-1 --dry-run\n  hpc-trex gc --all -y\n  hpc-trex gc --steps --steps-gb 5",
)
@search_argument
@last_option
@click.option("--all", "every", is_flag=True, help="Every search in HPC_TREX_HOME that no controller works on.")
@click.option("--keep", type=click.IntRange(min=0), default=3, show_default=True, help="Best rounds whose models stay.")
@click.option("--now", "at_once", is_flag=True, help="Delete at once, the whole trash too, instead of a day later.")
@click.option("--steps", is_flag=True, help="The cache of recipe steps, of all your searches, instead of a search.")
@click.option(
    "--steps-gb",
    type=click.FloatRange(min=0),
    help="Of --steps: what stays.  [default: HPC_TREX_STEP_CACHE_GB, else 20]",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@click.pass_context
def command(
    ctx: click.Context, /, *, search: str | None, last: bool, every: bool, keep: int, at_once: bool, steps: bool,
    steps_gb: float | None, yes: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Move into the trash of SEARCH what nobody needs: checkpoints of finished trials, models other than the chosen
    and the best, pickles, leftovers, data of a search that is over; pack the logs of finished rounds.

    What has been in the trash for a day is deleted. Results, samples, plans and the history always stay.
    With --steps no search is touched: cached steps of data recipes go, those first that were unused for longest, and none
    that was used within the hour.
    """
    if steps or steps_gb is not None:
        if search is not None or last or every:
            raise UsageProblem("--steps is about the cache, not about a search", hint="hpc-trex gc --steps")
        _clean_steps(ctx, steps_gb, yes=yes, dry_run=dry_run)
        return
    from hpc_trex.controller.gc import clean, look
    from hpc_trex.searches import list_searches

    if every and (search is not None or last):
        raise UsageProblem("give a search or --all, not both")
    chosen = list_searches() if every else [pick(search, last)]
    if not chosen:
        raise NotFound("there is no search to clean", hint="start one with: hpc-trex launch")
    found = [(paths, look(paths, keep=keep, at_once=at_once)) for paths in chosen]
    for paths, seen in found:
        emit("\n".join(words(paths, seen)))
    todo = [(paths, seen) for paths, seen in found if not seen.empty]
    if dry_run or not todo:
        emit("nothing was moved or deleted (--dry-run)" if dry_run else "there is nothing to remove")
        return
    if not yes and not agreed():
        emit("nothing was moved or deleted")
        ctx.exit(1)
    code = 0
    for paths, seen in todo:
        keep_private(paths.root)
        try:
            done = clean(paths, seen, keep=keep, at_once=at_once)
        except LeaseHeld as held:
            if not every:
                raise
            click.echo(f"passed over: {held.message}", err=True)
            code = code or LeaseHeld.exit_code
            continue
        files, size = sum(one.files for one in done.moved), sum(one.size for one in done.moved)
        emit(
            f"{paths.root.name}: {files} files ({amount(size)}) moved to the trash, logs of {done.packed} round(s) packed, "
            f"{sum(one.files for one in done.deleted)} files deleted for good"
        )
        for line in done.skipped:
            click.echo(f"skipped, and left for the next gc: {line}", err=True)
            code = SKIPPED
    ctx.exit(code)


def _clean_steps(ctx: click.Context, gigabytes: float | None, *, yes: bool, dry_run: bool) -> None:
    """Say what the cache of recipe steps takes and trim it to its limit."""
    import time

    from hpc_trex.data import trimming
    from hpc_trex.layout import cache

    root, now = cache() / "steps", time.time()
    limit = trimming.step_limit() if gigabytes is None else gigabytes * 1e9
    found = trimming.find(root, now)
    going = found.beyond(limit, now)
    emit(f"cached steps of recipes in {root}")
    emit(line("all", sum(one.files for one in found.entries), sum(one.size for one in found.entries)))
    emit(line(f"beyond {amount(limit)}", sum(one.files for one in going), sum(one.size for one in going)))
    if found.leftovers:
        emit(f"  and {len(found.leftovers)} folder(s) that jobs left when they died")
    if dry_run or not (going or found.leftovers):
        emit("nothing was deleted (--dry-run)" if dry_run else "there is nothing to remove")
        return
    if not yes and not agreed("delete these? They are made again when a recipe needs them"):
        emit("nothing was deleted")
        ctx.exit(1)
    gone = trimming.trim(root, limit)
    emit(f"{len(gone)} cached steps ({amount(sum(one.size for one in gone))}) deleted")


def words(paths: SearchPaths, seen: Look) -> list[str]:
    """Return what would go, one line a kind, with files (inodes) and bytes."""
    lines = [f"search {paths.root.name}"]
    everything = [*seen.plan.items, *seen.old]
    for what in sorted({one.what for one in everything}):
        group = [one for one in everything if one.what == what]
        lines.append(line(what, sum(one.files for one in group), sum(one.size for one in group)))
    files = [path for pack in seen.plan.packs for path in pack.files]
    if files:
        packed = f"logs, into {len(seen.plan.packs)} archive(s)"
        lines.append(line(packed, len(files), sum(pack.size for pack in seen.plan.packs)))
    total = sum(one.size for one in everything), sum(one.files for one in everything) + len(files)
    return [*lines, line("in all", total[1], total[0])]


def line(what: str, files: int, size: int) -> str:
    """Return one line of the table."""
    return f"  {what:<26} {files:>8} files {amount(size):>10}"


def amount(size: float) -> str:
    """Return a number of bytes for a person."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def agreed(question: str = "move this to the trash?") -> bool:
    """Ask on a terminal and return the answer. Raises :class:`UsageProblem` elsewhere."""
    if not sys.stdin.isatty():
        raise UsageProblem("gc cannot ask here", hint="add -y to agree, or -n to look only")
    return click.confirm(question)
