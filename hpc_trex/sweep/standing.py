"""How each element stands: from its files first, then from one ``squeue`` for all of them (DESIGN section 8).

An element that is done stays done, whatever else is found. One whose job is over without a word is *lost*; to submit it
again is harmless, since its search goes on from what it recorded and a lease keeps two jobs off one search.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from hpc_trex.errors import LeaseHeld
from hpc_trex.layout import SearchPaths
from hpc_trex.slurm import parsing, processes
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.parsing import Row
from hpc_trex.slurm.queue import SQUEUE, cluster_name, other_cluster
from hpc_trex.slurm.scheduler import JobState
from hpc_trex.sweep.folder import arrays, result, runs
from hpc_trex.sweep.layout import SweepPaths
from hpc_trex.sweep.records import AT_WORK, ArrayRecord, Element, ElementResult, ElementState, Standing, SweepConfig
from hpc_trex.tree.lease import Lease

_INDEX = re.compile(r"\d+_(\d+)")
_LIVE = (JobState.QUEUED, JobState.RUNNING)


class Queue(NamedTuple):
    """What is at work for a sweep just now. ``answered``: Slurm could be asked."""

    rows: Mapping[tuple[str, int], Row]
    """By the array's token and the index in it."""
    answered: bool
    trouble: str = ""


class Traces(NamedTuple):
    """The files of one element that say how it stands."""

    result: ElementResult | None
    last_run: str
    """Token of the job that began last; empty where none did."""
    cancelled: bool
    held_by: str
    """Who has the lease of its search; empty where nobody has."""


def standings(
    paths: SweepPaths, config: SweepConfig, numbers: Iterable[int] | None = None, *, ask: Ask = ask
) -> list[Standing]:
    """Return how the elements stand (``numbers``: only these), in order, with one question to Slurm however many they are."""
    slurm = config.profile.scheduler == "slurm"
    latest = latest_arrays(arrays(paths))
    queue = look(config, latest.values(), ask=ask) if slurm else _here(paths)
    wanted = None if numbers is None else set(numbers)
    found = []
    for element in config.elements():
        if wanted is None or element.number in wanted:
            record = latest.get(element.number)
            found.append(judge(element, record, queue, _traces(paths, element.number), slurm=slurm))
    return _of_this_cluster(found, latest, ask) if slurm else found


def _of_this_cluster(found: list[Standing], latest: Mapping[int, ArrayRecord], ask: Ask) -> list[Standing]:
    """Return the standings with no element lost, or unrecorded, only because its array went to another cluster."""
    doubtful = undecided(one for one in found if one.element.number in latest)
    names = {latest[number].cluster for number in doubtful} - {""}
    here = cluster_name(ask) if names else ""
    words = {number: other_cluster(latest[number].cluster, here) for number in doubtful}
    return [
        one.model_copy(update={"state": ElementState.UNKNOWN, "reason": why, "stuck": bool(here)})
        if (why := words.get(one.element.number))
        else one
        for one in found
    ]


def from_results(paths: SweepPaths, config: SweepConfig) -> list[Standing]:
    """Return the elements as their results alone say: for the table, which asks nobody."""
    found = []
    for element in config.elements():
        left = result(paths, element.number)
        state = ElementState.MISSING if left is None else ElementState(left.state)
        found.append(Standing(element=element, state=state, result=left))
    return found


def latest_arrays(records: Iterable[ArrayRecord]) -> dict[int, ArrayRecord]:
    """Return the last array that each element was put into; given-up ones do not count."""
    return {number: record for record in records if not record.void for number in record.elements}


def look(config: SweepConfig, records: Iterable[ArrayRecord], *, ask: Ask = ask) -> Queue:
    """Ask Slurm once for the jobs of these arrays; the question is not asked where there is no array."""
    if not list(records):
        return Queue({}, answered=True)
    answer = ask(SQUEUE)
    if not answer.ok:
        return Queue({}, answered=False, trouble=answer.words)
    return Queue(_by_index(config, parsing.parse_squeue(answer.out)), answered=True)


