"""How a run in the sandbox fails: by its code, or because there is no sandbox."""

from __future__ import annotations

from hpc_trex.errors import JobFailure
from hpc_trex.models.states import FailureClass


class CodeFailed(JobFailure):
    """The code raised, ran over a limit or answered with nonsense (failure class DATA). The message names the row."""

    def __init__(self, message: str, *, hint: str = "mend the code, or leave the step out") -> None:
        super().__init__(message, failure=FailureClass.DATA, hint=hint)


class SandboxMissing(JobFailure):
    """Nothing here can keep the code in (failure class AGENT), so it is not run. The message says what was tried."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "install bubblewrap on compute nodes (hpc-trex doctor looks), or use no python step",
    ) -> None:
        super().__init__(message, failure=FailureClass.AGENT, hint=hint)
