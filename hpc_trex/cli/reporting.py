"""Bring the records of a search to the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpc_trex.errors import EnvironmentProblem

if TYPE_CHECKING:
    from hpc_trex.layout import SearchPaths
    from hpc_trex.tree.store import Store


def report_of(paths: SearchPaths, reader: Store) -> Path:
    """Write the HTML report of a search and return its path. Raises EnvironmentProblem when its card is gone."""
    from hpc_trex.files import read_record
    from hpc_trex.models import TaskCard
    from hpc_trex.report.html import ReportSource, write_report
    from hpc_trex.tree.calls import spent_by_agent

    card = read_record(paths.card, TaskCard)
    if card is None:
        raise EnvironmentProblem(
            f"{paths.card} is missing or damaged", hint="the search directory is incomplete; restore it"
        )
    source = ReportSource(
        status=reader.status(),
        nodes=reader.nodes(),
        insights=reader.insights(),
        attempts=reader.attempts(),
        task=card,
        config=reader.config,
        agents=spent_by_agent(reader),
    )
    return write_report(paths, source)
