"""The table of a benchmark as text, CSV, LaTeX and one HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from hpc_trex import version
from hpc_trex.report.benchmark import BenchRow, Figure, MethodRow
from hpc_trex.report.look import PLAIN, Look, columns, number, signed

DIGITS = 3
WHY = {
    "no base": "the base model is not measured",
    "no reference": "no reference is known or measured",
    "reference not better": "the reference is not better than the base",
    "within noise": "reference and base differ by less than the noise",
}
#: Columns of the CSV, one line a task and method.
FIELDS = (
    "task", "model", "metric", "higher_is_better", "rows", "base", "base_low", "base_high", "base_published", "reference",
    "reference_low", "reference_high", "reference_source", "reference_published", "distance", "noise", "paper", "method", "runs",
    "seeds", "score", "score_low", "score_high", "score_sd", "gain", "gain_low", "gain_high", "g", "no_g_because", "gpu_hours",
    "cpu_hours", "money",
)  # fmt: skip


def methods_of(rows: Sequence[BenchRow]) -> list[str]:
    """Return the methods of all rows, each once, in the order in which they come."""
    return list(dict.fromkeys(one.method for row in rows for one in row.methods))


def table_text(rows: Sequence[BenchRow], look: Look = PLAIN) -> str:
    """Return the table for a person, with a line below for each thing that a figure does not say by itself.

    ``+-`` is half of the 95 % interval; ``*``: published, not measured here; ``~``: no G, a line below says why.
    """
    lines = [_head(rows), *(_cells(row, rows) for row in rows)]
    return "\n".join([columns(lines, 2 if _several_models(rows) else 1, look), *notes(rows)])


def notes(rows: Sequence[BenchRow]) -> list[str]:
    """Return what has to be said beside the figures: missing searches, published scores, and why there is no G."""
    found = []
    for row in rows:
        name = _name(row, rows)
        for one in row.methods:
            ended = one.score.seeds if one.score else 0
            if ended < one.runs:
                found.append(f"{name}: {ended} of {one.runs} searches of {one.method} have a test score")
            if len(one.budgets) > 1:
                found.append(f"{name}: searches of {one.method} had different budgets: {'; '.join(one.budgets)}")
        why = next((one.why for one in row.methods if one.why), "")
        if why:
            figures = (
                f" ({signed(row.distance, DIGITS)}, noise {number(row.noise, DIGITS)})"
                if row.distance is not None
                else ""
            )
            found.append(f"{name}: ~ no G: {WHY[why]}{figures}")
        for figure in (row.base, row.reference):
            if figure is not None and figure.published:
                found.append(f"{name}: * published, other rows and prompts: {figure.source}")
        if row.reference is not None and not row.reference.published:
            more = (
                f" (also evaluated: {', '.join(row.other_references)}; --reference-model)"
                if row.other_references
                else ""
            )
            found.append(f"{name}: reference {row.reference.source}{more}")
    twice = {row.task for row in rows if len({one.rules for one in rows if one.task == row.task}) > 1}
    found += [
        f"{task}: measured by different rows, prompts or metrics, told in rows of their own" for task in sorted(twice)
    ]
    return found


def _head(rows: Sequence[BenchRow]) -> list[str]:
    head = ["task", *(["model"] if _several_models(rows) else []), "metric", "rows", "base", "reference"]
    for name in methods_of(rows):
        head += [name, "gain", "G"]
    return [*head, *(["paper"] if any(row.paper for row in rows) else []), "GPU-h", "CPU-h", "money"]


def _cells(row: BenchRow, rows: Sequence[BenchRow]) -> list[str]:
    cells = [row.task, *([row.model] if _several_models(rows) else []), row.metric, str(row.rows or "-")]
    cells += [_figure(row.base), _figure(row.reference)]
    known = {one.method: one for one in row.methods}
    for name in methods_of(rows):
        cells += _method_cells(known.get(name))
    if any(one.paper for one in rows):
        cells.append(_figure(row.paper))
    return [
        *cells,
        f"{sum(one.gpu_hours for one in row.methods):.2f}",
        f"{sum(one.cpu_hours for one in row.methods):.2f}",
        f"{sum(one.money for one in row.methods):.2f}",
    ]


def _method_cells(one: MethodRow | None) -> list[str]:
    if one is None:
        return ["-", "-", "-"]
    return [_figure(one.score), _figure(one.gain, sign=True), share(one)]


def share(one: MethodRow) -> str:
    """Return G in percent; ``~`` where there is a score and no G."""
    if one.g is None:
        return "~" if one.why else "-"
    return f"{100 * one.g:+.0f} %"


def _figure(figure: Figure | None, *, sign: bool = False) -> str:
    if figure is None:
        return "-"
    value = signed(figure.value, DIGITS) if sign else number(figure.value, DIGITS)
    if figure.published:
        return f"{value}*"
    return value if figure.half is None else f"{value} +-{number(figure.half, DIGITS)}"


def _several_models(rows: Sequence[BenchRow]) -> bool:
    return len({row.model for row in rows}) > 1


def _name(row: BenchRow, rows: Sequence[BenchRow]) -> str:
    return f"{row.task}, {row.model}" if _several_models(rows) else row.task


def table_csv(rows: Sequence[BenchRow]) -> str:
    """Return one line for each task and method (one without a method where there is none); unknown figures are empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerows(_flat(row, one) for one in row.methods or (None,))
    return out.getvalue()


