"""The library that scores a task's metric has to be where jobs run: looked up before there is a job, where that is possible."""

from __future__ import annotations

from importlib.util import find_spec

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.models import MetricSpec, Profile

#: Metric → the module that scores it, its package, and the extra of hpc-trex that has it.
LIBRARIES = {
    "rouge1": ("rouge_score", "rouge-score", "train"),
    "rouge2": ("rouge_score", "rouge-score", "train"),
    "rougeL": ("rouge_score", "rouge-score", "train"),
    "chrf": ("sacrebleu", "sacrebleu", "train"),
    "bleu": ("sacrebleu", "sacrebleu", "train"),
    "lawbench": ("rouge_chinese", "rouge-chinese", "law"),
    "gta_steps": ("sacrebleu", "sacrebleu", "train"),
    "omes": ("rdkit", "rdkit", "chem"),
    "tomg": ("rdkit", "rdkit", "chem"),
}


def require_library(metric: MetricSpec, profile: Profile) -> None:
    """Raise :class:`EnvironmentProblem` where jobs run with this Python and it lacks the metric's library.

    With an interpreter, a container, modules or set-up lines of its own the profile's jobs see other packages: nothing is
    known about them here, and the baseline, which is evaluated first, says it.
    """
    if metric.name not in LIBRARIES or profile.python or profile.container or profile.runner:
        return
    if profile.modules or profile.setup or "PYTHONPATH" in profile.environment:
        return
    module, package, extra = LIBRARIES[metric.name]
    if find_spec(module) is None:
        raise EnvironmentProblem(
            f"the task's metric {metric.name} needs {package}, which jobs of the profile {profile.name} do not have",
            hint=f"pip install {package}, or all of them: pip install 'hpc-trex[{extra}]'",
        )
