"""A staged definition of lm-eval tasks: written once where it is staged, read by every job, hashed as a whole."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.lm_describe import FUNCTION

FILE = "definition.json"
#: What decides how an answer is asked for and scored; data and splits are in our rows.
KEPT = (
    "task", "output_type", "doc_to_text", "doc_to_target", "doc_to_choice", "process_results", "metric_list",
    "filter_list", "generation_kwargs", "target_delimiter", "fewshot_delimiter",
)  # fmt: skip


def write_definition(configs: list[dict[str, Any]], version: str, folder: Path) -> None:
    """Write the definitions and copies of the Python files that they name."""
    folder.mkdir(parents=True)
    sources: dict[str, str] = {}

    def copied(value: str) -> str:
        base, _, spec = value.removeprefix(FUNCTION).partition("|")
        module, _, function = spec.rpartition(".")
        source = Path(base) / f"{module.replace('.', '/')}.py"
        if not source.is_file():  # a module of an installed package
            return f"{FUNCTION}|{spec}"
        parent = str(source.parent)
        if parent not in sources:
            sources[parent] = f"code/{len(sources)}"
            (folder / sources[parent]).mkdir(parents=True)
            for path in sorted(source.parent.glob("*.py")):
                shutil.copyfile(path, folder / sources[parent] / path.name)
        return f"{FUNCTION}{sources[parent]}/{source.name}|{function}"

    tasks = [_mapped({key: config[key] for key in KEPT if key in config}, copied) for config in configs]
    text = json.dumps({"lm_eval": version, "tasks": tasks}, indent=1, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def definition_digest(folder: Path) -> str:
    """Return the SHA-256 over names and contents of all files of a staged definition."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def read_definition(folder: Path, digest: str) -> dict[str, dict[str, Any]]:
    """Return the tasks by name, functions imported. Raises :class:`UsageProblem` when it is not what was staged."""
    if not (folder / FILE).is_file():
        raise UsageProblem(
            f"{folder} with the definition of the lm-eval task is missing",
            hint="it belongs beside the task card; start the search again from the staged card",
        )
    if definition_digest(folder) != digest:
        raise UsageProblem(
            f"{folder} is not the definition that was staged (SHA-256 differs)",
            hint="restore it from the stage folder, or stage the task again and start a new search",
        )
    tasks = json.loads((folder / FILE).read_text(encoding="utf-8"))["tasks"]
    return {task["task"]: resolved(task, folder) for task in tasks}


def resolved(config: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """Return a definition with its functions imported: from the copies in ``folder``, else from where they stand."""

    def imported(value: str) -> Any:
        where, _, name = value.removeprefix(FUNCTION).partition("|")
        module, _, function = name.rpartition(".")
        if folder is not None and where:
            path, function = folder / where, name
        else:
            path = Path(where) / f"{module.replace('.', '/')}.py"
        if (where or folder is None) and path.is_file():
            return getattr(_module(path), function)
        return getattr(importlib.import_module(module), function)

    return dict(_mapped(config, imported))


def _module(path: Path) -> Any:
    """Import a Python file under a name of its own: two definitions may both have a ``utils``."""
    import sys

    name = f"hpc_trex_lm_eval_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def _mapped(value: Any, change: Callable[[str], Any]) -> Any:
    """Return ``value`` with each function in it changed, however deep it stands."""
    if isinstance(value, str):
        return change(value) if value.startswith(FUNCTION) else value
    if isinstance(value, Mapping):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    return [_mapped(inner, change) for inner in value] if isinstance(value, list) else value
