"""Jobs in containers on a real Slurm, and what each network class means for a real job.

Apptainer cannot be installed here: ``tests/standins/apptainer`` stands in for it. It shows that the job is started with
the right words, sees all that it reads and has its variables; not that Apptainer itself does what its manual says.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from hpc_trex import version
from hpc_trex.files import read_record
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import JobKind, JobResult, JobSpec, Profile, Resources
from hpc_trex.slurm.containers import image_digest
from hpc_trex.slurm.profiles import load_profile
from hpc_trex.slurm.scheduler import JobRef, JobRequest, JobState
from hpc_trex.slurm.submitit_backend import SlurmScheduler
from tests.jobs import prepared_set, spec_for
from tests.noop import PYTHON, finish, noop_profile, noop_search
from tests.program import wait_until

pytestmark = pytest.mark.cluster

PATIENCE = 240.0
STANDINS = Path(__file__).parents[1] / "standins"
SMALL = Resources(cpus_per_task=1, mem_gb=1, minutes=5)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "hpc-trex.sif"
    path.write_bytes(b"the image of this test")
    return path


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in on the jobs' PATH, as a module would; return its log."""
    tools = tmp_path / "tools"
    tools.mkdir()
    shutil.copy(STANDINS / "apptainer", tools)
    monkeypatch.setenv("PATH", f"{tools}:" + os.environ["PATH"])
    log = tmp_path / "apptainer.log"
    monkeypatch.setenv("TREX_STANDIN_LOG", str(log))
    return log


def calls(log: Path) -> list[list[str]]:
    return [call.splitlines() for call in log.read_text().split("\n\n") if call.strip()]


def test_every_job_of_a_search_runs_in_the_image(testcluster, tmp_path, image, runner):
    """With --cleanenv, which sites recommend: nothing that the jobs need is lost."""
    container = {"image": str(image), "python": str(PYTHON), "options": ["--cleanenv"], "binds": ["/usr/share"]}
    starts = tmp_path / "starts"
    paths = noop_search(tmp_path / "home", noop_profile(container=container, starts=starts), max_nodes=2, trials=1)
    assert finish(paths) == "done"
    made = calls(runner)
    specs = [JobSpec.model_validate_json(path.read_bytes()) for path in paths.root.rglob("spec.json")]
    assert len(made) == len(specs) == len(starts.read_text().splitlines()) >= 5
    for call in made:
        assert call[:2] == ["exec", "--cleanenv"]
        assert call[call.index(str(image)) + 1] == str(PYTHON)
        assert {"/usr/share", str(paths.root)} <= set(call)
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    assert {(spec.container.image, spec.container.sha256, spec.container.program) for spec in specs} == {
        (str(image), digest, version())
    }


def test_an_image_that_vanishes_pauses_the_search_and_nothing_is_lost(testcluster, tmp_path, image, runner):
    from hpc_trex.errors import ClusterRefused
    from hpc_trex.tree.store import Store

    container = {"image": str(image), "python": str(PYTHON)}
    paths = noop_search(tmp_path / "home", noop_profile(container=container), max_nodes=1, trials=1)
    away = image.rename(tmp_path / "away.sif")
    with pytest.raises(ClusterRefused, match=r"hpc-trex\.sif does not exist"):
        finish(paths)
    with Store.read(paths) as store:
        assert store.status().state.value == "paused"
    away.rename(image)
    assert finish(paths) == "done"
    assert len(calls(runner)) == len(list(paths.root.rglob("started.json")))


def run(scheduler: SlurmScheduler, spec: JobSpec, folders: tuple[Path, ...]) -> tuple[JobResult, dict[str, str]]:
    """Run one real job; return its result, and the environment that its worker was seen with."""
    paths = AttemptPaths(Path(spec.attempt_dir))
    scheduler.submit(JobRequest(spec.token, paths.root, paths.spec, spec.kind, spec.resources, folders))
    seen: dict[str, str] = {}

    def over() -> bool:
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if not seen and words[-2:] == ["hpc_trex.job.worker", str(paths.spec)]:
                seen.update(process.environ())
        return paths.result.exists()

    wait_until(over, seconds=PATIENCE, what=f"a result; {paths.stderr}")
    # What the job tidies up behind its result is done when Slurm has seen its end.
    job = JobRef(spec.token, None, paths.root)
    wait_until(lambda: scheduler.poll([job])[job.token].state is JobState.ENDED, seconds=PATIENCE, what="its end")
    result = read_record(paths.result, JobResult)
    assert result is not None
    return result, seen


