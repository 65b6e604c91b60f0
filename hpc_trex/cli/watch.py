"""Run a controller in the foreground: views, signals, the last block and the exit code."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from hpc_trex.cli.errors import INTERRUPTED
from hpc_trex.cli.options import emit, look
from hpc_trex.errors import BudgetReached

if TYPE_CHECKING:
    from hpc_trex.controller import Controller
    from hpc_trex.layout import SearchPaths
    from hpc_trex.models import SearchConfig, SearchState
    from hpc_trex.report.live import Picture


def run_controller(
    paths: SearchPaths, *, config: SearchConfig | None = None, color: bool | None = None, assume_gone: bool = False
) -> int:
    """Drive a search to its end and print the last block; return the exit code.

    Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 (Slurm's warning to a controller job) end the watching and give the lease back.
    Jobs go on; ``resume`` finds them. Inside an allocation that ends, the code is that of SIGTERM.
    """
    from hpc_trex.controller import Controller
    from hpc_trex.controller.signals import Ended, ending_on_signals
    from hpc_trex.report.live import make_view

    controller = None
    try:
        with ending_on_signals():
            controller = Controller(paths, config=config, assume_gone=assume_gone)
            until = getattr(controller.work.scheduler, "ends_now", None)
            with make_view(paths, Album(controller), color=color) as view:
                state = controller.run(view.on_tick, until=until)
    except KeyboardInterrupt:
        say_how_to_go_on(paths)
        return INTERRUPTED
    except Ended as end:
        say_how_to_go_on(paths)
        return 128 + end.signal
    finally:
        if controller is not None:
            controller.close()
    if state.value in {"running", "finishing"}:
        say_that_the_allocation_ends(paths)
        return 128 + signal.SIGTERM
    return finish(paths, state)


class Album:
    """The picture that the live view draws, taken anew from the controller's own store when an event has come in."""

    def __init__(self, controller: Controller) -> None:
        self.store = controller.store
        self.seq = -1
        self.picture: Picture | None = None

    def __call__(self) -> Picture:
        from hpc_trex.report.live import Picture

        seq = self.store.last_seq()
        if self.picture is None or seq != self.seq:
            store = self.store
            self.picture = Picture(store.status(), store.nodes(), store.config.budget, store.higher_is_better)
            self.seq = seq
        return self.picture


def finish(paths: SearchPaths, state: SearchState) -> int:
    """Print the last block of a search (its last line is the report's path) and return the exit code."""
    from hpc_trex.cli.reporting import report_of
    from hpc_trex.controller.budget import REACHED
    from hpc_trex.report.tables import final_text
    from hpc_trex.tree.store import Store

    with Store.read(paths) as reader:
        capped = reader.state()[1].startswith(REACHED)
        report = report_of(paths, reader)
        text = final_text(reader.status(), reader.nodes(), report, higher=reader.higher_is_better, look=look())
    emit("\n" + text)
    if state.value in {"failed", "cancelled"}:
        return 1
    return BudgetReached.exit_code if capped else 0


def say_how_to_go_on(paths: SearchPaths) -> None:
    """Tell on stderr that only the watching ended."""
    click.echo(
        f"\nstopped watching; jobs that run go on. Go on with the search: hpc-trex resume {paths.root}\n"
        f"End it and its jobs: hpc-trex cancel {paths.root}",
        err=True,
    )


def say_that_the_allocation_ends(paths: SearchPaths) -> None:
    """Tell on stderr why the controller leaves a search that is not over."""
    click.echo(
        f"\nthe allocation ends; what ran has been told to save its checkpoint. In the next one:\n"
        f"  hpc-trex resume {paths.root} --in-allocation",
        err=True,
    )


def one_tick(paths: SearchPaths) -> tuple[str, list[str]]:
    """Do one tick and return the search's state and what happened. Raises LeaseHeld while a controller is at work."""
    from hpc_trex.controller import Controller

    lines: list[str] = []
    controller = Controller(paths)
    try:
        state = controller.run(lambda report: lines.extend(report.lines), once=True)
    finally:
        controller.close()
    return state.value, lines
