"""The walls of the house (docs/decisions/0003): imports run one way, site folders hold text, links exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "hpc_trex"

GROUND = {"models", "layout", "files", "errors", "site", "suggest", "samples", "builtin", "memory", "faults", "absent"}
#: What each room may import of the others.
ARROWS = {
    "models": set(),
    "errors": {"models"},
    "files": GROUND,
    "layout": GROUND,
    "site": GROUND,
    "suggest": set(),
    "faults": set(),
    "samples": GROUND,
    "builtin": GROUND,
    "memory": GROUND,
    "ftbench": GROUND,
    "tree": GROUND,
    "knowledge": {"tree"} | GROUND,
    "agents": {"tree", "knowledge", "ftbench", "research"} | GROUND,
    "slurm": {"tree", "ftbench", "job"} | GROUND,
    "report": {"tree", "ftbench"} | GROUND,
    "sandbox": GROUND,
    "data": {"training", "ftbench", "sandbox"} | GROUND,
    "training": {"data", "ftbench"} | GROUND,
    "evaluation": {"data", "ftbench"} | GROUND,
    "job": {"data", "training", "evaluation", "ftbench"} | GROUND,
    "searches": GROUND | {"tree"},
    "staging": GROUND | {"ftbench"},
    "research": GROUND,
    "absent": set(),
    "config": GROUND,
    "by_hand": {"tree", "slurm", "staging", "ftbench", "searches"} | GROUND,
    "controller": {"knowledge", "evaluation", "agents", "slurm", "report", "tree", "ftbench", "research"} | GROUND,
    "new_search": {"tree", "searches"} | GROUND,
    "launch_llm": {"agents", "controller", "slurm", "staging"} | GROUND,
    "launch": {"new_search", "launch_llm", "knowledge", "controller", "agents", "slurm", "report", "tree", "ftbench", "searches", "staging", "config"} | GROUND,
    "doctor": {"agents", "slurm", "job", "tree", "staging", "sandbox"} | GROUND,
    "sweep": {"new_search", "launch", "launch_llm", "agents", "controller", "slurm", "report", "tree", "ftbench", "searches", "staging", "config"} | GROUND,
    "cli": {
        "by_hand", "data", "doctor", "sweep", "launch", "knowledge", "controller", "agents", "slurm", "report", "tree", "ftbench", "searches", "staging", "config", "research",
    } | GROUND,
}  # fmt: skip
JOB_SIDE = {"job", "data", "training", "evaluation", "sandbox"}
HEAVY = {"torch", "transformers", "accelerate", "peft", "datasets", "lm_eval", "pandas", "numpy", "scipy", "sklearn"}
STORES = {"sqlite3", "sqlite_utils", "openai"}


def rooms() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if "_site" not in path.parts and room not in ("__init__", "__main__"):
            found.setdefault(room, []).append(path)
    return found


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever the import stands."""
    names = set()
    for item in ast.walk(ast.parse(path.read_text())):
        if isinstance(item, ast.Import):
            names.update(alias.name for alias in item.names)
        elif isinstance(item, ast.ImportFrom) and item.module and not item.level:
            if item.module == "hpc_trex":
                names.update(f"hpc_trex.{alias.name}" for alias in item.names)
            names.add(item.module)
    return names


def test_every_room_is_known():
    assert set(rooms()) == set(ARROWS)


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_imports_run_one_way(room):
    for path in rooms()[room]:
        used = {name.split(".")[1] for name in imports(path) if name.startswith("hpc_trex.")} - {room, "version"}
        assert used <= ARROWS[room], f"{path.relative_to(ROOT)} imports {sorted(used - ARROWS[room])}"


@pytest.mark.parametrize("room", sorted(set(ARROWS) - JOB_SIDE - {"ftbench"}))
def test_the_controller_side_never_imports_torch_and_its_kind(room):
    for path in rooms()[room]:
        heavy = {name.split(".")[0] for name in imports(path)} & HEAVY
        assert not heavy, f"{path.relative_to(ROOT)} imports {heavy}"


@pytest.mark.parametrize("room", sorted(JOB_SIDE))
def test_a_job_never_opens_the_tree_nor_holds_a_client(room):
    for path in rooms()[room]:
        wrong = {name.split(".")[0] for name in imports(path)} & STORES
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("folder", ["agents", "containers", "ftbench", "slurm", "tree"])
def test_site_folders_hold_text_only(folder):
    """A package of that name in the checkout would hide another library's inside a job (STYLE section 6)."""
    assert not list((ROOT / folder).rglob("*.py"))
    assert (ROOT / folder / "README.md").is_file()


def test_relative_links_in_the_docs_exist():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "ftbench").rglob("*.md")]
    assert len(pages) >= 15
    for page in pages:
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_module_says_what_it_is_for():
    modules = [path for paths in rooms().values() for path in paths]
    assert len(modules) > 80
    for path in modules:
        assert ast.get_docstring(ast.parse(path.read_text())), path.relative_to(ROOT)
