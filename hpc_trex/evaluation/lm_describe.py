"""What lm-eval knows of a task or group by its name, without loading any data. Runs in a child process of ``stage``."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

#: Before a function of a definition: ``FOLDER|module.function``. lm-eval itself would import it.
FUNCTION = "\0function:"
#: Builders of ``datasets`` that read files: there is nothing to fetch for them.
FILES = ("json", "csv", "parquet", "text", "arrow")
#: Metrics whose set score is the mean of their rows' when the definition does not say.
MEANS = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")
OUTPUTS = ("multiple_choice", "generate_until")
#: Keys of a definition that this program does not follow, and why.
NOT_DONE = {
    "class": "is defined by a Python class",
    "doc_to_image": "shows images",
    "doc_to_audio": "plays sounds",
    "use_prompt": "takes its prompt from promptsource",
    "custom_dataset": "makes its data itself",
    "unsafe_code": "runs code that the model writes",
}


class Unusable(Exception):
    """Why a task cannot be taken: one sentence, and what to type next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def describe(name: str, include: str | None, metric: str | None) -> dict[str, Any]:
    """Return version, main metric, filter and the definition of every task behind ``name``. Raises :class:`Unusable`.

    ``include``: the folder of one's own definitions; without it lm-eval's are looked through (some ten seconds).
    """
    configs = _definitions(name, include)
    for config in configs:
        _check(config)
    main = metric or _means(configs[0])[0]
    for config in configs:
        if main not in _means(config):
            known = ", ".join(_means(config))
            raise Unusable(f"task {config['task']} has no metric {main} that is a mean over rows; it has {known}")
    better = [one.get("higher_is_better", True) for one in configs[0].get("metric_list") or () if _name(one) == main]
    filters = [one["name"] for one in configs[0].get("filter_list") or ()] or ["none"]
    return {
        "version": _version(),
        "metric": main,
        "filter": filters[0],
        "higher_is_better": bool(better[0]) if better else True,
        "tasks": configs,
    }


def hub_data(config: dict[str, Any]) -> tuple[str, str] | None:
    """Return the hub's data set of a definition and its revision (``""``: none given); None for files and folders."""
    path = str(config.get("dataset_path") or "")
    if path in FILES or not path or Path(path).expanduser().exists():
        return None
    return path, str((config.get("dataset_kwargs") or {}).get("revision") or "")


def _version() -> str:
    from importlib.metadata import version

    return version("lm-eval")


def _definitions(name: str, include: str | None) -> list[dict[str, Any]]:
    """Return the whole definition of each task, functions as ``FUNCTION`` strings; a group's in its order."""
    try:
        from lm_eval.api.task import Task
        from lm_eval.tasks import TaskManager, _factory, _yaml_loader
    except ImportError as error:
        raise Unusable(
            f"this lm-eval ({_version()}) is not one whose tasks can be read: {error}", "pip install 'lm-eval>=0.4.11'"
        ) from error

    class Captured(Task):  # type: ignore[misc]
        """Stands for a task whose data are not loaded."""

        def __init__(self, config: dict[str, Any]) -> None:
            self.settings = dict(config)

        @property
        def task_name(self) -> str:
            return str(self.settings["task"])

    Captured.__abstractmethods__ = frozenset()

    def marked(folder: Path, resolve: bool) -> Any:  # noqa: ARG001 - lm-eval calls it so
        return lambda loader, node: f"{FUNCTION}{folder}|{loader.construct_scalar(node)}"

    def build(self: Any, entry: Any, overrides: dict[str, Any] | None) -> Any:
        config = self._load_full_config(entry, overrides)
        return Captured(config | {"folder": str(Path(entry.yaml_path).parent) if entry.yaml_path else ""})

    _yaml_loader._mk_function_ctor = marked
    _factory.TaskFactory._build_task = build
    _factory.ConfigurableTask = Captured
    manager = TaskManager(include_path=include, include_defaults=include is None)
    if name not in manager.all_tasks:
        close = get_close_matches(name, manager.all_tasks, n=3)
        where = f"the tasks in {include}" if include else f"lm-eval {_version()}"
        raise Unusable(
            f"{where}: no task or group {name!r}",
            f"did you mean {', '.join(close)}?" if close else "lm_eval ls tasks lists them",
        )
    found = manager.load([name])["tasks"].values()
    return [json.loads(json.dumps(task.settings, default=str)) for task in found]


def _check(config: dict[str, Any]) -> None:
    """Raise :class:`Unusable` for a definition that is not followed here."""
    name = config["task"]
    for key, why in NOT_DONE.items():
        if config.get(key):
            raise Unusable(f"task {name} {why}, which is not supported")
    kind = config.get("output_type", "generate_until")
    if kind not in OUTPUTS:
        raise Unusable(f"task {name} is of the type {kind}; supported are {' and '.join(OUTPUTS)}")
    if int(config.get("repeats") or 1) > 1:
        raise Unusable(f"task {name} asks each question {config['repeats']} times; evaluations here are greedy")
    if any(isinstance(one, dict) and one.get("hf_evaluate") for one in config.get("metric_list") or ()):
        raise Unusable(f"task {name} needs metrics that are downloaded when it runs (hf_evaluate)")
    if not config.get("test_split") and not config.get("validation_split"):
        raise Unusable(f"task {name} has neither a test nor a validation split")
    if not _means(config):
        raise Unusable(f"task {name} has no metric that is a mean over rows", "choose another task of the group")


def _means(config: dict[str, Any]) -> list[str]:
    """Return the metrics whose set score is the mean of their rows' scores."""
    given = config.get("metric_list")
    if given is None:
        return ["acc", "acc_norm"] if config.get("output_type") == "multiple_choice" else ["exact_match"]
    return [_name(one) for one in given if (one.get("aggregation") or (_name(one) in MEANS and "mean")) == "mean"]


def _name(metric: dict[str, Any]) -> str:
    given = str(metric["metric"])
    return given.rpartition(".")[2] if given.startswith(FUNCTION) else given
