"""The Researchers by name. A new one is an entry here and a file of its own; ``llm`` will stand beside these."""

from __future__ import annotations

from collections.abc import Callable

from hpc_trex.agents.protocol import Researcher
from hpc_trex.errors import UsageProblem
from hpc_trex.models import ResearcherSettings


def _playbook() -> Researcher:
    from hpc_trex.agents.playbook import PlaybookResearcher

    return PlaybookResearcher()


def _tpe() -> Researcher:
    from hpc_trex.agents.optuna_researchers import TpeResearcher

    return TpeResearcher()


def _random() -> Researcher:
    from hpc_trex.agents.optuna_researchers import RandomResearcher

    return RandomResearcher()


#: Imports stand inside, so that nobody pays for a Researcher that is not used.
RESEARCHERS: dict[str, Callable[[], Researcher]] = {"playbook": _playbook, "tpe": _tpe, "random": _random}


def make_researcher(settings: ResearcherSettings) -> Researcher:
    """Return the Researcher of a search.

    Raises :class:`UsageProblem` for an unknown name and for a bad file of moves, :class:`EnvironmentProblem` when the
    Researcher needs a package that is not installed.
    """
    maker = RESEARCHERS.get(settings.name)
    if maker is None:
        raise UsageProblem(
            f"unknown researcher {settings.name!r}", hint=f"valid: {', '.join(sorted(RESEARCHERS))} (--researcher)"
        )
    return maker()
