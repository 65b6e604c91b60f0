"""Find, read and check a task card: a built-in one by its name, or a TOML file by its path.

All that can be checked without reading rows is checked here, so that a wrong card is refused before anything runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.ftbench.built import refuse_forbidden
from hpc_trex.ftbench.generators.pools import PARTS
from hpc_trex.ftbench.lm_eval import PREFIX, find_card
from hpc_trex.ftbench.mini import TASKS
from hpc_trex.ftbench.options import Options
from hpc_trex.ftbench.problems import did_you_mean, read_toml, validated
from hpc_trex.ftbench.render import Renderer
from hpc_trex.ftbench.sealed import refuse_sealed
from hpc_trex.ftbench.shapes import Shaper
from hpc_trex.models import Source, TaskCard, TrainConfig
from hpc_trex.models.origin import SOURCE_NAME
from hpc_trex.site import site_folders

#: ``ftbench:NAME`` is a built-in name as well: it says where the task is from.
SUITE_PREFIX = "ftbench:"
FORMATS = (".jsonl", ".parquet", ".csv", ".tsv")


class LoadedCard(NamedTuple):
    """A valid card and the file it came from: its relative paths start at that file's folder."""

    card: TaskCard
    origin: Path

    @property
    def typed(self) -> str:
        """What :func:`load_card` takes to find it again: the name of a built-in one, else its file."""
        name = self.origin.parent.name
        return name if _built_in().get(name) == self.origin else str(self.origin)


def load_card(task: str) -> LoadedCard:
    """Return the card of a built-in task (``mini-listops``, ``ftbench:aci-bench``), of a TOML file (``my-task.toml``)
    or of ``lm-eval:NAME``.

    A word without ``/`` and ``.toml`` is a built-in name. Raises :class:`NotFound` for an unknown task and
    :class:`UsageProblem` for a wrong card, with file, key and remedy.
    """
    origin = _origin(task)
    data = read_toml(origin)
    if data.get("sources") == {} and "lm_eval" in data.get("metric", {}):
        raise UsageProblem(
            f"{task} has no training data: its definition in lm-eval has no training split",
            hint=f"copy {origin.parent} and add [sources.NAME] of your own to its card.toml (docs/own-task.md)",
        )
    card = validated(TaskCard, data, str(origin))
    _check(card, origin)
    return LoadedCard(card, origin)


def list_cards() -> list[str]:
    """Return the files of the built-in cards, and of those of the site's own folder, in the order of their names."""
    return [str(path) for _, path in sorted(_built_in().items())]


def source_path(source: Source, origin: Path) -> Path:
    """Return the absolute path of a source of kind ``path``."""
    assert source.path is not None
    return (origin.parent / Path(source.path).expanduser()).absolute()


def _built_in() -> dict[str, Path]:
    return site_folders("ftbench", "card.toml")


def _origin(task: str) -> Path:
    if task.startswith(PREFIX):
        return find_card(task)
    task = task.removeprefix(SUITE_PREFIX)
    if "/" in task or task.endswith(".toml"):
        path = Path(task).expanduser().absolute()
        return path / "card.toml" if path.is_dir() else path
    known = _built_in()
    if task not in known:
        raise NotFound(
            f"no built-in task {task!r}",
            hint=f"{did_you_mean(task, list(known))}; a task of your own is named by its file: my-task.toml",
        )
    return known[task]


def _check(card: TaskCard, origin: Path) -> None:
    named = {f"sources.{name}": source for name, source in card.sources.items()}
    for key, source in {**named, "dev": card.dev, "test": card.test}.items():
        _check_source(key, source, origin)
    for name in card.sources:
        if not SOURCE_NAME.fullmatch(name):
            raise UsageProblem(
                f"{origin}: sources.{name}: the name of a source becomes a file name",
                hint="use letters, digits, - and _ only",
            )
    unlabelled = card.metric.mode == "generate" and not card.metric.labels
    if card.metric.name in ("accuracy", "macro_f1", "label_set_f1") and unlabelled:
        raise UsageProblem(
            f"{origin}: metric.labels: {card.metric.name} needs the valid answers",
            hint='e.g. labels = ["yes", "no"]',
        )
    parted = [label for label in card.metric.labels if set(label) & set(";,:\n")]
    if card.metric.name == "label_set_f1" and parted:
        raise UsageProblem(
            f"{origin}: metric.labels: {parted[0]!r:.60} cannot be read out of a list of labels",
            hint="leave ; , : and line breaks out of the labels",
        )
    if card.tables:
        from hpc_trex.ftbench.build import check_tables  # it reads sources, whose paths are found here

        check_tables(card, str(origin))
    Renderer(card.prompt, str(origin))
    Options(card.metric, str(origin))
    validated(TrainConfig, card.default_train, f"{origin}: default_train")


def _check_source(key: str, source: Source, origin: Path) -> None:
    if source.shape is not None:
        Shaper(source.shape, f"{origin}: {key}")
    if source.generator is not None:
        if source.generator not in TASKS:
            raise UsageProblem(
                f"{origin}: {key}.generator: no generator {source.generator!r}",
                hint=did_you_mean(source.generator, list(TASKS)),
            )
        if source.part not in PARTS:
            raise UsageProblem(
                f"{origin}: {key}.part: no part {source.part!r}", hint=did_you_mean(str(source.part), list(PARTS))
            )
    if source.path is not None:
        path = source_path(source, origin)
        if path.suffix not in FORMATS and not path.is_dir():
            raise UsageProblem(
                f"{origin}: {key}.path: {source.path} is neither {' nor '.join(FORMATS)} nor a folder",
                hint="convert the file to JSON lines: one JSON object a line",
            )
        if not path.exists():
            raise UsageProblem(
                f"{origin}: {key}.path: no file {path}", hint="a relative path starts at the task card's folder"
            )
        inside = (one for one in path.rglob("*") if one.suffix in FORMATS) if path.is_dir() else ()
        files = (path, *inside)
        refuse_sealed(files, f"{origin}: {key}.path")
        if key not in ("dev", "test"):
            refuse_forbidden(files, f"{origin}: {key}.path")
