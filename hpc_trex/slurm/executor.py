"""The one place that touches submitit's inside: an executor that submits a single job, through submitit's own hooks.

It differs from :class:`submitit.SlurmExecutor` in four things. The pickle (our fixed function and a path) is on disk
before ``sbatch``, so that a controller killed right after it loses nothing. There is no pause of 0.2 s between
submits. The job id is read from ``--parsable``, whatever banner stands around it. ``sbatch`` has a time limit and does
not see the variables of an enclosing job.

This module imports submitit, which takes 0.2 s; import it inside functions.
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from hpc_trex.slurm.commands import NOT_FOUND

_JOB_ID_LINE = re.compile(r"(\d+)(;[\w.-]+)?")
_PICKLE = "submitted.pkl"


class SbatchFailed(Exception):
    """``sbatch`` did not return a job id: its exit status and all it said."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class TrexExecutor(SlurmExecutor):  # type: ignore[misc]
    """Writes and submits the batch script of one job.

    ``prefix`` stands before ``sbatch`` (its time limit and environment); ``script`` receives a copy of the script.
    """

    def __init__(self, folder: Path, *, python: str, prefix: Sequence[str], script: Path) -> None:
        super().__init__(folder, python=python)
        self._prefix = list(prefix)
        self._script = script

    @classmethod
    def affinity(cls) -> int:
        """Scripts can be rendered where there is no ``srun``."""
        return 2

    @staticmethod
    def link_lines(folder: Path) -> str:
        """Return the shell line by which the job finds the pickle under the name that submitit expects.

        Loading a pickle runs what it says: one that belongs to another user (in a folder that a group shares) is refused.
        """
        quoted = "'" + str(folder).replace("'", "'\"'\"'") + "'"
        mine = f"[ -O {quoted}/{_PICKLE} ]"
        refused = f'echo "hpc-trex: "{quoted}"/{_PICKLE} belongs to another user and is not loaded" >&2'
        return f'{mine} || {{ {refused}; exit 1; }}; ln -sfn {_PICKLE} {quoted}/"$SLURM_JOB_ID"_submitted.pkl'

    def text(self) -> str:
        """Return the batch script."""
        return str(super()._make_submission_file_text(self._submitit_command_str, ""))

    def text_of(self, command: str) -> str:
        """Return a batch script that runs another command than submitit's (an array's, a controller's)."""
        return str(super()._make_submission_file_text(command, ""))

    def submit_one(self, function: Callable[[str], Any], argument: str) -> str:
        """Submit ``function(argument)`` and return the job id. Raises :class:`SbatchFailed`."""
        noise = io.StringIO()  # submitit prints what sbatch says on an error; the exception carries it too
        try:
            with contextlib.redirect_stderr(noise):
                job = self.submit(function, argument)
        except FailedJobError as error:
            cause = error.__cause__
            code = cause.returncode if isinstance(cause, subprocess.CalledProcessError) else 1
            output = str(cause.output or "") if isinstance(cause, subprocess.CalledProcessError) else ""
            raise SbatchFailed(code, str(error) or output) from error
        except FailedSubmissionError as error:
            raise SbatchFailed(0, str(error)) from error
        except FileNotFoundError as error:
            raise SbatchFailed(NOT_FOUND, str(error)) from error
        return str(job.job_id)

    # ---- submitit's hooks -----------------------------------------------------------------------------------------

    def _internal_process_submissions(self, delayed_submissions: list[DelayedSubmission]) -> list[Any]:
        (delayed,) = delayed_submissions
        self.folder.mkdir(parents=True, exist_ok=True)
        # submitit would requeue a job that was warned; ours ends with a checkpoint and a new attempt follows.
        delayed.set_timeout(self.parameters["time"], 0)
        delayed.dump(self.folder / _PICKLE)
        return [self._submit_command(self._submitit_command_str)]

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        text = str(super()._make_submission_file_text(command, uid))
        self._script.write_text(text, encoding="utf-8")  # for people; the one that counts is submitit's
        return text

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        return [*self._prefix, "sbatch", "--parsable", str(submission_file_path)]

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        text = string.decode(errors="replace") if isinstance(string, bytes) else string
        ids = [match[1] for line in text.splitlines() if (match := _JOB_ID_LINE.fullmatch(line.strip()))]
        if len(ids) != 1:
            raise FailedSubmissionError(f"no job id in the answer of sbatch: {text.strip()[:500]!r}")
        return ids[0]
