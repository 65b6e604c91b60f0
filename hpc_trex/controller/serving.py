"""A served language model: its job is started when a question needs it, found again, charged, and ended (``--llm-serve``).

As with every job (DESIGN section 8) the intent with its token is in the log before the submit, and a token is submitted
again only when the scheduler has twice said that it knows no such job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from hpc_trex.agents.llm.errors import LlmBudgetReached, LlmUnavailable
from hpc_trex.agents.llm.keys import served_key
from hpc_trex.controller import budget, charges
from hpc_trex.controller.collect import AGREEING_LOOKS, log_tail
from hpc_trex.controller.context import Work
from hpc_trex.controller.control import OVER
from hpc_trex.controller.serve_spec import as_attempt, is_open, serve_spec, serving_of
from hpc_trex.errors import TrexError
from hpc_trex.faults import reach
from hpc_trex.files import read_record, user_name, write_record
from hpc_trex.layout import AttemptPaths, server_address
from hpc_trex.models import (
    FailureClass,
    JobKind,
    JobResult,
    LlmSettings,
    NodeState,
    SearchState,
    ServedLlm,
    ServerAddress,
    ServerView,
)
from hpc_trex.slurm.failures import classify
from hpc_trex.slurm.profiles import make_scheduler
from hpc_trex.slurm.scheduler import (
    CancelUnavailable,
    JobRef,
    JobRequest,
    JobState,
    JobStatus,
    Scheduler,
    SubmitUnavailable,
)
from hpc_trex.tree.events import ServerEnded, ServerIntended, ServerQueued
from hpc_trex.tree.servers import last_server, live_server

#: So many servers in a row that ended by themselves, and not because of idleness or time, are not followed by another.
FAILURES = 3
PAUSE_SECONDS = 10.0
#: A server whose job goes on is given so long to be reached again.
SILENT_SECONDS = 60.0
ENDED_HERE = "ended by the controller"
#: Failures of a server that another one would repeat.
_ITS_OWN = (FailureClass.ENVIRONMENT, FailureClass.CONFIG, FailureClass.OOM, FailureClass.TIMEOUT)


def connect(work: Work) -> ServedModel | None:
    """Give the search's Researcher the server of its model; None where the search serves none."""
    llm = work.config.llm
    if llm is None or llm.served is None:
        return None
    from hpc_trex.agents.llm.researcher import LlmResearcher

    researcher = work.researcher
    if not isinstance(researcher, LlmResearcher):
        return None
    researcher.server = server = ServedModel(work, llm, llm.served, asking=lambda: researcher.asking)
    return server


