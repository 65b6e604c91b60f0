"""The tick, and the loop around it. Foreground, background and cron are only different ways to call ``tick``."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from hpc_trex.agents.registry import make_researcher
from hpc_trex.controller import budget, control, gates, review
from hpc_trex.controller.advance import Ready, advance
from hpc_trex.controller.collect import collect
from hpc_trex.controller.context import Work
from hpc_trex.controller.control import OVER
from hpc_trex.controller.design import design, why_no_more
from hpc_trex.controller.finish import finish, measure_noise_floor, rescore
from hpc_trex.controller.leftovers import sweep_search
from hpc_trex.controller.move import refuse_strangers, settle
from hpc_trex.controller.reading import Reading
from hpc_trex.controller.repairs import stuck
from hpc_trex.controller.requests import Request, drop_pauses, obeyed, place, waiting
from hpc_trex.controller.serving import ServedModel, connect
from hpc_trex.controller.submit import give_up, submit
from hpc_trex.errors import EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.layout import SearchPaths
from hpc_trex.models import (
    NodeState,
    Profile,
    SearchConfig,
    SearchState,
    TaskCard,
)
from hpc_trex.slurm.profiles import make_scheduler
from hpc_trex.slurm.scheduler import CancelUnavailable, Scheduler
from hpc_trex.tree.context import StoreView
from hpc_trex.tree.events import ConfigChanged, NodeAdded
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.snapshot import publish
from hpc_trex.tree.store import Store

#: A pause is up to this share shorter or longer: controllers that began together (a sweep) do not ask Slurm together.
JITTER = 0.1


class TickReport(NamedTuple):
    """What one tick did, for a person."""

    state: SearchState
    lines: list[str]
    finished: bool
    live: int


class Controller:
    """The only writer of a search while it holds the lease. Closing it never cancels a job."""

    def __init__(
        self,
        paths: SearchPaths,
        *,
        config: SearchConfig | None = None,
        scheduler: Scheduler | None = None,
        assume_gone: bool = False,
    ) -> None:
        """Take the lease and open the search; ``config`` replaces the frozen one (``resume`` with options).

        ``assume_gone``: jobs of a profile that is left, and that cannot be asked about, are recorded as lost.
        ``scheduler`` stands in for the profile's own back end (benchmarks with jobs of no work).

        Raises LeaseHeld when another controller works on it, EnvironmentProblem when its files are damaged.
        """
        self.paths = paths
        self.lease = Lease(paths)
        self._quiet: int | None = None
        """The number of the last event, after a pass that found nothing to do."""
        self._changed = False
        self.server: ServedModel | None = None
        self.lease.acquire()
        try:
            self.store = Store.open(paths, guard=self.lease)
            self.work = self._open(config, scheduler, assume_gone=assume_gone)
            self.reading = Reading(self.work)
            sweep_search(paths, self.store)
        except BaseException:
            self.close()
            raise

    def _open(self, config: SearchConfig | None, scheduler: Scheduler | None, *, assume_gone: bool) -> Work:
        old = self.store.config
        current = config or old
        os.umask(0o007 if current.profile.share == "group" else 0o077)
        card = TaskCard.model_validate_json(self.paths.card.read_bytes())
        rows = {name: _count_lines(self.paths.sources / f"{name}.jsonl") for name in card.sources}
        work = Work(
            paths=self.paths,
            store=self.store,
            scheduler=scheduler or make_scheduler(current.profile),
            researcher=make_researcher(current, self.paths),
            view=StoreView(self.store, card, rows),
        )
        if current.profile.scheduler != old.profile.scheduler or assume_gone:
            settle(work, old.profile, make_scheduler, assume_gone=assume_gone)
        refuse_strangers(work, old.profile)
        if current != old:
            self.store.record(ConfigChanged(config=current))
            self._changed = True
            vars(work).pop("config", None)  # read again: settling has looked at the old one
        self.server = connect(work)
        return work

    def __enter__(self) -> Controller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def profile(self) -> Profile:
        """The profile that the search runs on."""
        return self.store.config.profile

    def start(self, *, wake: bool = True) -> None:
        """Set a paused search going again (``wake``), and a finishing one whose caps were changed; one that is over stays so.

        After the final choice no round is designed any more, whatever the caps.
        """
        if self.store.state()[0] is SearchState.PAUSED:
            if not wake:
                return
            drop_pauses(self.paths)
        state = self.store.state()[0]
        if state is SearchState.PAUSED and self.store.chosen() is not None:
            self.work.change_state(SearchState.FINISHING, why_no_more(self.work))
        elif state is SearchState.PAUSED or (
            state is SearchState.FINISHING and self._changed and self.store.chosen() is None
        ):
            self.work.change_state(SearchState.RUNNING)
        self.reading.read_rounds()

    def tick(self) -> TickReport:
        """Do one short pass: collect, diagnose, select, design, submit. May be killed at any instruction."""
        work = self.work
        work.lines = []
        self.lease.check()
        try:
            self._obey()
            if self.store.state()[0] not in (*OVER, SearchState.PAUSED):
                self._pass(work)
        finally:
            if self.server is not None:
                self.server.spare(unread=self.reading.unread)
            state = self.store.state()[0]
            publish(self.store, force=state in OVER or state is SearchState.PAUSED)
        return TickReport(
            state, list(work.lines), state in (*OVER, SearchState.PAUSED), len(self.store.live_attempts())
        )

    def _pass(self, work: Work) -> None:
        if self.store.next_node() == 0:
            work.record(NodeAdded(node=0, parent=None, plan=None))
        awaited = self.server is not None and self.server.look()
        collect(work)
        seq = self.store.last_seq()
        # Where a gate waits for a person nothing comes in, and a cap on the time is reached all the same.
        stirred = work.suspects or work.researcher.thinking or awaited or (work.config.approve and budget.reached(work))
        if seq == self._quiet and not stirred:
            return  # nothing came in since a pass that found nothing to do
        if self.reading.unread:
            self.reading.read_rounds()
        try:
            self._derive(work)
        finally:
            self.reading.book_calls()
        waits = time.monotonic() < work.not_before  # then there is something to do later, without any event
        self._quiet = seq if self.store.last_seq() == seq and not waits else None

    def _derive(self, work: Work) -> None:
        """Do everything that follows from what is recorded."""
        self._advance()
        if self._baseline_failed():
            return
        rescore(work)
        measure_noise_floor(work)
        ready = self._advance()
        if design(work, len(ready)):
            ready = self._advance()
        if give_up(work, ready):
            self._advance()
            if self._baseline_failed():
                return
        if not self.reading.unread:  # a search ends with all its rounds read
            finish(work)
        if self.store.state()[0] not in (*OVER, SearchState.PAUSED):
            submit(work, self._advance())
            stuck(work)

    def _advance(self) -> list[Ready]:
        """Settle what is settled, have the rounds that ended read, and return the jobs that are ready."""
        before = set(self.store.node_ids(NodeState.PENDING))
        ready = advance(self.work)
        for node in sorted(before - set(self.store.node_ids(NodeState.PENDING))):
            self.reading.diagnose(node)
        return ready

    def _baseline_failed(self) -> bool:
        root = self.store.node(0)
        if root.state not in (NodeState.FAILED, NodeState.CANCELLED, NodeState.STRUCK):
            return False
        struck = root.state is NodeState.STRUCK
        why = f"it is struck: {root.message}" if struck else root.trials[0].message if root.trials else root.message
        capped = budget.REACHED if why.startswith(budget.REACHED) else ""
        why = why.removeprefix(budget.REACHED)
        self.work.change_state(SearchState.FAILED, f"{capped}the baseline could not be evaluated: {why}")
        return True

    def _obey(self, *, but: Path | None = None) -> None:
        """Carry out what persons (``cancel``, ``pause``, ``approve`` ...) asked of a running controller, oldest first."""
        for path, request in waiting(self.paths):
            if path == but:
                continue
            if request is None:
                self.work.note(f"{path.name} is no request that this hpc-trex knows; it was removed")
                obeyed(path)
                continue
            try:
                self._carry_out(request)
            except CancelUnavailable as error:
                self.work.say(f"{error.message}; the next tick tries again")
                return
            except (UsageProblem, NotFound) as error:
                self.work.note(f"{request.action} was refused: {error.message}", request.node)
            obeyed(path)

    def _carry_out(self, request: Request) -> None:
        if request.action == "retry":
            control.retry(self.work, request)
        elif request.action in ("approve", "reject"):
            gates.decide(self.work, request)
            self.reading.unread = True  # a rejected brief is written anew
        elif request.action in ("strike", "restore"):
            (review.strike if request.action == "strike" else review.restore)(self.work, request)
            self.reading.unread = True  # a restored round is read
        elif request.action == "open-test":
            control.open_again(self.work, request)
        elif request.action == "pause":
            control.pause(self.work, request)
        else:
            control.cancel(self.work, request)
            self._advance()
            if request.node is None and self.store.state()[0] not in OVER:
                self.work.change_state(SearchState.CANCELLED, control.BY_USER)

    def cancel(self, node: int | None = None, *, subtree: bool = False) -> list[str]:
        """End the jobs of one round (with ``subtree``: of its descendants too), or of the whole search, for good."""
        return self.ask(Request(action="cancel", node=node, subtree=subtree))

    def ask(self, request: Request) -> list[str]:
        """Carry out a request here and now; return what was done, in plain lines.

        It is on disk before anything is done, so that the next controller carries on where this one dies. Raises
        UsageProblem or NotFound for what cannot be done, CancelUnavailable when the scheduler does not answer.
        """
        if request.node is not None and request.gate is None:
            self.store.node(request.node)
        path = place(self.paths, request)
        self._obey(but=path)  # what another person asked before, of a controller that is gone
        try:
            self._carry_out(request)
        except (UsageProblem, NotFound):
            obeyed(path)
            raise
        if self.server is not None:
            self.server.spare(unread=self.reading.unread)
        publish(self.store, force=True)
        obeyed(path)
        return list(self.work.lines)

    def run(
        self,
        on_tick: Callable[[TickReport], None],
        *,
        once: bool = False,
        until: Callable[[], bool] | None = None,
    ) -> SearchState:
        """Tick until the search is over or paused (or ``once``, which leaves a paused search paused); ``on_tick`` is told
        of each pass.

        ``once`` goes on while a question to a language model is under way: its answer would be lost with this process.
        ``until`` is asked after each pass whether the controller must leave now.
        Raises EnvironmentProblem or ClusterRefused when the search paused because something must be mended first.
        """
        self.start(wake=not once)
        while True:
            report = self.tick()
            on_tick(report)
            if report.finished or (once and not self.work.researcher.asking) or (until is not None and until()):
                return report.state
            self.work.researcher.wait(self.profile.poll_seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311

    def close(self) -> None:
        """End the agents' questions under way, close the database and give the lease back."""
        work = getattr(self, "work", None)
        if work is not None:
            work.researcher.close()
        store = getattr(self, "store", None)
        if store is not None:
            store.close()
        self.lease.release()


def _count_lines(path: Path) -> int:
    try:
        with path.open("rb") as handle:
            return sum(1 for _ in handle)
    except FileNotFoundError as error:
        raise EnvironmentProblem(f"{path} is missing", hint="the search directory is incomplete; restore it") from error
