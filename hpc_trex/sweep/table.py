"""The table at the end of a sweep: one row for each task, model and method, over its seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from hpc_trex.models import Record
from hpc_trex.report.look import PLAIN, Look, columns, number, signed
from hpc_trex.sweep.records import NOTHING, ElementState, Role, Standing, SweepConfig


class TableRow(Record):
    """One task, model, Researcher, policy, and what the Researcher did without. Means are over the seeds that are done; ``sd``: between these seeds."""

    task: str
    model: str
    researcher: str
    policy: str
    without: str
    seeds: int
    """Elements of this row."""
    done: int
    baseline_dev: float | None = None
    dev: float | None = None
    dev_sd: float | None = None
    dev_gain: float | None = None
    """Positive where the search made the model better, whatever the metric's direction."""
    baseline_test: float | None = None
    test: float | None = None
    test_sd: float | None = None
    test_gain: float | None = None
    gpu_hours: float = 0.0
    """What the elements' jobs held, all attempts."""
    cpu_hours: float = 0.0
    role: Role = "search"
    """``baseline``, ``reference``: one model, evaluated and never trained."""


def table(config: SweepConfig, found: Sequence[Standing], hours: dict[int, tuple[float, float]]) -> list[TableRow]:
    """Return the rows in the order of the sweep. ``hours``: GPU-hours and CPU-hours held by each element."""
    groups: dict[tuple[int, int, str, str, str], list[Standing]] = {}
    for one in found:
        element = one.element
        key = (element.task, element.model, element.researcher, element.policy, element.without)
        groups.setdefault(key, []).append(one)
    return [_row(config, group, hours) for group in groups.values()]


def _row(config: SweepConfig, group: list[Standing], hours: dict[int, tuple[float, float]]) -> TableRow:
    results = [one.result for one in group if one.state is ElementState.DONE and one.result is not None]
    dev, test = _known(one.dev for one in results), _known(one.test.value if one.test else None for one in results)
    held = [hours.get(one.element.number, (0.0, 0.0)) for one in group]
    element = group[0].element
    return TableRow(
        task=config.tasks[element.task].name,
        model=config.all_models[element.model].name,
        researcher=element.researcher,
        policy=element.policy,
        without=element.without,
        seeds=len(group),
        done=len(results),
        baseline_dev=_mean(_known(one.baseline for one in results)),
        dev=_mean(dev),
        dev_sd=stdev(dev) if len(dev) > 1 else None,
        dev_gain=_mean(_known(one.dev_gain for one in results)),
        baseline_test=_mean(_known(one.test_baseline.value if one.test_baseline else None for one in results)),
        test=_mean(test),
        test_sd=stdev(test) if len(test) > 1 else None,
        test_gain=_mean(_known(one.test_gain for one in results)),
        gpu_hours=sum(gpu for gpu, _ in held),
        cpu_hours=sum(cpu for _, cpu in held),
        role=config.role(element),
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def table_text(rows: Sequence[TableRow], look: Look = PLAIN) -> str:
    """Return the table for a person. ``+-`` is the standard deviation between seeds, shown where there are several."""
    head = ["task", "model", "method", "seeds", "base", "dev", "gain", "base test", "test", "gain", "GPU-h", "CPU-h"]
    return columns([head, *map(_cells, rows)], 3, look)  # words stand left, figures right


def _cells(row: TableRow) -> list[str]:
    method = f"{row.researcher}/{row.policy}" if row.role == "search" else row.role
    method += "" if row.without == NOTHING else f" without {row.without}"
    return [
        row.task,
        row.model,
        method,
        f"{row.done}/{row.seeds}",
        number(row.baseline_dev),
        _with_sd(row.dev, row.dev_sd),
        signed(row.dev_gain),
        number(row.baseline_test),
        _with_sd(row.test, row.test_sd),
        signed(row.test_gain),
        f"{row.gpu_hours:.2f}",
        f"{row.cpu_hours:.2f}",
    ]


def _with_sd(mean: float | None, sd: float | None) -> str:
    return number(mean) + ("" if sd is None else f" +-{sd:.4f}")


def table_csv(rows: Sequence[TableRow]) -> str:
    """Return the table as CSV with a line of names; an unknown figure is an empty cell."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(TableRow.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    return out.getvalue()