class ServedModel:
    """The server of one search, in the hands of its controller. Implements :class:`hpc_trex.agents.llm.served.Served`."""

    def __init__(
        self,
        work: Work,
        llm: LlmSettings,
        served: ServedLlm,
        *,
        asking: Callable[[], bool],
        scheduler: Scheduler | None = None,
    ) -> None:
        """``asking``: whether questions are under way."""
        self._work = work
        self._asking = asking
        self._llm = llm
        self._served = served
        self._resources = serving_of(served.profile)
        self._scheduler = scheduler or make_scheduler(served.profile)
        self._wanted = False
        """Somebody has asked for it since the last look."""
        self._looks = 0
        self._failures = 0
        self._failed: LlmUnavailable | None = None
        self._not_before = 0.0
        self._silent_since: float | None = None
        """When a question found its port closed."""

    def settings(self) -> LlmSettings | None:
        """Return where and how to ask; see the protocol."""
        self._wanted = True
        if self._failed is not None:
            raise self._failed
        live = live_server(self._work.store)
        if live is None:
            self._begin()
            return None
        address = None if self._looks or self._result(live) is not None else self._address(live)
        if address is None or not self._trusted(address):
            return None
        return self._llm.model_copy(update={"base_url": address.url, "model": address.model})

    def lost(self) -> bool:
        """Tell whether the server's job is over, or its port is closed, by which the end of its job is seen first.

        Who asks this will ask the question again, perhaps of another server: nothing else need wake the next tick.
        """
        lost = self._is_lost()
        self._wanted = self._wanted or lost
        return lost

    def _is_lost(self) -> bool:
        live = live_server(self._work.store)
        if live is None or self._result(live) is not None:
            return True
        self._look_at(live)
        if self._looks > 0 or live_server(self._work.store) is None:
            return True
        address = self._address(live)
        if address is not None and not is_open(address):
            self._silent_since = time.monotonic()
        return self._silent_since is not None

    def _trusted(self, address: ServerAddress) -> bool:
        """Tell whether to ask a server. One that could not be reached is asked when it can be.

        Raises LlmUnavailable for one whose job goes on and that nobody can reach.
        """
        if self._silent_since is None or is_open(address):
            self._silent_since = None
            return True
        if time.monotonic() - self._silent_since > SILENT_SECONDS:
            raise LlmUnavailable(
                f"the language model's server runs, but {address.host}:{address.port} cannot be reached from here",
                hint="where login nodes do not reach compute nodes: hpc-trex resume --as-job",
            )
        return False

    def look(self) -> bool:
        """See what became of the job, and tell it that it is needed; return whether it is."""
        wanted, self._wanted = self._wanted or self._asking(), False
        live = live_server(self._work.store)
        if live is not None:
            if wanted:
                self._touch()
            self._look_at(live)
        return wanted

    def spare(self, *, unread: bool) -> None:
        """End the job where no further question will come; ``unread``: a round is still being read."""
        work = self._work
        state = work.store.state()[0]
        asks_no_more = state is SearchState.FINISHING and not unread and not work.store.node_ids(NodeState.PENDING)
        if state in (*OVER, SearchState.PAUSED) or asks_no_more:
            self.stop()

    def stop(self) -> None:
        """End the job, if there is one. A scheduler that does not answer is asked again at the next look; meanwhile
        the server ends by itself, because nobody needs it.
        """
        live = live_server(self._work.store)
        if live is None or self._take_result(live):
            return
        reach("server/stop", live.token)
        try:
            self._scheduler.cancel([self._ref(live)])
        except CancelUnavailable as error:
            self._work.say(f"the language model's server could not be ended: {error.message}")
            return
        if not self._take_result(live, instead=ENDED_HERE):
            self._end(live, ENDED_HERE, FailureClass.CANCELLED)

    def _begin(self) -> None:
        """Record the intent, and submit. Does nothing while other jobs hold what the caps leave."""
        work, resources = self._work, self._resources
        if not budget.fits_beside(work, resources):
            if work.store.live_attempts():
                return
            raise LlmBudgetReached(
                f"the language model's server may use {budget.worst(resources).gpu:.2f} GPU-hours and "
                f"{budget.worst(resources).cpu:.2f} CPU-hours, which the caps do not leave",
                hint="resume with a larger cap",
            )
        last = last_server(work.store)
        number = last.number + 1 if last else 1
        paths = work.paths.server_job(number)
        work.record(
            ServerIntended(
                number=number,
                token=f"{work.config.uid}-serve-{number}",
                directory=str(paths.root.relative_to(work.paths.root)),
                gpus=resources.gpus,
                cpus=budget.cpus(resources),
                minutes=resources.minutes,
                user=user_name(),
                account=self._served.profile.account or "",
            )
        )
        live = live_server(work.store)
        assert live is not None
        self._submit(live)

    def _submit(self, live: ServerView) -> None:
        """Hand the job over. A scheduler that takes nothing now is asked again later."""
        if time.monotonic() < self._not_before:
            return
        work, paths = self._work, self._paths(live)
        spec = serve_spec(work, self._llm, self._served, live.token, paths)
        paths.root.mkdir(parents=True, exist_ok=True)
        write_record(paths.spec, spec, mode=0o600)
        served_key(work.paths)
        self._touch()
        folders = (Path(spec.model_path), work.paths.server)
        request = JobRequest(live.token, paths.root, paths.spec, JobKind.BASE, self._resources, folders)
        reach("submit/before", live.token)
        try:
            job = self._scheduler.submit(request)
        except SubmitUnavailable as error:
            self._not_before = time.monotonic() + PAUSE_SECONDS
            work.say(f"the language model's server waits: {error.message}")
            return
        except TrexError as error:
            work.record(ServerEnded(token=live.token, message=f"not submitted: {error.message}"))
            self._give_up(f"the language model's server was not taken: {error.message}", error.hint)
            raise self._failed or error from error
        reach("submit/after", live.token)
        work.record(ServerQueued(token=live.token, job_id=job))
        work.say(f"the language model's server: job {job} on {self._served.profile.name}")

    def _look_at(self, live: ServerView) -> None:
        """Record what is known of the job now."""
        if self._take_result(live):
            return
        status = self._scheduler.poll([self._ref(live)])[live.token]
        if status.state is JobState.UNKNOWN:
            return
        if status.state in (JobState.QUEUED, JobState.RUNNING):
            self._looks = 0
            if live.state == "intent" and status.job_id:
                self._work.record(ServerQueued(token=live.token, job_id=status.job_id))
            return
        paths = self._paths(live)
        if paths.root.is_dir():
            list(paths.root.iterdir())  # a network file system asks its server then
        if self._take_result(live, status):
            return
        self._looks += 1
        if self._looks < AGREEING_LOOKS:
            return
        if status.state is JobState.ABSENT and live.state == "intent" and not paths.started.exists():
            self._looks = 0
            self._submit(live)
            return
        self._lost(live, status)

    def _take_result(self, live: ServerView, status: JobStatus | None = None, *, instead: str = "") -> bool:
        """Record the end that the job itself wrote, if it did.

        A job that was told to end cannot know by whom: that waits for the scheduler's ``status``. ``instead``: the words
        for an end that we have brought about.
        """
        result = self._result(live)
        if result is None or (result.failure is FailureClass.PREEMPTED and status is None and not instead):
            return False
        self._record_end(live, instead or result.message, charges.of_result(as_attempt(live), result))
        if result.state == "succeeded":
            self._failures = 0
        elif result.failure is FailureClass.PREEMPTED and status is not None and status.reason.startswith("CANCELLED"):
            self._cancelled(status.reason)
        elif not instead:
            self._count_failure(live, result.failure, result.message)
        return True

    def _cancelled(self, reason: str) -> None:
        """A person has cancelled the job: another one would not be what they want."""
        self._give_up(f"the language model's server was cancelled outside hpc-trex [{reason}]")

    def _lost(self, live: ServerView, status: JobStatus) -> None:
        """Record a job that ended without a word."""
        paths = self._paths(live)
        failure, message = classify(
            status, log_tail(paths.stdout) + log_tail(paths.stderr), begun=paths.started.exists()
        )
        self._end(live, message, failure)
        if failure is FailureClass.CANCELLED:
            self._cancelled(status.reason)
        else:
            self._count_failure(live, failure, message)

    def _count_failure(self, live: ServerView, failure: FailureClass | None, message: str) -> None:
        """Try again what took the server away; give up on one that cannot start, or ends again and again."""
        self._failures += 1
        answered = self._address(live) is not None
        if failure is FailureClass.TIMEOUT and answered:
            self._failures = 0
        elif self._failures >= FAILURES or (failure in _ITS_OWN and not answered):
            log = f"; its log: {self._paths(live).stdout}"
            self._give_up(f"the language model's server failed: {message}{log}")

    def _give_up(self, message: str, hint: str = "") -> None:
        """Start no further server in this controller."""
        self._failed = LlmUnavailable(message[-3000:], hint=hint or f"then: hpc-trex resume {self._work.paths.root}")
        self._work.note(self._failed.message)

    def _end(self, live: ServerView, message: str, failure: FailureClass) -> None:
        charge = charges.without_result(self._work, as_attempt(live), failure)
        self._record_end(live, message, charge)

    def _record_end(self, live: ServerView, message: str, charge: charges.Charge) -> None:
        self._looks, self._silent_since = 0, None
        self._work.record(
            ServerEnded(
                token=live.token, seconds=charge.seconds, cpu_seconds=charge.cpu_seconds, message=message[:2000]
            )
        )
        self._work.say(f"the language model's server is over: {message.splitlines()[0] if message else 'no word'}")

    def _paths(self, live: ServerView) -> AttemptPaths:
        return AttemptPaths(self._work.paths.root / live.directory)

    def _ref(self, live: ServerView) -> JobRef:
        return JobRef(live.token, live.job_id, self._paths(live).root)

    def _result(self, live: ServerView) -> JobResult | None:
        result = read_record(self._paths(live).result, JobResult)
        return result if result is not None and result.token == live.token else None

    def _address(self, live: ServerView) -> ServerAddress | None:
        address = read_record(server_address(self._paths(live)), ServerAddress)
        return address if address is not None and address.token == live.token else None

    def _touch(self) -> None:
        self._work.paths.server_asked.touch()
