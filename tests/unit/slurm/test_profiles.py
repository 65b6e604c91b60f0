"""Profiles: found, checked, and what their keys become in a job's script."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.models import JobKind, Profile, Resources
from hpc_trex.slurm import machine
from hpc_trex.slurm.commands import Answer
from hpc_trex.slurm.executor import TrexExecutor
from hpc_trex.slurm.local_backend import LocalScheduler
from hpc_trex.slurm.profiles import list_profiles, load_profile, make_scheduler
from hpc_trex.slurm.scheduler import JobRequest
from hpc_trex.slurm.submitit_backend import SlurmScheduler

SHIPPED = {
    "local", "testcluster", "testcluster-2proc", "example-gres", "example-gpus-per-node-modules", "example-preemptible",
    "example-in-allocation", "example-pyxis",
}  # fmt: skip


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_shipped_profile_is_valid_and_makes_its_scheduler(monkeypatch):
    monkeypatch.delenv("HPC_TREX_SITE", raising=False)
    profiles = list_profiles()
    assert set(profiles) == SHIPPED
    for name, profile in profiles.items():
        assert profile.name == name
        assert profile.description
        assert make_scheduler(profile).name == profile.scheduler


def test_a_users_file_hides_the_shipped_one_and_a_path_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path))
    own = written(tmp_path / "slurm" / "profiles" / "local.toml", 'description = "mine"\n')
    assert load_profile("local").description == "mine"
    assert load_profile("testcluster").scheduler == "slurm"
    assert load_profile(own) == load_profile(str(own)) == load_profile("local")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('partitoin = "gpu"\n', "unknown key partitoin", "did you mean partition?"),
        ("[train]\nminute = 3\n", "unknown key train.minute", "did you mean minutes?"),
        ("[train]\nzzzzz = 3\n", "unknown key train.zzzzz", "known keys"),
        ("[train]\nminutes = 0\n", "train.minutes must be a whole number", "no unlimited"),
        ('[train]\nminutes = "UNLIMITED"\n', "not 'UNLIMITED'", "docs/profiles.md"),
        ("[train]\nmem_gb = 0\n", "train.mem_gb", "docs/profiles.md"),
        ('gpu_request = "gpu"\n', "gpu_request", "docs/profiles.md"),
        ("partition = gpu\n", "not valid TOML", "docs/profiles.md"),
        ('[environment]\nHF_TOKEN = "hf_x"\n', "HF_TOKEN looks like a secret", "remove it"),
    ],
)
def test_a_mistake_is_named_with_file_and_key_and_what_was_meant(tmp_path, text, message, hint):
    path = written(tmp_path / "site.toml", text)
    with pytest.raises(UsageProblem) as caught:
        load_profile(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_unknown_profile_names_those_there_are():
    with pytest.raises(NotFound) as caught:
        load_profile("testclustr")
    assert "did you mean testcluster" in caught.value.hint
    assert "example-gres" in caught.value.hint
    with pytest.raises(NotFound):
        load_profile("/no/such/file.toml")


def script(tmp_path: Path, profile: Profile, resources: Resources) -> str:
    request = JobRequest("trex-1", tmp_path / "a b", tmp_path / "a b" / "spec.json", JobKind.TRAIN, resources)
    return SlurmScheduler(profile).render(request)


def test_a_profiles_keys_stand_in_the_script_and_nothing_is_written(tmp_path):
    profile = load_profile("example-gres")
    text = script(tmp_path, profile, profile.train)
    for line in (
        "#SBATCH --partition=gpu",
        "#SBATCH --account=my_project",
        "#SBATCH --gres=gpu:a100:1",
        "#SBATCH --mem=65536M",
        "#SBATCH --time=240",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --job-name=trex-1",
        "#SBATCH --comment=trex-1",
        "#SBATCH --no-requeue",
        "#SBATCH --export=ALL",
        "#SBATCH --signal=USR2@180",
        f"#SBATCH --output='{tmp_path}/a b/job.out'",
        "export HF_HOME=/scratch/me/huggingface",
        "export HF_HUB_OFFLINE=1",
    ):
        assert line in text.splitlines()
    assert "wckey" not in text
    assert "--kill-on-bad-exit=1" in text
    assert "/shared/me/trex-env/bin/python -u -m submitit.core._submit" in text
    assert not list(tmp_path.iterdir())


def test_a_container_stands_before_the_interpreter_and_modules_before_both(tmp_path):
    profile = load_profile("example-gpus-per-node-modules")
    text = script(tmp_path, profile, profile.train)
    assert "#SBATCH --gpus-per-node=h100:4" in text
    assert "--mem" not in text
    command = text.index("apptainer exec --nv --bind /scratch /scratch/me/hpc-trex.sif python3 -u -m submitit")
    assert text.index("module load apptainer/1.3") < text.index("export OMP_NUM_THREADS=8") < command


def test_further_options_are_written_as_they_are_and_our_own_cannot_be_taken(tmp_path):
    profile = Profile(name="x", scheduler="slurm", extra={"mail-type": "FAIL", "exclusive": True, "contiguous": False})
    text = script(tmp_path, profile, Resources(nodes=2, gpus_per_node=0))
    assert "#SBATCH --mail-type=FAIL" in text
    assert "#SBATCH --exclusive\n" in text
    assert "contiguous" not in text
    assert "gres" not in text
    with pytest.raises(UsageProblem, match="job-name"):
        SlurmScheduler(Profile(name="x", scheduler="slurm", extra={"job_name": "mine"}))


@pytest.mark.parametrize("sign", ["%", "\\", "\n"])
def test_a_folder_whose_name_slurm_would_expand_is_refused(tmp_path, sign):
    folder = tmp_path / f"50{sign}j"
    request = JobRequest("t", folder, folder / "spec.json", JobKind.TRAIN, Resources())
    with pytest.raises(UsageProblem, match="expand"):
        SlurmScheduler(Profile(name="x", scheduler="slurm")).render(request)


@pytest.mark.parametrize(
    ("said", "job_id"),
    [("123\n", "123"), ("123;cluster\n", "123"), ("Welcome, job 99!\n* 7 nodes free\n 123 \nBye", "123"), (b"5", "5")],
)
def test_the_job_id_is_read_whatever_banner_stands_around_it(said, job_id):
    assert TrexExecutor._get_job_id_from_submission_command(said) == job_id


@pytest.mark.parametrize("said", ["", "Submitted batch job\n", "12\n13\n"])
def test_an_answer_without_one_clear_job_id_is_no_job_id(said):
    with pytest.raises(Exception, match="no job id"):
        TrexExecutor._get_job_id_from_submission_command(said)


def test_slots_are_bounded_by_cores_memory_and_gpus(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    one = Resources(cpus_per_task=1, mem_gb=0.01)
    assert machine.jobs_at_once(one) == machine.cores()
    assert machine.jobs_at_once(one.model_copy(update={"mem_gb": 10_000.0})) == 1
    eight = lambda command: Answer(0, "\n".join("01234567"), "")  # noqa: E731
    assert machine.gpus(ask=eight) == list("01234567")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    assert machine.gpus(ask=eight) == ["6", "7"]
    assert machine.gpus(ask=lambda command: Answer(127, "", "")) == []
    assert LocalScheduler(Profile(name="x", parallel=3)).slots() == 3
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert machine.cores(tmp_path) == 1
    (tmp_path / "memory.max").write_text(str(2**30))
    assert machine.memory_gb(tmp_path) <= 0.9
