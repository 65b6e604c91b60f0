"""What the searches of a sweep start from: the lessons that the knowledge base has when it is launched, for all seeds alike.

They are frozen with the sweep, so that an element that is begun late starts from no other lessons than the first one, and
none starts from what its neighbours found. At its end each search goes into the base, as every search does (docs/insights.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpc_trex.agents.prior import begin_with
from hpc_trex.ftbench.cards import LoadedCard
from hpc_trex.models import SearchConfig
from hpc_trex.models.knowledge import StartingKnowledge
from hpc_trex.sweep.records import FrozenModel, SweepConfig, SweepRequest

#: By the numbers of task and model.
Known = Mapping[tuple[int, int], StartingKnowledge]


def known_of(
    request: SweepRequest, configs: Sequence[SearchConfig], cards: Sequence[LoadedCard], models: Sequence[FrozenModel]
) -> Known:
    """Return what the searches of each task and model start from; nothing where they have no base. ``configs``: of each task."""
    wanted = request.knowledge and not request.baseline_only
    known = {}
    for task, (config, card) in enumerate(zip(configs, cards, strict=True)):
        for number, model in enumerate(models):
            target = config.model_copy(update={"model": model.name, "model_path": model.path})
            found = begin_with(target, card.card, base_digest=model.digest, wanted=wanted, replay=None)
            if found is not None:
                known[task, number] = found
    return known


def knowledge_lines(request: SweepRequest, config: SweepConfig, known: Known) -> list[str]:
    """Return, for a person, what the searches start from; why not, where a base was wanted and there is none."""
    if not request.knowledge or request.baseline_only:
        return []
    if not known:
        return ["knowledge  none: it is switched off (HPC_TREX_KNOWLEDGE)"]
    problems = sorted({one.problem for one in known.values() if one.problem})
    if problems:
        return [f"knowledge  none: {problem}" for problem in problems]
    counts = [
        f"{len(one.lessons)} lesson(s) for {config.tasks[task].name}, {config.models[model].name}"
        for (task, model), one in known.items()
    ]
    return [f"knowledge  {'; '.join(counts)}; from {config.knowledge}, and into it in the end"]
