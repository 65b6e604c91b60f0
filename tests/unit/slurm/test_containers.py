"""What stands around a job's interpreter: container, modules, and what the node is asked first."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.errors import UsageProblem
from hpc_trex.models import JobKind, Profile, Resources
from hpc_trex.slurm.containers import (
    check_image,
    image_digest,
    interpreter,
    model_folders,
    require_image,
    setup_lines,
    srun_options,
    visible,
)
from hpc_trex.slurm.failures import classify
from hpc_trex.slurm.local_backend import LocalScheduler
from hpc_trex.slurm.scheduler import JobRequest, JobState, JobStatus, SubmitRefused
from hpc_trex.slurm.submitit_backend import SlurmScheduler

STANDIN = Path(__file__).parents[2] / "standins" / "apptainer"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with the stand-in under both names, and nothing else that is not the system's."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("apptainer", "singularity"):
        shutil.copy(STANDIN, folder / name)
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "it's an image.sif"
    path.write_bytes(b"not really an image")
    return path


def in_image(image: object, **changes: object) -> Profile:
    container = {"image": str(image), "python": "/bin/sh"} | changes
    return Profile.model_validate({"name": "x", "container": container})


def run(
    profile: Profile, folder: Path, *words: str, gpus: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Start a job's words as a node does; ``words`` follow the interpreter (a shell here)."""
    return subprocess.run(
        [*interpreter(profile, [folder], workdir=folder, gpus=gpus), *words],
        env=variables, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("runner", ["apptainer", "singularity"])
@pytest.mark.parametrize("options", [(), ("--cleanenv",)])
def test_inside_the_image_a_job_finds_its_path_its_gpus_and_its_variables(
    tools: Path, image: Path, tmp_path: Path, runner: str, options: tuple[str, ...]
) -> None:
    """Also where the site's options empty the environment (D11)."""
    folder = tmp_path / "my search"
    folder.mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    profile = in_image(image, runner=runner, options=options).model_copy(update={"environment": {"MY_OWN": "a 'b' $c"}})
    done = run(
        profile, folder, "-c", 'printf "%s\\n" "$PATH" "$CUDA_VISIBLE_DEVICES" "$SLURM_JOB_ID" "$MY_OWN" "$TMPDIR" "$PWD"',
        gpus=2, PATH=f"{tools}:/usr/bin:/bin", CUDA_VISIBLE_DEVICES="3,5", SLURM_JOB_ID="77", MY_OWN="a 'b' $c",
        TMPDIR=str(scratch), TREX_STANDIN_LOG=str(tmp_path / "log"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path, *rest = done.stdout.splitlines()
    assert path == "/opt/image/bin:/usr/bin:/bin:/usr/local/bin:/usr/bin:/bin"
    assert rest == ["3,5", "77", "a 'b' $c", str(scratch), str(folder)]
    assert "--nv" in (tmp_path / "log").read_text().splitlines()


def test_a_job_without_gpus_does_not_ask_for_drivers_and_amd_sites_name_their_own(image: Path) -> None:
    assert "--nv" not in interpreter(in_image(image), gpus=0)
    assert "--nv" not in interpreter(in_image(image, options=["--rocm"]), gpus=1)


def test_a_node_that_lacks_runner_or_image_says_which_key_to_correct(tools: Path, image: Path, tmp_path: Path) -> None:
    done = run(in_image(image), tmp_path, PATH="/usr/bin:/bin")
    assert (done.returncode, "name its module in modules" in done.stderr) == (127, True)
    failure, words = classify(JobStatus(JobState.ENDED, "7", "FAILED 127:0"), done.stderr)
    assert (failure.value, "apptainer" in words) == ("ENVIRONMENT", True)
    image.unlink()
    done = run(in_image(image), tmp_path, PATH=f"{tools}:/usr/bin:/bin")
    assert (done.returncode, str(image) in done.stderr) == (126, True)
    failure, words = classify(JobStatus(JobState.ENDED, "7", "FAILED 126:0"), done.stderr)
    assert (failure.value, "does not see the image" in words) == ("ENVIRONMENT", True)


def test_nothing_of_the_hosts_python_gets_into_the_image(image: Path, tmp_path: Path) -> None:
    request = JobRequest("t", tmp_path, tmp_path / "spec.json", JobKind.TRAIN, Resources())
    script = SlurmScheduler(in_image(image).model_copy(update={"scheduler": "slurm"})).render(request)
    assert "export PYTHONNOUSERSITE=1" in script
    assert "export PYTHONPATH=''" in script
    assert sys.executable not in script


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=3), max_size=6))
def test_every_folder_is_visible_and_none_is_bound_twice(parts: list[list[str]]) -> None:
    folders = [Path("/nowhere", *part) for part in parts]
    bound = visible(folders)
    assert all(any(folder.is_relative_to(bind) for bind in bound) for folder in folders)
    assert not [(one, two) for one in bound for two in bound if one != two and one.is_relative_to(two)]
    assert len(set(bound)) == len(bound)


def test_links_are_visible_at_both_ends(tmp_path: Path) -> None:
    real = tmp_path / "real"
    blobs = tmp_path / "blobs"
    for folder in (real, blobs):
        folder.mkdir()
    (blobs / "weights").write_text("w")
    (real / "model.safetensors").symlink_to(blobs / "weights")
    link = tmp_path / "link"
    link.symlink_to(real)
    assert set(visible(model_folders(str(link)))) == {link, real, blobs}


