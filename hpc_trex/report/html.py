"""Write a search's report: one HTML file that needs no network, no server and no second file."""

from __future__ import annotations

import base64
import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hpc_trex import version
from hpc_trex.files import write_atomic
from hpc_trex.layout import SearchPaths
from hpc_trex.report import page
from hpc_trex.report.difference import number
from hpc_trex.report.drawers import node_details
from hpc_trex.report.source import ReportSource
from hpc_trex.report.tree_view import best_node, tree_view
from hpc_trex.tree.insights import by_weight

__all__ = ["ReportSource", "render_report", "write_report"]


def write_report(search: SearchPaths, source: ReportSource) -> Path:
    """Write ``report.html`` of a search, whole or not at all, and return its path.

    Curves, logs and bad cases are read from the jobs' folders below ``search``; whatever is missing there is left out.
    """
    write_atomic(search.report, render_report(search, source))
    return search.report


def render_report(search: SearchPaths, source: ReportSource) -> str:
    """Return the page.

    Logs, answers and a Researcher's words are hostile text: the template escapes all of it, the script writes it as
    text only, and the page's policy lets no script run but the one whose hash it names, and loads nothing.
    """
    environment = Environment(
        loader=PackageLoader("hpc_trex.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    script = _own_file("report.js")
    return environment.get_template(
        "report.html.j2"
    ).render(
        css=Markup(_own_file("report.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        status=source.status,
        task=source.task,
        config=source.config,
        insights=by_weight(source.insights),
        heading=page.heading(source),
        comparison=page.comparison(source),
        budget=page.budget(source),
        progress=page.progress(source),
        tree=tree_view(source),
        best=best_node(source),
        trials=page.trial_rows(source),
        failures=page.failures(source),
        versions=page.versions(source),
        data={"nodes": node_details(search, source), "best": best_node(source)},
        version=version(),
        python=".".join(map(str, sys.version_info[:3])),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _own_file(name: str) -> str:
    """Return a file that stands beside the template; none of them may end its element early."""
    text = (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
    assert "</script" not in text.lower()
    assert "</style" not in text.lower()
    return text
