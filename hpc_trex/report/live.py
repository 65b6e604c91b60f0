"""What a person sees while a search runs in the foreground: a live picture on a terminal, plain lines elsewhere.

Both views are told of every tick (``on_tick``). The live one also reads the heartbeats of the running jobs, twice a
second, in rich's refresh thread; it never opens the database there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TextIO

from hpc_trex.files import read_record
from hpc_trex.layout import AttemptPaths, SearchPaths
from hpc_trex.models import AttemptState, AttemptView, Budget, Heartbeat, NodeView, SearchState, StatusView
from hpc_trex.report.gates import waits_words
from hpc_trex.report.look import Look, duration
from hpc_trex.report.tables import best_text, cost_words, tree_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESHES_PER_SECOND = 2
BAR_COLUMNS = 12
#: What the plain view says after the first tick.
AT_WORK = "controller at work"
#: Lines of the live picture that are not the tree.
FRAME_LINES = 9


class Tick(Protocol):
    """What the views need of the controller's report."""

    @property
    def state(self) -> SearchState: ...

    @property
    def lines(self) -> list[str]: ...


class Picture(NamedTuple):
    """The tree as it was after the last tick."""

    status: StatusView
    nodes: Sequence[NodeView]
    budget: Budget
    higher: bool = True
    """Direction of the metric."""


class View(Protocol):
    """Either of the two views: a context manager that is told of each tick."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def on_tick(self, report: Tick) -> None:
        """Show what a tick did."""
        ...


class PlainView:
    """One line an event, with the time of day: no colour, no box characters, nothing that moves."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.ticks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.out.flush()

    def on_tick(self, report: Tick) -> None:
        """Print the lines of a tick; after the first one also that the controller is at work (``launch -d`` waits for it)."""
        self.ticks += 1
        for line in [*report.lines, *([f"{AT_WORK}: search {report.state.value}"] if self.ticks == 1 else [])]:
            self.out.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        self.out.flush()


class LiveView:
    """The tree, the running trials and the budget, redrawn in place; what happened scrolls away above it."""

    def __init__(self, paths: SearchPaths, read: Callable[[], Picture], console: Console) -> None:
        from rich.live import Live

        self.paths = paths
        self.read = read
        self.console = console
        self.started = time.monotonic()
        self.picture: Picture | None = None
        self.live = Live(
            get_renderable=self.render, console=console, refresh_per_second=REFRESHES_PER_SECOND, transient=True
        )

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def on_tick(self, report: Tick) -> None:
        """Print what happened, and take the tree as it is now (``read`` knows whether it has changed)."""
        for line in report.lines:
            self.console.print(f"{time.strftime('%H:%M:%S')} {line}", markup=False, highlight=False, soft_wrap=True)
        self.picture = self.read()

    def render(self) -> RenderableType:
        """Return the picture as it is now; called from rich's thread."""
        from rich.text import Text

        picture = self.picture
        if picture is None:
            return Text("starting ...")
        height, width = self.console.size.height, self.console.size.width
        look = Look(unicode=not self.console.options.ascii_only, color=not self.console.no_color, width=width - 1)
        text = live_text(picture, self.paths.root, time.monotonic() - self.started, look, height=height)
        return Text.from_ansi(text, no_wrap=True, overflow="ellipsis")


def live_text(picture: Picture, root: Path, elapsed: float, look: Look, *, height: int) -> str:
    """Return the live picture as text: tree, running trials, best so far against the baseline, budget used."""
    status = picture.status
    jobs = sorted(status.running, key=lambda attempt: attempt.state is not AttemptState.RUNNING)
    seen = [(attempt, _heartbeat(root, attempt)) for attempt in jobs[: max(2, height // 4)]]
    # A job may be at work before the next poll of the scheduler says so.
    shown = [(attempt, beat) for attempt, beat in seen if beat or attempt.state is AttemptState.RUNNING]
    waits = [f"waits for you: {waits_words(status.waits_for)}"] if status.waits_for is not None else []
    rows = max(3, height - FRAME_LINES - len(shown) - len(waits))
    best = status.best.node if status.best is not None else None
    lines = ["", tree_text(picture.nodes, best=best, higher=picture.higher, look=look, limit=rows), ""]
    lines += [running_line(attempt, beat, look) for attempt, beat in shown]
    if len(jobs) > len(shown):
        running = sum(attempt.state is AttemptState.RUNNING for attempt in jobs)
        lines.append(f"{len(jobs)} jobs in all, {running} known to run")
    lines += [*waits, best_text(status, look), budget_line(picture, elapsed)]
    return "\n".join(lines)


def running_line(attempt: AttemptView, beat: Heartbeat | None, look: Look) -> str:
    """Return one running job: what it is, its phase, a bar, step, loss, speed and time left."""
    name = f"node {attempt.node}" + (f" trial {attempt.trial}" if attempt.trial else f" {attempt.kind.value}")
    if beat is None:
        return f"{name:<16} starting"
    words = [f"{name:<16} {beat.phase:<11}"]
    if beat.total_steps:
        words.append(f"{bar(beat.step / beat.total_steps, look)} {beat.step}/{beat.total_steps}")
    if beat.loss is not None:
        words.append(f"loss {beat.loss:.4f}")
    if beat.tokens_per_second:
        words.append(f"{beat.tokens_per_second:,.0f} tokens/s")
    if beat.eta_seconds is not None:
        words.append(f"ETA {duration(beat.eta_seconds)}")
    return "  ".join(words)


def bar(fraction: float, look: Look) -> str:
    """Return a progress bar of fixed width."""
    full = round(max(0.0, min(1.0, fraction)) * BAR_COLUMNS)
    on, off = ("━", "─") if look.unicode else ("#", ".")
    return look.paint(on * full, "cyan") + off * (BAR_COLUMNS - full)


def budget_line(picture: Picture, elapsed: float) -> str:
    """Return what has been used of the caps."""
    status, budget = picture.status, picture.budget
    rounds = sum(count for state, count in status.nodes.items() if state != "pending")
    words = [f"rounds {max(0, rounds - 1)}/{budget.max_nodes}", cost_words(status)]
    caps = ((budget.gpu_hours, "GPU-hours"), (budget.cpu_hours, "CPU-hours"))
    words += [f"cap {cap:g} {unit}" for cap, unit in caps if cap is not None]
    wall = "" if budget.wall_minutes is None else f" of {duration(budget.wall_minutes * 60)}"
    return f"budget    {', '.join(words)}, {duration(elapsed)}{wall} here"


def _heartbeat(root: Path, attempt: AttemptView) -> Heartbeat | None:
    return read_record(AttemptPaths(root / attempt.directory).heartbeat, Heartbeat)


def make_view(paths: SearchPaths, read: Callable[[], Picture], *, color: bool | None) -> View:
    """Return the live view on a terminal, else the plain one (also for ``TERM=dumb``)."""
    from rich.console import Console

    console = Console(no_color=True if color is False else None, highlight=False)
    return LiveView(paths, read, console) if console.is_terminal and not console.is_dumb_terminal else PlainView()