def _by_index(config: SweepConfig, rows: Sequence[Row]) -> dict[tuple[str, int], Row]:
    named: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        index = _INDEX.fullmatch(row.job_id)
        if row.name.startswith(f"{config.uid}-") and index is not None and not parsing.never_ran(row):
            named.setdefault((row.name, int(index[1])), []).append(row)
    chosen = {key: parsing.choose(found, None) for key, found in named.items()}
    return {key: row for key, row in chosen.items() if row is not None}


def _here(paths: SweepPaths) -> Queue:
    """Return the elements that run as processes of this machine, as if they were indices of one array."""
    found = processes.with_argument(str(paths.root)).get("element", [])
    rows = {}
    for process in found:
        words = processes.arguments(process.pid)
        if str(paths.root) in words[:-1]:
            number = words[words.index(str(paths.root)) + 1]
            if number.isdecimal():
                rows["", int(number)] = Row(str(process.pid), "RUNNING", "", nodes=processes.this_host())
    return Queue(rows, answered=True)


def _traces(paths: SweepPaths, number: int) -> Traces:
    element = paths.element(number)
    with suppress(FileNotFoundError):
        list(element.root.iterdir())  # a network file system may else remember that the result was not there
    left = result(paths, number)
    if left is not None and left.state == "done":
        return Traces(left, left.token, cancelled=False, held_by="")
    began = runs(paths, number)
    held_by = ""
    if SearchPaths(element.search).lease.exists():
        try:
            Lease(SearchPaths(element.search)).must_be_free()
        except LeaseHeld as held:
            held_by = held.message
    return Traces(left, began[-1].token if began else "", element.cancelled.exists(), held_by)


def judge(element: Element, record: ArrayRecord | None, queue: Queue, traces: Traces, *, slurm: bool) -> Standing:
    """Return how one element stands, from everything that is known of it. Asks nobody."""
    left = traces.result
    key = (record.token, record.elements.index(element.number)) if record else ("", element.number)
    row = queue.rows.get(key)
    token = record.token if record else traces.last_run
    stands = partial(Standing, element=element, token=token, result=left)
    if left is not None and left.state == "done":
        return stands(state=ElementState.DONE)
    live = None if row is None else parsing.job_state(row.state)
    if row is not None and live in _LIVE:
        waits = live is JobState.QUEUED
        state = ElementState.QUEUED if waits else ElementState.RUNNING
        return stands(state=state, reason=row.detail if waits else "", job_id=row.job_id, host=row.nodes)
    if traces.held_by:
        return stands(state=ElementState.RUNNING, reason=traces.held_by)
    if traces.cancelled:
        return stands(state=ElementState.CANCELLED)
    if left is not None and left.token == token:
        return stands(state=ElementState(left.state), reason=left.message)
    if slurm and record is None:
        return stands(state=ElementState.MISSING)
    if not queue.answered:
        return stands(state=ElementState.UNKNOWN, reason=f"squeue does not answer: {queue.trouble}")
    if record is not None and record.job_id is None and row is None:
        why = "whether Slurm has its array is not known: sweep resume asks"
        return stands(state=ElementState.UNKNOWN, reason=why, stuck=True)
    if not slurm and not traces.last_run:
        return stands(state=ElementState.MISSING)
    why = "its job is over and left no result" + (f" ({parsing.status_of(row).reason})" if row else "")
    return stands(state=ElementState.LOST, reason=why)


def undecided(found: Iterable[Standing]) -> set[int]:
    """Return the elements whose state one look does not settle: lost ones, and unknown ones that waiting does not tell of.

    A result may be on its way through a network file system, and an array's job id on its way into the record.
    """
    return {one.element.number for one in found if one.stuck or one.state is ElementState.LOST}


def at_work(found: Iterable[Standing]) -> bool:
    """Tell whether there is something to wait for."""
    return any(one.state in AT_WORK and not one.stuck for one in found)


def being_submitted(paths: SweepPaths) -> bool:
    """Tell whether a launch or resume of the sweep is at it."""
    try:
        Lease(SearchPaths(paths.root)).must_be_free()
    except LeaseHeld:
        return True
    return False


def counts(found: Iterable[Standing]) -> dict[str, int]:
    """Return how many elements stand in each state, in the order of a life."""
    counted = Counter(one.state for one in found)
    return {state.value: counted[state] for state in ElementState if counted[state]}
