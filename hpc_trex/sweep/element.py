"""What one element of a sweep does in its job: its own search, from the beginning or from where an earlier job left it.

The controller of the search runs in the element's job and its trainings are processes (or steps) beside it, so that a
whole small search needs one place in the queue and no ``sbatch`` from a compute node.
"""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hpc_trex.controller import Controller
from hpc_trex.controller.loop import TickReport
from hpc_trex.controller.signals import Ended, ending_on_signals
from hpc_trex.errors import EnvironmentProblem, LeaseHeld, NotFound, TrexError
from hpc_trex.faults import reach
from hpc_trex.files import read_record, write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import Budget, Profile, SearchConfig, SearchState
from hpc_trex.new_search import make_search
from hpc_trex.slurm.local_backend import GRACE, LocalScheduler
from hpc_trex.slurm.scheduler import JobRef
from hpc_trex.sweep.folder import knowledge_file, read_config, runs
from hpc_trex.sweep.layout import ElementPaths, SweepPaths
from hpc_trex.sweep.records import NOTHING, ArrayRecord, Element, ElementResult, RunRecord, SweepConfig
from hpc_trex.tree.store import Store

#: How often a running element renews its record of what it holds.
BEAT_SECONDS = 20.0
#: What is left between the end of the trainings' grace and the end of the job, to write the result.
LAST_SECONDS = 15.0


class Job(NamedTuple):
    """The job, or the process, that an element runs in."""

    token: str
    job_id: str


def job_of(paths: SweepPaths, array: int, index: int) -> tuple[int, Job] | None:
    """Return which element an index of an array means, and the job that this process is; None for a void array.

    Raises :class:`NotFound` for an array or an index that the sweep never submitted.
    """
    record = read_record(paths.array(array).record, ArrayRecord)
    if record is None or not 0 <= index < len(record.elements):
        raise NotFound(
            f"sweep {paths.root.name} has no index {index} in an array {array}", hint="hpc-trex sweep status"
        )
    if record.void:
        return None
    parent = os.environ.get("SLURM_ARRAY_JOB_ID") or record.job_id or "0"
    return record.elements[index], Job(record.token, f"{parent}_{index}")


def run_element(paths: SweepPaths, number: int, job: Job, say: Callable[[str], None]) -> ElementResult:
    """Run an element to its end, or until this job must end, and return what it left (``element.json``).

    Raises :class:`LeaseHeld`, and leaves nothing, while another job works on it; :class:`NotFound` for a number that the
    sweep does not have. Whatever else goes wrong is written into the result before it is raised.
    """
    config = read_config(paths)
    element = next((one for one in config.elements() if one.number == number), None)
    if element is None:
        raise NotFound(f"sweep {config.name} has no element {number}", hint="hpc-trex sweep status --elements")
    os.umask(0o007 if config.profile.share == "group" else 0o077)
    folder = paths.element(number)
    folder.root.mkdir(parents=True, exist_ok=True)
    if folder.cancelled.exists():
        say(f"element {number} of {config.name} was cancelled; this job leaves")
        return ElementResult(number=number, token=job.token, state="cancelled")
    say(f"element {number} of {config.name}: {describe(config, element)} (job {job.job_id} on {socket.gethostname()})")
    clock = Clock(folder, config, job)
    try:
        with ending_on_signals():
            clock.beat()
            result = _searched(paths, config, element, job, clock, say)
    except LeaseHeld:
        clock.end("another job works on it")
        raise
    except (Ended, KeyboardInterrupt) as end:
        why = f"signal {end.signal}" if isinstance(end, Ended) else "Ctrl-C"
        result = _result(folder, element, job, "stopped", f"told to end by {why}; sweep resume goes on with it")
    except Exception as error:
        message = error.message if isinstance(error, TrexError) else f"{type(error).__name__}: {error}"
        _leave(folder, clock, _result(folder, element, job, "failed", message))
        raise
    _leave(folder, clock, result)
    return result


def describe(config: SweepConfig, element: Element) -> str:
    """Return an element in words."""
    words = [config.tasks[element.task].name, config.all_models[element.model].name, f"seed {element.seed}"]
    role = config.role(element)
    methods = [f"{element.researcher} on {element.policy}"] if role == "search" else [f"{role}, evaluated only"]
    without = [] if element.without == NOTHING else [f"without {element.without}"]
    return ", ".join([*words, *methods, *without])


class Clock:
    """The record of one job of an element: what it holds counts from its first second, however it ends."""

    def __init__(self, folder: ElementPaths, config: SweepConfig, job: Job) -> None:
        self._path = folder.run(job.token)
        self._path.parent.mkdir(exist_ok=True)
        # Slurm may put a job back into the queue (a node died): what it held before stands under the same token.
        before = read_record(self._path, RunRecord)
        self._last = time.monotonic()
        self._began = self._last - (before.seconds if before is not None else 0.0)
        resources = config.resources
        began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._record = RunRecord(
            token=job.token, job_id=job.job_id, host=socket.gethostname(), began=began,
            gpus=resources.gpus, cpus=resources.nodes * resources.cpus_per_task,
        )  # fmt: skip

    def beat(self) -> None:
        """Renew the record."""
        self._last = time.monotonic()
        self._record = self._record.model_copy(update={"seconds": self._last - self._began})
        write_record(self._path, self._record)

    def on_tick(self, _report: TickReport) -> None:
        """Renew the record now and then."""
        if time.monotonic() > self._last + BEAT_SECONDS:
            self.beat()

    def end(self, how: str) -> None:
        """Write how the job ended."""
        self._record = self._record.model_copy(update={"ended": how})
        self.beat()


