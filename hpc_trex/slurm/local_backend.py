"""Local processes as the back end: for machines without Slurm.

Jobs are detached: they outlive the controller, and a new controller finds them again by their identity, or by the
spec's path in their command line when their id was never recorded.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hpc_trex.errors import disk_problem_of
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import Profile, Resources
from hpc_trex.slurm import machine, processes
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.environment import clean_environment, job_variables
from hpc_trex.slurm.processes import Process
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState, JobStatus, SubmitRefused, SubmitUnavailable