def _flat(row: BenchRow, one: MethodRow | None) -> dict[str, object]:
    base, reference = row.base, row.reference
    flat: dict[str, object] = row.model_dump(
        include={"task", "model", "metric", "higher_is_better", "rows", "distance", "noise"}
    )
    flat |= _spread("base", base) | _spread("reference", reference) | {"paper": row.paper and row.paper.value}
    if base is not None:
        flat |= {"base_published": base.published}
    if reference is not None:
        flat |= {"reference_source": reference.source, "reference_published": reference.published}
    if one is None:
        return flat
    flat |= one.model_dump(include={"method", "runs", "g", "gpu_hours", "cpu_hours", "money"}) | {
        "no_g_because": one.why
    }
    flat |= _spread("score", one.score) | _spread("gain", one.gain)
    return flat | ({"seeds": one.score.seeds, "score_sd": one.score.sd} if one.score else {})


def _spread(name: str, figure: Figure | None) -> dict[str, object]:
    return {} if figure is None else {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}


def table_latex(rows: Sequence[BenchRow]) -> str:
    """Return a ``tabular`` that needs no package, its notes as comments."""
    head = _head(rows)
    left = 3 if _several_models(rows) else 2
    lines = [f"% {_tex_comment(line)}" for line in notes(rows)]
    lines += [
        rf"\begin{{tabular}}{{{'l' * left}{'r' * (len(head) - left)}}}",
        r"\hline",
        " & ".join(map(_tex, head)) + r" \\",
        r"\hline",
    ]
    lines += [" & ".join(map(_tex, _cells(row, rows))) + r" \\" for row in rows]
    return "\n".join([*lines, r"\hline", r"\end{tabular}"])


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "+-": r"$\pm$"}


def _tex(text: str) -> str:
    parts = text.split("+-")
    escaped = ["".join(_TEX.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in part) for part in parts]
    return _TEX["+-"].join(escaped)


def _tex_comment(text: str) -> str:
    return " ".join(text.split())


def table_html(rows: Sequence[BenchRow], runs: Sequence[str]) -> str:
    """Return one page that loads nothing and runs no script; names and sources are hostile text and escaped."""
    environment = Environment(
        loader=PackageLoader("hpc_trex.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip
    return environment.get_template("benchmark.html.j2").render(
        rows=[(row, {one.method: one for one in row.methods}) for row in rows],
        methods=methods_of(rows),
        models=_several_models(rows),
        paper=any(row.paper for row in rows),
        notes=notes(rows),
        runs=list(runs),
        figure=lambda one, sign=False: _figure(one, sign=sign).replace("+-", "\N{PLUS-MINUS SIGN}"),
        share=share,
        made=datetime.now(UTC).isoformat(timespec="minutes"),
        version=version(),
    )