def _leave(folder: ElementPaths, clock: Clock, result: ElementResult) -> None:
    reach("sweep/result/before", result.token)
    write_record(folder.result, result)
    reach("sweep/result/after", result.token)
    clock.end(result.state)


# ---- the search -------------------------------------------------------------------------------------------------------


def _searched(
    paths: SweepPaths, config: SweepConfig, element: Element, job: Job, clock: Clock, say: Callable[[str], None]
) -> ElementResult:
    """Drive the element's search in this process until it is over, paused, or the job must end."""
    folder = paths.element(element.number)
    _make_room(folder, say)
    search = SearchPaths(folder.search)
    if not search.config.exists():
        make_element_search(paths, config, element)
    controller = Controller(search)
    try:
        until = getattr(controller.work.scheduler, "ends_now", None)

        def on_tick(report: TickReport) -> None:
            for line in report.lines:
                say(f"{time.strftime('%H:%M:%S')} {line}")
            clock.on_tick(report)

        try:
            controller.run(on_tick, until=until)
        except (Ended, KeyboardInterrupt):
            _save_checkpoints(controller, config.profile, say)
            raise
        state, message = controller.store.state()
    finally:
        controller.close()
    words = {SearchState.DONE: "done", SearchState.FAILED: "failed", SearchState.CANCELLED: "cancelled"}
    return _result(folder, element, job, words.get(state, "stopped"), message)


def _make_room(folder: ElementPaths, say: Callable[[str], None]) -> None:
    """Put aside a search that cannot go on: one that failed, or was cancelled and is asked for again."""
    search = SearchPaths(folder.search)
    if not search.config.exists():
        return
    with Store.read(search) as reader:
        state = reader.state()[0]
    if state not in (SearchState.FAILED, SearchState.CANCELLED):
        return
    aside = next(name for number in range(1, 10_000) if not (name := folder.root / f"search-{number}").exists())
    folder.search.rename(aside)
    say(f"its earlier search {state.value}: kept in {aside.name}, and begun anew")


def make_element_search(paths: SweepPaths, config: SweepConfig, element: Element) -> SearchPaths:
    """Make an element's search directory from the sweep's frozen rows and settings alone."""
    task, model = config.tasks[element.task], config.all_models[element.model]
    folder = paths.element(element.number)
    again = len([path for path in folder.root.glob("search-*") if path.is_dir()])
    search = SearchConfig(
        name=f"{config.name}-{element.number:04d}"[:64],
        uid=f"{config.uid}-e{element.number}" + (f"-{again}" if again else ""),
        task=task.name,
        model=model.name,
        model_path=model.path,
        profile=config.inner,
        budget=Budget(
            max_nodes=config.max_nodes if config.role(element) == "search" else 0,
            gpu_hours=config.search_gpu_hours,
            cpu_hours=config.search_cpu_hours,
        ),
        policy=config.policy_of(element),
        researcher=config.researcher_of(element),
        llm=config.llm if element.researcher == "llm" else None,
        noise=config.noise,
        parallel=config.inner.parallel or 1,
        seed=element.seed,
        default_train=dict(task.default_train),
    )
    rows = SearchPaths(paths.task(element.task))

    def copied(target: SearchPaths) -> str:
        for name in (rows.card.parent.name, rows.test.parent.name):
            shutil.copytree(rows.root / name, target.root / name)
        known = knowledge_file(paths, element.task, element.model)
        if known.exists() and config.role(element) == "search" and "insights" not in search.researcher.without:
            shutil.copyfile(known, target.knowledge)
        return task.digest

    if not rows.card.is_file():
        raise EnvironmentProblem(f"{rows.card} is missing", hint="the sweep's folder is incomplete; restore it")
    return make_search(folder.search, search, copied, base_digest=model.digest, higher_is_better=task.higher_is_better)


def _save_checkpoints(controller: Controller, profile: Profile, say: Callable[[str], None]) -> None:
    """Tell the trainings of this job to save and end, before Slurm kills them with it.

    Steps of an inner allocation are warned by their own back end.
    """
    inner = controller.profile
    live = controller.store.live_attempts()
    if inner.scheduler != "local" or not live:
        return
    say(f"the job ends: {len(live)} job(s) of the search save their checkpoints")
    grace = max(GRACE, profile.signal_seconds - LAST_SECONDS) if profile.scheduler == "slurm" else GRACE
    refs = [JobRef(one.token, one.job_id, Path(controller.paths.root / one.directory)) for one in live]
    LocalScheduler(inner, grace=grace).cancel(refs)


def _result(folder: ElementPaths, element: Element, job: Job, state: str, message: str) -> ElementResult:
    """Return what has come of an element so far, read from its search."""
    common = {"number": element.number, "token": job.token, "state": state, "message": message}
    search = SearchPaths(folder.search)
    if not search.config.exists():
        return ElementResult.model_validate(common)
    with Store.read(search) as reader:
        status, higher = reader.status(), reader.higher_is_better
    best, test = status.chosen or status.best or status.baseline, status.test_difference
    return ElementResult.model_validate(
        common
        | {
            "search": str(search.root),
            "baseline": status.baseline.dev if status.baseline else None,
            "dev": best.dev if best else None,
            "dev_gain": best.gain if best else None,
            "test": status.chosen.test if status.chosen else None,
            "test_baseline": status.baseline.test if status.baseline else None,
            "test_gain": None if test is None else (test.value if higher else -test.value),
            "rounds": max(0, sum(status.nodes.values()) - 1),
            "gpu_hours": status.cost.gpu_hours,
            "cpu_hours": status.cost.cpu_hours,
        }
    )


def next_run(paths: SweepPaths, config: SweepConfig, number: int) -> str:
    """Return the token of an element's next process on this machine."""
    return f"{config.uid}-e{number}-here{len(runs(paths, number)) + 1}"
