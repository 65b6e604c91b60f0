"""The wheel is whole: installed alone into an empty folder, the program finds its prompts, profiles, cards and SQL."""

from __future__ import annotations

import json
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


#: What only jobs have (the extra `train`): a login node may hold the plain installation.
OF_JOBS = (
    *("torch", "transformers", "datasets", "accelerate", "peft", "lm_eval"),
    *(
        "pandas",
        "numpy",
        "pyarrow",
        "scipy",
        "sklearn",
        "xxhash",
        "safetensors",
        "rouge_score",
        "sacrebleu",
        "py3langid",
    ),
)


def test_a_whole_search_is_led_from_a_node_without_the_libraries_of_jobs(installed, tmp_path, base_model, own_card):
    """The controller runs to the end where none of them can be imported at all; its jobs have them."""
    code = f"import sys\nfor name in {OF_JOBS}: sys.modules[name] = None\nfrom hpc_trex.cli.main import main\nmain()\n"
    words = ["launch", "--task", str(own_card), "--name", "plain", "--max-nodes", "1", "--trials", "1", "--yes"]
    shown = run(installed, tmp_path, "-c", code, *words)
    assert "at worst" in shown
    assert "done" in shown.strip().splitlines()[-1] or "report" in shown, shown
    status = json.loads(run(installed, tmp_path, "-c", code, "status", "plain", "--json"))
    assert status["state"] == "done"
    assert status["chosen"]["test"] is not None
    assert "Bad cases" in run(installed, tmp_path, "-c", code, "show", "1", "plain")
