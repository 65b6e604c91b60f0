"""``hpc-trex wait``: block until a search, or one round of it, is over; the exit code says its fate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import emit, last_option, number_of, pick, search_argument
from hpc_trex.errors import BudgetReached

if TYPE_CHECKING:
    from hpc_trex.layout import SearchPaths
    from hpc_trex.models import GateView

FAILED, NOT_FINISHED, CANCELLED = 100, 101, 103
FATES = {"done": 0, "failed": FAILED, "cancelled": CANCELLED, "paused": NOT_FINISHED}
#: Between two looks at the size of the log: so long at first, and up to so long while nothing happens.
FIRST_LOOK, LONGEST_LOOK = 0.2, 5.0
#: A controller whose search is over is given so long to write its report and give its lease back.
LEAVING_SECONDS = 30.0


@click.command("wait", epilog="Example: hpc-trex wait listops-1 --timeout 3600 && hpc-trex best listops-1")
@search_argument
@last_option
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up then (exit code 101).")
@click.option("--node", metavar="N", help="Wait for this round only.")
@click.pass_context
def command(ctx: click.Context, /, search: str | None, last: bool, timeout: float | None, node: str | None) -> None:
    """Wait until SEARCH is over. Exit code: 0 done, 100 failed, 101 not finished (timeout, or paused), 103 cancelled,
    7 ended by a budget cap. A question to you (launch --approve) is told once, and waiting goes on.
    """
    number = None if node is None else number_of(node, "--node")
    paths = pick(search, last)
    until = None if timeout is None else time.monotonic() + timeout
    what = f"search {paths.root.name}" if number is None else f"node {number} of {paths.root.name}"
    for state, message in changes(paths, number, until):
        code = fate(state, message)
        if code is not None:
            if number is None:
                let_leave(paths)
            go_on = f"; go on with: hpc-trex resume {paths.root.name}" if state == "paused" else ""
            emit(f"{what} is {state}" + (f": {message}" if message else "") + go_on)
            ctx.exit(code)
    emit(f"{what} is not over after {timeout:g} s")
    ctx.exit(NOT_FINISHED)


def let_leave(paths: SearchPaths) -> None:
    """Wait a moment for the controller of a search that is over: what is typed next (``gc``, ``resume``) would be refused."""
    from hpc_trex.tree.lease import is_held

    end = time.monotonic() + LEAVING_SECONDS
    while is_held(paths.lease) and time.monotonic() < end:
        time.sleep(FIRST_LOOK)


def fate(state: str, message: str) -> int | None:
    """Return the exit code of a state; None while it is none to stop at."""
    from hpc_trex.controller.budget import REACHED

    code = FATES.get(state)
    return BudgetReached.exit_code if code is not None and message.startswith(REACHED) else code


def changes(paths: SearchPaths, node: int | None, until: float | None) -> Iterator[tuple[str, str]]:
    """Yield state and message as they are, then after each event that changes them, until the time is up.

    Waiting costs one look at the size of the log; only what was added is read.
    """
    from hpc_trex.models import GateView
    from hpc_trex.tree.database import last_event
    from hpc_trex.tree.gates import open_gate
    from hpc_trex.tree.lease import read_lease
    from hpc_trex.tree.log import EventReader
    from hpc_trex.tree.store import Store

    with Store.read(paths) as reader:
        state, message = reader.state()
        view = None if node is None else reader.node(node)
        asked = open_gate(reader)
        seq, end = last_event(reader.db)
    # A round that is over stays so whatever becomes of the search; one that is not waits with a paused search.
    if view is not None and FATES.get(view.state.value) is not None:
        yield view.state.value, view.message
    yield state.value, message
    if read_lease(paths.lease) is None:
        click.echo(f"no controller is at work on it now: hpc-trex resume {paths.root.name}", err=True)
    if asked is not None:
        _tell(paths, asked)
    log, pause = EventReader(paths.events, offset=end, seq=seq), FIRST_LOOK
    while until is None or time.monotonic() < until:
        if paths.events.stat().st_size == log.end:
            left = pause if until is None else until - time.monotonic()
            time.sleep(max(0.0, min(pause, left)))
            pause = min(LONGEST_LOOK, pause * 1.5)
            continue
        pause = FIRST_LOOK
        for entry in log:
            event = entry.line.event
            if event.type == "search_state" or (event.type == "node_ended" and event.node == node):
                yield event.state.value, event.message
            elif event.type == "gate_asked":
                _tell(paths, GateView.model_validate(event.model_dump(include=set(GateView.model_fields))))
        if log.torn:
            time.sleep(FIRST_LOOK)  # the writer is in the midst of a line


def _tell(paths: SearchPaths, asked: GateView) -> None:
    """Say on stderr that nothing is designed until a person has answered, and what to type: elsewhere, this command goes on."""
    from hpc_trex.report.gates import waits_words

    click.echo(f"it waits for you: {waits_words(asked)} {paths.root.name}", err=True)