def test_a_real_training_runs_in_the_image_and_names_it_in_its_result(testcluster, tmp_path, image, runner):
    profile = load_profile("testcluster").model_copy(
        update={
            "container": Profile.model_validate(
                {"name": "x", "container": {"image": str(image), "python": sys.executable, "options": ["--cleanenv"]}}
            ).container,
        }
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    profile = profile.model_copy(update={"environment": profile.environment | {"TMPDIR": str(scratch)}})
    scheduler = SlurmScheduler(profile)
    place = tmp_path / "place"
    digest = image_digest(profile.container, tmp_path / "cache")
    inside = {"container": {"image": str(image), "sha256": digest, "program": version()}}
    folders = (place, tmp_path / "cache", scratch)
    (tmp_path / "cache").mkdir(exist_ok=True)
    small = {"resources": {"cpus_per_task": 1, "mem_gb": 4, "minutes": 5}}

    base = spec_for(place / "base", tmp_path / "cache", kind="base", train={"max_steps": 4}, base={
        "name": "builtin:tiny-qwen3", "path": ""}, **inside, **small)  # fmt: skip
    made, _ = run(scheduler, base, folders)
    assert made.state == "succeeded", made.message
    assert made.model is not None

    resources = {"resources": {"gpus_per_node": 1, "cpus_per_task": 1, "mem_gb": 4, "minutes": 5}}
    train = {"method": "full", "learning_rate": 1e-4, "batch_size": 8, "max_steps": 6, "max_seq_len": 64}
    spec = spec_for(
        place / "train", tmp_path / "cache", base=made.model.model_dump(), data_dir=str(prepared_set(place / "rows")),
        train=train, **inside, **resources,
    )  # fmt: skip
    result, seen = run(scheduler, spec, folders)
    assert result.state == "succeeded", result.message
    assert result.steps == 6
    assert result.hashes["container"] == digest
    assert "--nv" in calls(runner)[-1]
    assert "--nv" not in calls(runner)[0]
    assert seen["APPTAINER_CONTAINER"] == str(image)
    assert seen["CUDA_VISIBLE_DEVICES"].isdigit(), "the GPU that Slurm gave"
    assert seen["HF_HUB_OFFLINE"] == seen["HF_DATASETS_OFFLINE"] == "1"
    assert Path(seen["HF_DATASETS_CACHE"]).is_relative_to(scratch), "no cache that another job writes"
    assert seen["TMPDIR"].startswith(f"{scratch}/hpc-trex-")
    assert list(scratch.iterdir()) == [], "and it is gone with the job"

    older = {"container": inside["container"] | {"program": "99.0"}}
    spec = spec_for(place / "older", tmp_path / "cache", base=made.model.model_dump(), train=train, **older, **small)
    result, _ = run(scheduler, spec, folders)
    assert (result.state, result.failure) == ("failed", "ENVIRONMENT")
    assert f"the image holds hpc-trex {version()}, the search is run by 99.0" in result.message


def test_each_network_class_is_what_a_job_on_a_node_sees(testcluster, tmp_path, monkeypatch):
    """Also against what the user's shell says: a forgotten HF_HUB_OFFLINE must not decide."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nenv > env.tmp && mv env.tmp env.txt\n")
    python.chmod(0o755)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "0")
    folders = {}
    for network in ("compute", "login", "none"):
        folder = folders[network] = tmp_path / network
        folder.mkdir()
        profile = noop_profile(python=str(python), network=network)
        request = JobRequest(
            f"trex-net-{network}-{tmp_path.name}", folder, folder / "spec.json", JobKind.BASELINE, SMALL
        )
        SlurmScheduler(profile).submit(request)
    switches = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_EVALUATE_OFFLINE")
    for network, folder in folders.items():
        wait_until((folder / "env.txt").exists, seconds=PATIENCE, what=f"the job of class {network}")
        seen = dict(line.split("=", 1) for line in (folder / "env.txt").read_text().splitlines() if "=" in line)
        assert {seen[name] for name in switches} == {"0" if network == "compute" else "1"}
        assert seen.get("WANDB_MODE") == (None if network == "compute" else "offline")
        assert seen["HF_HUB_DISABLE_TELEMETRY"] == "1"
