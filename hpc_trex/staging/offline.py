"""A site without internet anywhere: everything that a launch would fetch has to be here, or one error names it all."""

from __future__ import annotations

import shlex

from hpc_trex.errors import EnvironmentProblem, NotFound
from hpc_trex.ftbench.cards import LoadedCard
from hpc_trex.ftbench.hub import local_folder
from hpc_trex.staging.base import stage_model


def require_local(task: str, loaded: LoadedCard, model: str) -> None:
    """Raise :class:`EnvironmentProblem` (exit 8) naming all that is not on this machine and the line that fetches it.

    Other mistakes (a folder that is no model, an unknown built-in one) are raised as they are.
    """
    missing: list[str] = []
    options: list[str] = []
    sources = [*loaded.card.sources.values(), loaded.card.dev, loaded.card.test]
    absent = [source for source in sources if source.hub and local_folder(source) is None]
    if absent:
        names = dict.fromkeys(f"data set {source.hub} at {str(source.revision)[:12]}" for source in absent)
        missing += names
        options += ["--task", task]
    try:
        stage_model(model, network="none")
    except NotFound:
        raise
    except EnvironmentProblem:
        missing.append(f"model {model}")
        options += ["--model", model]
    if missing:
        raise EnvironmentProblem(
            f"the profile says network = none, and not on this machine: {', '.join(missing)}",
            hint=f"where there is network: hpc-trex stage {shlex.join(options)} --into FOLDER; "
            "bring FOLDER here, then: export HPC_TREX_STAGE=FOLDER",
        )
