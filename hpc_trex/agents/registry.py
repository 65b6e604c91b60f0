"""The Researchers by name. A new one is an entry here and a file of its own."""

from __future__ import annotations

from collections.abc import Callable

from hpc_trex.agents.protocol import Researcher
from hpc_trex.errors import UsageProblem
from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchConfig


def _playbook(_config: SearchConfig, _paths: SearchPaths) -> Researcher:
    from hpc_trex.agents.playbook import PlaybookResearcher

    return PlaybookResearcher()


def _tpe(_config: SearchConfig, _paths: SearchPaths) -> Researcher:
    from hpc_trex.agents.optuna_researchers import TpeResearcher

    return TpeResearcher()


def _random(_config: SearchConfig, _paths: SearchPaths) -> Researcher:
    from hpc_trex.agents.optuna_researchers import RandomResearcher

    return RandomResearcher()


def _llm(config: SearchConfig, paths: SearchPaths) -> Researcher:
    from hpc_trex.agents.llm.researcher import LlmResearcher

    return LlmResearcher(config, paths)


#: Imports stand inside, so that nobody pays for a Researcher that is not used.
RESEARCHERS: dict[str, Callable[[SearchConfig, SearchPaths], Researcher]] = {
    "playbook": _playbook,
    "llm": _llm,
    "tpe": _tpe,
    "random": _random,
}


def make_researcher(config: SearchConfig, paths: SearchPaths) -> Researcher:
    """Return the Researcher of the search with this configuration, in this folder.

    Raises :class:`UsageProblem` for an unknown name and for a bad file of moves or prompts, :class:`EnvironmentProblem`
    when the Researcher needs a package that is not installed, :class:`CredentialsMissing` when it needs a key.
    """
    maker = RESEARCHERS.get(config.researcher.name)
    if maker is None:
        raise UsageProblem(
            f"unknown researcher {config.researcher.name!r}",
            hint=f"valid: {', '.join(sorted(RESEARCHERS))} (--researcher)",
        )
    return maker(config, paths)
