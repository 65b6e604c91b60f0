"""The wheel is whole: installed alone into an empty folder, the program finds its prompts, profiles, cards and SQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.local
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package from a wheel that was built through the source archive, in a folder of its own."""
    dist, target = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("target")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = dist.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True)
    return target


def run(installed: Path, empty: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "HPC_TREX_HOME": str(empty / "searches")}
    done = subprocess.run(
        [sys.executable, "-P", *arguments], cwd=empty, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_wheel_finds_every_site_file(installed, tmp_path):
    found = run(installed, tmp_path, "-c", "import hpc_trex.site as s; print(s.shipped())").strip()
    assert found == str(installed / "hpc_trex" / "_site")
    names = run(installed, tmp_path, "-m", "hpc_trex", "ftbench", "list")
    assert "mini-listops" in names
    assert "testcluster" in run(installed, tmp_path, "-m", "hpc_trex", "profile", "list")
    assert "at worst" in run(installed, tmp_path, "-m", "hpc_trex", "launch", "--dry-run")
    for folder in ("agents", "containers", "ftbench", "slurm", "tree"):
        shipped = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file()}
        packed = {
            path.relative_to(installed / "hpc_trex" / "_site" / folder)
            for path in (installed / "hpc_trex" / "_site" / folder).rglob("*")
            if path.is_file()
        }
        assert shipped == packed


def test_the_login_node_needs_no_torch(installed, tmp_path):
    """The core commands run where torch and its kind cannot be imported at all."""
    heavy = [
        "torch",
        "transformers",
        "datasets",
        "accelerate",
        "peft",
        "lm_eval",
        "pandas",
        "numpy",
        "scipy",
        "sklearn",
    ]
    code = (
        "import sys\n"
        f"for name in {heavy}: sys.modules[name] = None\n"
        "from hpc_trex.cli.main import main\n"
        "sys.argv = ['hpc-trex', 'launch', '--dry-run']\n"
        "main()\n"
    )
    assert "at worst" in run(installed, tmp_path, "-c", code)