def test_a_folder_that_no_runner_can_bind_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageProblem, match="cannot bind") as problem:
        visible([Path("/data/a:b")])
    assert "HPC_TREX_HOME" in problem.value.hint


def test_pyxis_is_told_image_mounts_and_folder_and_python_starts_inside(tmp_path: Path) -> None:
    profile = in_image(
        "registry.example.org#me/hpc-trex:0.1", runner="pyxis", binds=["/scratch", "/a:/b:ro"],
        options=["--no-container-mount-home"], python="python3",
    ).model_copy(update={"scheduler": "slurm", "modules": ("cuda/13.0",)})  # fmt: skip
    directory = tmp_path / "attempt"
    request = JobRequest("t", directory, directory / "spec.json", JobKind.TRAIN, Resources(), (tmp_path / "cache",))
    script = SlurmScheduler(profile).render(request)
    (line,) = [line for line in script.splitlines() if line.startswith("srun ")]
    assert "--container-image=registry.example.org#me/hpc-trex:0.1" in line
    mounts = f"/scratch:/scratch,/a:/b:ro,{directory}:{directory},{tmp_path}/cache:{tmp_path}/cache"
    assert f"--container-mounts={mounts}" in line
    assert f"--container-workdir={directory}" in line
    assert "--no-container-mount-home" in line
    assert " python3 -u -m submitit.core._submit" in line
    assert "module load cuda/13.0" in script
    assert srun_options(in_image("/x.sif")) == srun_options(Profile(name="x")) == []


def test_the_digest_of_an_image_is_read_once_and_again_when_it_changes(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = in_image(image).container
    assert container is not None
    expected = hashlib.sha256(image.read_bytes()).hexdigest()
    assert image_digest(container, tmp_path / "cache") == expected
    monkeypatch.setattr("hpc_trex.slurm.containers._sha256", lambda path: f"read {path.name}")
    assert image_digest(container, tmp_path / "cache") == expected
    image.write_bytes(b"another one, of another size")
    assert image_digest(container, tmp_path / "cache") == f"read {image.name}"
    image.unlink()
    assert image_digest(container, tmp_path / "cache") == ""
    remote = in_image("registry#x:1", runner="pyxis").container
    assert remote is not None
    assert image_digest(remote, tmp_path / "cache") == ""


def test_a_missing_image_is_refused_before_a_search_and_before_every_job(tmp_path: Path) -> None:
    for image, said in ((tmp_path / "none.sif", "does not exist"), ("none.sif", "absolute path")):
        with pytest.raises(UsageProblem, match=said):
            check_image(in_image(image))
    with pytest.raises(SubmitRefused, match="does not exist"):
        require_image(in_image(tmp_path / "none.sif"))
    request = JobRequest("t", tmp_path, tmp_path / "spec.json", JobKind.TRAIN, Resources())
    local = LocalScheduler(in_image(tmp_path / "none.sif"))
    with pytest.raises(SubmitRefused, match="does not exist"):
        local.submit(request)
    check_image(in_image("registry#me/x:1", runner="pyxis"))
    check_image(Profile(name="x"))


# ---- modules ------------------------------------------------------------------------------------------------------


def load(lines: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    script = "\n".join([*lines, "echo job runs with $LOADED"])
    return subprocess.run(
        ["bash", "--norc", "-c", script],
        env={"PATH": "/usr/bin:/bin"} | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_modules_are_loaded_first_whether_the_shell_has_the_function_or_must_be_given_it(tmp_path: Path) -> None:
    init = tmp_path / "init"
    init.mkdir()
    (init / "bash").write_text(
        'module() { [ "$1" = load ] && [ "$2" != bad/1 ] || return 1; LOADED="$LOADED $2"; }; export LOADED\n'
    )
    lines = setup_lines(
        Profile(name="x", modules=("cuda/13.0", "apptainer/1.3"), setup=('LOADED="$LOADED then setup"',))
    )
    for variables in ({"MODULESHOME": str(tmp_path)}, {"LMOD_PKG": str(tmp_path)}):
        done = load(lines, **variables)
        assert done.stdout.strip() == "job runs with cuda/13.0 apptainer/1.3 then setup", done.stderr
    done = load([f". {init}/bash", *lines])
    assert "cuda/13.0 apptainer/1.3" in done.stdout
    done = load(setup_lines(Profile(name="x", modules=("bad/1",))), MODULESHOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (126, "")
    assert "module load bad/1 failed" in done.stderr


def test_a_node_without_module_says_so_and_starts_nothing() -> None:
    done = load(
        setup_lines(Profile(name="x", modules=("cuda/13.0",))), MODULESHOME="/nonexistent", LMOD_PKG="/nonexistent"
    )
    assert (done.returncode, done.stdout) == (127, "")
    failure, words = classify(JobStatus(JobState.ENDED, "7", "FAILED 127:0"), done.stderr)
    assert (failure.value, "module" in words) == ("ENVIRONMENT", True)


def test_a_local_job_runs_in_the_image_too(tools: Path, image: Path, tmp_path: Path) -> None:
    """Rendered as it would be started, and started as it is rendered."""
    attempt = tmp_path / "attempt"
    attempt.mkdir()
    profile = in_image(image, python="/bin/echo").model_copy(update={"modules": ()})
    request = JobRequest("t", attempt, attempt / "spec.json", JobKind.TRAIN, Resources())
    line = LocalScheduler(profile).render(request)
    done = subprocess.run(
        ["bash", "-c", line], env={"PATH": f"{tools}:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == f"-m hpc_trex.job {attempt}/spec.json", done.stderr
