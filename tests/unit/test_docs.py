"""What the docs show is what the program takes: every command line, every card, every profile."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from hpc_trex.cli.main import cli
from hpc_trex.data.by_hand import CARD_KEYS
from hpc_trex.models import DataRecipe, Profile, Source, TaskCard, TrainConfig
from hpc_trex.sweep.records import SweepRequest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "ftbench").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of every fenced block."""
    return FENCE.findall(page.read_text())


def command_lines(page: Path) -> list[str]:
    """Every ``hpc-trex ...`` that a reader could type, in a block or a sentence; printed output is passed over."""
    found = []
    for language, text in blocks(page):
        if language in ("toml", "json", "python"):
            continue
        for line in text.replace("\\\n", " ").splitlines():
            prompt = line.removeprefix("$ ")
            if prompt.startswith("hpc-trex ") and (language != "console" or line.startswith("$ ")):
                found.append(prompt.split("  #")[0].split(" # ")[0])
    prose = FENCE.sub("", page.read_text())
    return found + re.findall(r"`(hpc-trex [^`]+)`", prose)


def parse(line: str) -> None:
    """Let click take the words of a command line, without running it."""
    words = [word for word in shlex.split(line)[1:] if word not in ("&", "|")]
    for stop in (">", "2>", ";", "&&"):
        if stop in words:
            words = words[: words.index(stop)]
    group: click.Command = cli
    context = click.Context(cli)
    while isinstance(group, click.Group):
        name = next((word for word in words if not word.startswith("-")), None)
        if name is None:
            break  # the program's own options, such as --version
        words.remove(name)
        found = group.get_command(context, name)
        assert found is not None, f"no command {name} in {line}"
        group, context = found, click.Context(found, parent=context)
    known = {flag for parameter in group.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    flags = {word.split("=")[0] for word in words if word.startswith("-") and not re.match(r"^-\d", word)}
    assert flags <= known, f"{line}: unknown {sorted(flags - known)}"


LINES = [(page, line) for page in PAGES for line in command_lines(page)]


def test_there_are_command_lines_to_check():
    assert len(LINES) > 30
    assert {page.name for page, _ in LINES} >= {"README.md", "profiles.md", "testcluster.md", "own-task.md"}


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page.name}: {line[:60]}" for page, line in LINES])
def test_every_command_line_in_the_docs_is_one_that_the_program_takes(page, line):
    parse(line)


def toml_blocks() -> list[tuple[Path, dict]]:
    return [(page, tomllib.loads(text)) for page in PAGES for language, text in blocks(page) if language == "toml"]


def test_every_toml_block_in_the_docs_is_valid_as_what_it_is():
    """Task cards, profiles, recipes and sweeps are told apart by their keys; other TOML (configuration) only has to parse."""
    seen = {"card": 0, "profile": 0, "recipe": 0, "sweep": 0, "train": 0}
    for page, data in toml_blocks():
        if {"sources", "dev"} <= set(data):
            TaskCard.model_validate(data)
            seen["card"] += 1
        elif "scheduler" in data:
            Profile.model_validate({"name": page.stem} | data)
            seen["profile"] += 1
        elif "seeds" in data:
            SweepRequest.model_validate(data)
            seen["sweep"] += 1
        elif "train" in data:
            TrainConfig.model_validate(data["train"])
            seen["train"] += 1
        elif "steps" in data:
            DataRecipe.model_validate({key: value for key, value in data.items() if key not in CARD_KEYS})
            for source in data.get("sources", {}).values():
                Source.model_validate(source)
            seen["recipe"] += 1
    assert seen["card"] >= 2, seen
    assert seen["sweep"] >= 1, seen
    assert seen["train"] >= 2, seen


def test_the_readme_opens_with_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert text.index("make demo") < text.index("make test") < 600
    assert "@@" not in text
