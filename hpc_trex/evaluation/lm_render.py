"""A task of lm-eval as rows: its documents rendered by its own templates, cut into train, dev and test by fixed rules.

The test split, or the only split that is for evaluation, never gives training rows. Prompts are without worked examples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.evaluation.lm_definition import definition_digest, resolved, write_definition
from hpc_trex.evaluation.lm_describe import FILES, Unusable
from hpc_trex.ftbench.frozen import greedy
from hpc_trex.ftbench.rows import item_hash

#: Of the rows of a task that has one split for evaluation only, every third (by its prompt's hash) goes to dev.
DEV_SHARE = 3


class Made(NamedTuple):
    """One rendered row, and the split that it was cut into."""

    split: str
    row: dict[str, Any]


def render(described: Mapping[str, Any], folders: Mapping[str, str], out: Path) -> dict[str, Any]:
    """Write ``train.jsonl`` (where there are such rows), ``dev.jsonl``, ``test.jsonl`` and ``lm-eval/`` into ``out``.

    ``folders``: where each data set of the hub is staged. Returns counts, the decoding and the definition's digest.
    Raises :class:`Unusable`.
    """
    configs = list(described["tasks"])
    made = [row for config in configs for row in _rows(config, folders)]
    splits, dropped = _separated(made)
    for name in ("dev", "test"):
        if not splits[name]:
            raise Unusable(f"{name} has no rows: the task's evaluation split is too small to be cut in two")
    for name, rows in splits.items():
        if rows:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (out / f"{name}.jsonl").write_text(text, encoding="utf-8")
    write_definition(configs, described["version"], out / "lm-eval")
    kinds = {config.get("output_type", "generate_until") for config in configs}
    if len(kinds) > 1:
        raise Unusable(f"the group mixes {' and '.join(sorted(kinds))}", "name one of its tasks")
    settings = [greedy(config.get("generation_kwargs") or {}) for config in configs]
    choices = [config.get("doc_to_choice") for config in configs]
    same = isinstance(choices[0], list) and all(one == choices[0] for one in choices)
    return {
        "rows": {name: len(rows) for name, rows in splits.items()},
        "dropped": dropped,
        "digest": definition_digest(out / "lm-eval"),
        "mode": "choice" if kinds == {"multiple_choice"} else "generate",
        "labels": [str(choice).strip() for choice in choices[0]] if same and choices[0] else [],
        "stop": settings[0]["until"],
        "max_new_tokens": max(one["max_gen_toks"] for one in settings),
    }


def _rows(config: dict[str, Any], folders: Mapping[str, str]) -> Iterator[Made]:
    from lm_eval.api.task import ConfigurableTask

    name, data = config["task"], load_data(config, folders)
    given = resolved({key: value for key, value in config.items() if key not in ("folder", "dataset_kwargs")})
    task = ConfigurableTask(
        config=given | {"custom_dataset": lambda **_: data, "num_fewshot": 0, "fewshot_split": None}
    )
    if task.multiple_input:
        raise Unusable(f"task {name} compares prompts, not answers, which is not supported")
    cut = task.has_test_docs() and task.has_validation_docs()
    parts = []
    if task.has_training_docs():
        parts.append(("train", task.training_docs()))
    if task.has_validation_docs() and given.get("validation_split") != given.get("training_split"):
        parts.append(("dev" if cut else "either", task.validation_docs()))
    if task.has_test_docs():
        parts.append(("test" if cut else "either", task.test_docs()))
    for split, docs in parts:
        for number, doc in enumerate(docs):
            row = _row(task, name, dict(doc), f"{split} document {number}")
            yield Made(_cut(row["prompt"]) if split == "either" else split, row)


def _cut(prompt: str) -> str:
    """Return ``dev`` or ``test`` by the prompt alone, so that the cut stays when a later version has more rows."""
    number = int(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest(), 16)
    return "dev" if number % DEV_SHARE == 0 else "test"


def _row(task: Any, name: str, doc: dict[str, Any], where: str) -> dict[str, Any]:
    prompt = task.fewshot_context(doc, 0, gen_prefix=task.doc_to_prefix(doc))
    gold = task.doc_to_target(doc)
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = [str(choice).strip() for choice in task.doc_to_choice(doc)]
        first = gold[0] if isinstance(gold, list) else gold
        answer = choices[first] if isinstance(first, int) and 0 <= first < len(choices) else str(first)
    else:
        answer = str(gold[0] if isinstance(gold, list) and gold else gold)
    try:
        same = json.loads(json.dumps(doc)) == doc
    except (TypeError, ValueError):
        same = False
    if not same:
        raise Unusable(f"task {name}: {where} holds values that are no JSON (images, dates), which is not supported")
    return {"prompt": prompt, "answer": answer.strip(), "lm_eval": {"task": name, "doc": doc}}


def _separated(made: list[Made]) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int]]:
    """Return the rows by split, each prompt once: the test keeps it, then dev; and how many were dropped."""
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "dev": [], "test": []}
    dropped: dict[str, int] = {}
    seen: set[str] = set()
    for split in ("test", "dev", "train"):
        for one in made:
            if one.split != split:
                continue
            key = item_hash(one.row["prompt"])
            if key in seen or not one.row["prompt"].strip() or not one.row["answer"]:
                dropped[split] = dropped.get(split, 0) + 1
                continue
            if split != "train":
                seen.add(key)
            splits[split].append(one.row)
    return splits, dropped


def load_data(config: Mapping[str, Any], folders: Mapping[str, str]) -> Any:
    """Return the data of a definition: of the staged folder, or of the files that it names. Nothing is downloaded."""
    import datasets

    path, name = str(config["dataset_path"]), config.get("dataset_name")
    more = {
        key: value for key, value in (config.get("dataset_kwargs") or {}).items() if key in ("data_files", "data_dir")
    }
    if path in FILES:
        more = {key: _beside(value, Path(config.get("folder") or ".")) for key, value in more.items()}
    else:
        path = folders.get(path, path)
    try:
        return datasets.load_dataset(path, name=name, **more)
    except Exception as error:
        # Whatever a builder raises on a folder that it was not made for.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unusable(
            f"task {config['task']}: its data cannot be read from {path}: {first}",
            "stage fetches parquet and JSON lines; for other data copy the definition and name files (docs/own-task.md)",
        ) from error


def _beside(value: Any, folder: Path) -> Any:
    """Return file names as they are where there is such a file, else beside the definition."""
    if isinstance(value, Mapping):
        return {key: _beside(inner, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [_beside(inner, folder) for inner in value]
    path = Path(str(value)).expanduser()
    return str(path if path.is_absolute() or path.exists() else folder / path)
