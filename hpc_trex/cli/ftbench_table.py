"""``hpc-trex ftbench table``: base, reference and each Researcher on every task, with gain and G."""

from __future__ import annotations

import click

from hpc_trex.cli.options import emit, emit_json, json_option, look
from hpc_trex.errors import UsageProblem


@click.command(
    "table",
    epilog="\b\nExamples:\n"
    "  hpc-trex ftbench table sweep-1\n"
    "  hpc-trex ftbench table sweep-1 sweep-2 --reference-model Qwen/Qwen3-32B --html > ftbench.html",
)
@click.argument("runs", nargs=-1, metavar="[RUNS]...")
@click.option("--reference-model", default="", help="A model that RUNS evaluated alone: measure G against it.")
@json_option
@click.option("--csv", is_flag=True, help="Print CSV, one line for each task and Researcher.")
@click.option("--latex", is_flag=True, help="Print a tabular.")
@click.option("--html", is_flag=True, help="Print one page that needs no other file.")
def command(runs: tuple[str, ...], reference_model: str, json: bool, csv: bool, latex: bool, html: bool) -> None:
    """Print one row for each task of RUNS, sweeps or searches by name or folder (default: the newest sweep).

    Scores are those on the sealed test. G = (score - base) / (reference - base) is left out where reference and base differ by less than
    the noise, and never averaged. Hours of a sweep are what its jobs held.
    """
    from hpc_trex.report.benchmark import bench_rows
    from hpc_trex.report.benchmark_text import notes, table_csv, table_html, table_latex, table_text
    from hpc_trex.sweep.measured import measured

    if json + csv + latex + html > 1:
        raise UsageProblem("--json, --csv, --latex and --html are formats: give one")
    rows = bench_rows(measured(runs, reference_model))
    if json:
        emit_json({"rows": [row.model_dump(mode="json") for row in rows], "notes": notes(rows)})
    elif html:
        emit(table_html(rows, runs))
    else:
        emit(table_csv(rows).rstrip() if csv else table_latex(rows) if latex else table_text(rows, look()))
