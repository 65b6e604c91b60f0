"""Put elements into the queue as arrays, each exactly once (DESIGN section 8).

An array's record stands on disk before ``sbatch`` and gets the job id after it. Whoever goes on with the sweep first finds
out what became of records without an id: by the token, which is the array's job name. A record that Slurm never had is
*void*; should its array come up all the same, its jobs leave at once (:mod:`hpc_trex.sweep.element`).
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence

from hpc_trex.errors import ClusterRefused
from hpc_trex.faults import reach
from hpc_trex.files import write_record
from hpc_trex.slurm import parsing, processes
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.queue import CONFIRM_SECONDS, SQUEUE, cluster_name, other_cluster
from hpc_trex.slurm.scheduler import SubmitUnavailable
from hpc_trex.sweep.chunks import Chunk, chunks
from hpc_trex.sweep.folder import arrays, runs
from hpc_trex.sweep.layout import SweepPaths
from hpc_trex.sweep.records import ArrayRecord, Standing, SweepConfig
from hpc_trex.sweep.script import array_cap, render, sbatch

#: Pause between two looks for an array that Slurm may be about to take.
LOOK_SECONDS = 1.0
#: As the format of single jobs, but with the array's id and the index, not with a number for each task.
ACCOUNTS_FORMAT = parsing.SACCT_FORMAT.replace("JobIDRaw", "JobID")


def plan_arrays(
    config: SweepConfig,
    records: Sequence[ArrayRecord],
    found: Sequence[Standing],
    wanted: Sequence[int],
    *,
    ask: Ask = ask,
) -> list[tuple[ArrayRecord, Chunk]]:
    """Return the arrays for the ``wanted`` elements with their records, not written yet; ``found``: those at work now."""
    live = [one for one in found if one.job_id is not None]
    cut = chunks(wanted, array_cap(config, ask=ask), config.throttle, len(live))
    ids = tuple(sorted({str(one.job_id).split("_")[0] for one in live}, key=int))
    first = 1 + max((record.number for record in records), default=0)
    return [
        (
            ArrayRecord(
                number=number,
                token=f"{config.uid}-a{number}",
                elements=chunk.elements,
                throttle=chunk.throttle,
                after=ids if chunk.waits else (),
            ),
            chunk,
        )
        for number, chunk in enumerate(cut, first)
    ]


def submit_arrays(
    paths: SweepPaths,
    config: SweepConfig,
    planned: Sequence[tuple[ArrayRecord, Chunk]],
    say: Callable[[str], None],
    *,
    ask: Ask = ask,
    keep: Callable[[], None] = lambda: None,
) -> list[ArrayRecord]:
    """Submit the arrays and return their records with job ids. The caller holds the sweep's lease, which
    ``keep`` renews.

    Raises :class:`SubmitRefused` or :class:`SubmitUnavailable`; what was submitted before stays so, and the array in
    question is recorded as void, or found again by the next :func:`reconcile`.
    """  # fmt: skip
    done: list[ArrayRecord] = []
    cluster = cluster_name(ask)
    for planned_record, chunk in planned:
        keep()
        earlier = tuple(str(record.job_id) for record in done) if chunk.waits else ()
        record = planned_record.model_copy(update={"after": (*planned_record.after, *earlier), "cluster": cluster})
        text = render(paths, config, record, chunk)
        folder = paths.array(record.number)
        folder.root.mkdir(parents=True, exist_ok=True)
        # The boundaries are named by what is submitted: another array of the same elements is the same step again.
        subject = f"{config.uid} {spans(record.elements)}"
        reach("sweep/record/before", subject)
        write_record(folder.record, record)
        reach("sweep/record/after", subject)
        try:
            job = sbatch(paths, config.profile, record, text, ask=ask)
        except SubmitUnavailable:
            raise  # Slurm may have it: whoever goes on asks by its token
        except ClusterRefused:
            write_record(folder.record, record.model_copy(update={"void": True}))
            raise
        done.append(record.model_copy(update={"job_id": job}))
        reach("sweep/submit/after", subject)
        write_record(folder.record, done[-1])
        reach("sweep/recorded", subject)
        say(
            f"array {job}: elements {spans(record.elements)}"
            + (f", at most {chunk.throttle} at once" * bool(chunk.throttle))
        )
    return done


def spans(numbers: Sequence[int]) -> str:
    """Return numbers in words: ``0-4, 7``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def reconcile(
    paths: SweepPaths,
    say: Callable[[str], None],
    *,
    ask: Ask = ask,
    sleep: Callable[[float], None] = time.sleep,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Give every record of an array its job id, or call it void. The caller holds the sweep's lease, which ``keep`` renews.

    Raises :class:`ClusterRefused` (exit code 5) while Slurm cannot be asked, or here is not the cluster to ask: an array
    could be submitted twice.
    """  # fmt: skip
    for record in arrays(paths):
        if record.job_id is not None or record.void:
            continue
        elsewhere = other_cluster(record.cluster, cluster_name(ask)) if record.cluster else ""
        if elsewhere:
            raise ClusterRefused(
                f"array {record.token}: {elsewhere}", hint="the same command on a login node of that cluster"
            )
        job = _find(paths, record, ask=ask, sleep=sleep, keep=keep)
        changed = record.model_copy(update={"job_id": job} if job else {"void": True})
        write_record(paths.array(record.number).record, changed)
        say(f"array {record.token}: " + (f"Slurm has it as {job}" if job else "Slurm never had it"))


def _find(
    paths: SweepPaths, record: ArrayRecord, *, ask: Ask, sleep: Callable[[float], None], keep: Callable[[], None]
) -> str | None:
    """Return the job id that Slurm gave an array; None when it has none under this token, asked more than once."""
    waited = 0.0
    while True:
        for number in record.elements:  # a job of it has begun: then it exists, whatever Slurm remembers
            for run in runs(paths, number):
                if run.token == record.token:
                    return run.job_id.split("_")[0]
        job = _ask_for(record, ask)
        if job is not None:
            return job
        if waited >= CONFIRM_SECONDS and not _submit_under_way(paths, record):
            return None
        sleep(LOOK_SECONDS)
        keep()
        waited += LOOK_SECONDS


def _ask_for(record: ArrayRecord, ask: Ask) -> str | None:
    answer = ask(SQUEUE)
    if not answer.ok:
        raise ClusterRefused(
            f"whether Slurm has array {record.token} is not known: squeue says: {answer.words}",
            hint="hpc-trex sweep resume, when Slurm answers again",
        )
    rows = [row for row in parsing.parse_squeue(answer.out) if row.name == record.token and not parsing.never_ran(row)]
    if not rows:
        month_ago = datetime.datetime.now() - datetime.timedelta(days=30)
        told = ask(
            ("sacct", "-n", "-P", "-X", "-S", f"{month_ago:%Y-%m-%dT%H:%M:%S}", f"--name={record.token}",
             "-o", ACCOUNTS_FORMAT)
        )  # fmt: skip
        found = parsing.parse_sacct(told.out) if told.ok else []  # a site without accounting: squeue is all there is
        rows = [row for row in found if row.name == record.token and not parsing.never_ran(row)]
    return rows[0].job_id.split("_")[0] if rows else None


def _submit_under_way(paths: SweepPaths, record: ArrayRecord) -> bool:
    """Tell whether an ``sbatch`` of the array still runs on this machine, waiting for slurmctld."""
    found = processes.with_argument(str(paths.array(record.number).script))
    return any("sbatch" in processes.arguments(process.pid) for several in found.values() for process in several)
