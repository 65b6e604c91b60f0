"""The script that both images are made with, run for real without CUDA: a few of the pins, the program, the smoke test.

It takes packages from the package index, as ``make install`` does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hpc_trex import version
from tests import pins

pytestmark = pytest.mark.local

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "containers"


def install(folder: Path, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script that stands in ``folder``."""
    command = [folder / "install.sh", *map(str, words)]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


def test_the_smoke_test_says_what_is_there_and_needs_no_gpu():
    done = subprocess.run([FOLDER / "smoke.sh", sys.executable], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    torch = pins.pinned(FOLDER / "pins.txt")["torch"].split("==")[1]
    assert re.search(rf"^torch {re.escape(torch)}", done.stdout, re.MULTILINE)
    assert f"hpc-trex {version()}" in done.stdout
    assert "flash_attn" in done.stdout


def test_the_smoke_test_fails_where_a_package_is_broken(tmp_path):
    (tmp_path / "peft").mkdir()
    (tmp_path / "peft" / "__init__.py").write_text("raise ImportError('undefined symbol')")
    done = subprocess.run(
        [FOLDER / "smoke.sh", sys.executable],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "undefined symbol" in done.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An environment that the real script makes from a few of the pins: built packages, and one with sources only."""
    folder = tmp_path_factory.mktemp("containers")
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    few = {"packaging", "pluggy", "setuptools", "word2number"}
    chosen = [line for name, line in pins.pinned(FOLDER / "pins.txt").items() if name in few]
    assert len(chosen) == len(few)
    (folder / "pins.txt").write_text("\n".join(chosen) + "\n")
    venv = folder / "environment"
    done = install(folder, "packages", venv, HPC_TREX_CUDA="no", PYTHON=sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, venv


def frozen(venv: Path) -> set[str]:
    done = subprocess.run(
        [venv / "bin" / "python", "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    return {pins.canonical(line) for line in done.stdout.splitlines()}


def test_the_script_installs_what_is_pinned_and_leaves_no_tool_behind(environment):
    """Packages that are tools and pins at once were once taken for installed, because the tools were in sight."""
    folder, venv = environment
    pip = pins.canonical(pins.pinned(FOLDER / "tools.txt")["pip"])
    assert frozen(venv) == {pins.canonical(line) for line in pins.pinned(folder / "pins.txt").values()} | {pip}


def test_the_script_builds_the_program_from_a_copy_of_the_checkout_without_private_files(environment, tmp_path):
    folder, venv = environment
    source = tmp_path / "source"
    source.mkdir()
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    names = [*targets["wheel"]["packages"], *targets["wheel"]["force-include"]]
    for name in (*names, "pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        made = ROOT / name
        shutil.copytree(made, source / name) if made.is_dir() else shutil.copy(made, source / name)
    (source / "slurm" / "dist").mkdir()
    (source / "slurm" / "dist" / "private.toml").write_text("password")
    done = install(folder, "program", venv, source)
    # What it needs is not in this environment, and the script says so; the program itself is installed.
    assert done.returncode == 1
    assert "requires torch" not in done.stdout  # an extra
    assert f"hpc-trex {version()} requires click, which is not installed." in done.stdout, done.stdout + done.stderr
    shipped = next(venv.glob("lib/python3*/site-packages/hpc_trex/_site"))
    assert sorted(path.name for path in (shipped / "containers").iterdir()) == sorted(
        path.name for path in FOLDER.iterdir()
    )
    assert os.access(shipped / "containers" / "install.sh", os.X_OK)
    assert not list(shipped.rglob("private.toml"))
    assert not list(tmp_path.glob("source/dist"))
