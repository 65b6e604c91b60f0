"""A search that serves its own language model: a tiny one with random weights, whose answers are noise."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from hpc_trex.launch import LaunchOptions, create_search, plan_launch
from hpc_trex.layout import SearchPaths
from hpc_trex.models import NoiseSettings
from tests.noop import noop_profile

TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"


def tiny_chat_model(folder: Path) -> Path:
    """Write a model that a server can chat with: our built-in architecture, untrained, with a chat template."""
    from hpc_trex.builtin import builtin
    from hpc_trex.ftbench.corpus import pretraining_rows
    from hpc_trex.training import data
    from hpc_trex.training.base_model import make_model, make_tokenizer

    recipe = builtin("tiny-qwen3")
    pairs = pretraining_rows(recipe.seed, 10)
    rows = data.Rows([prompt for prompt, _ in pairs], [f" {answer}" for _, answer in pairs], [""] * len(pairs))
    tokenizer = make_tokenizer(rows, recipe)
    tokenizer.chat_template = TEMPLATE
    make_model(recipe, tokenizer).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def serving_profile(folder: Path, *, scheduler: str = "local", name: str = "server", **serve: Any) -> Path:
    """Write the profile of a server's job and return its file."""
    given = {"cpus_per_task": 1, "mem_gb": 2.0, "minutes": 30} | serve
    lines = [f'name = "{name}"', f'scheduler = "{scheduler}"', "poll_seconds = 0.5", "[environment]"]
    lines += ['OMP_NUM_THREADS = "1"', "[serve]", *(f"{key} = {_toml(value)}" for key, value in given.items())]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _toml(value: Any) -> str:
    return json.dumps(value)


def serving_search(
    home: Path,
    profile: Path,
    model: Path,
    *,
    scheduler: str = "local",
    llm: dict[str, Any] | None = None,
    **options: Any,
) -> SearchPaths:
    """Create a search whose jobs do no work and whose language model is served by a job on ``profile``."""
    base = home / "no-model"
    base.mkdir(parents=True, exist_ok=True)
    wanted = {"name": "served", "directory": str(home / "served"), "max_nodes": 1, "trials": 1, "researcher": "llm"}
    plan = plan_launch(LaunchOptions.model_validate(wanted | {"llm_serve": (str(profile), str(model))} | options))
    assert plan.config.llm is not None
    changes = {"max_tokens": 64, "context_tokens": 6000, "review": False} | (llm or {})
    config = plan.config.model_copy(
        update={
            "profile": noop_profile(scheduler=scheduler, parallel=2),
            "model_path": str(base),
            "parallel": 2,
            "llm": plan.config.llm.model_copy(update=changes),
            "noise": NoiseSettings(floor_repeats=0, final_candidates=1, final_seeds=1),
        }
    )
    return create_search(plan._replace(config=config))


def command_lines(marker: str) -> list[str]:
    """The command lines on this machine that hold a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if marker in words:
                found.append(words)
    return found


def files_with(folder: Path, text: str) -> list[Path]:
    """The files below a folder that hold a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def scripted(*words: str) -> list[str]:
    """The ``serve.command`` of a server that gives one answer at once, in a tenth of a second."""
    return [sys.executable, str(Path(__file__).with_name("scripted_server.py")), "{port}", "{key_file}", *words]
