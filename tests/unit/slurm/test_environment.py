"""What a job sees of the controller's environment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.models import Profile, Resources
from hpc_trex.slurm.environment import clean_environment, is_secret, job_variables


@pytest.mark.parametrize(
    "name",
    ["OPENAI_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "PGPASSWORD",
     "MY_SECRETS_FILE", "WANDB_API_KEY", "SLURM_JWT", "SSH_AUTH_SOCK", "TOKEN", "hf_token", "GITLAB_PAT", "X_KEY"],
)  # fmt: skip
def test_secrets_do_not_reach_a_job(name):
    assert name not in clean_environment({name: "value", "PATH": "/bin"})


@pytest.mark.parametrize(
    "name",
    ["PATH", "SLURM_CONF", "SLURM_CONF_SERVER", "LD_LIBRARY_PATH", "TOKENIZERS_PARALLELISM", "KEYBOARD", "PATTERN",
     "BASH_FUNC_module%%", "MODULEPATH", "HF_HOME", "NCCL_DEBUG", "HPC_TREX_HOME", "KRB5CCNAME", "COMPATH"],
)  # fmt: skip
def test_what_a_job_needs_is_kept(name):
    assert clean_environment({name: "value"}) == {name: "value"}


@pytest.mark.parametrize(
    "name",
    ["SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SBATCH_PARTITION", "SQUEUE_FORMAT", "SACCT_FORMAT", "SRUN_CPUS_PER_TASK",
     "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT",
     "TORCHELASTIC_RUN_ID", "CUDA_VISIBLE_DEVICES", "SUBMITIT_EXECUTOR", "SLURMD_NODENAME"],
)  # fmt: skip
def test_an_enclosing_jobs_variables_are_dropped(name):
    assert clean_environment({name: "1"}) == {}


def test_a_job_inherits_no_temporary_folder_of_an_enclosing_job_but_one_of_the_user():
    assert clean_environment({"TMPDIR": "/scratch/me"}) == {"TMPDIR": "/scratch/me"}
    assert clean_environment({"TMPDIR": "/tmp/slurm.7", "SLURM_JOB_ID": "7"}) == {}


def test_a_password_inside_a_url_is_a_secret_and_a_plain_url_is_not():
    assert is_secret("https_proxy", "http://me:pass@proxy:3128")
    assert not is_secret("https_proxy", "http://proxy:3128")
    assert not is_secret("LS_COLORS", "*.gz=01;31:*.tar=01;31")


@given(st.dictionaries(st.text("ABCKEYTOKN_SLURM", min_size=1, max_size=15), st.text(max_size=20), max_size=8))
def test_cleaning_twice_changes_nothing_and_nothing_is_invented(base):
    once = clean_environment(base)
    assert once.items() <= base.items()
    assert clean_environment(once) == once


def test_every_job_has_its_threads_and_stays_offline_unless_compute_nodes_have_internet():
    four = Resources(cpus_per_task=8, processes_per_node=2)
    login = job_variables(Profile(name="x"), four)
    assert login["OMP_NUM_THREADS"] == "4"
    assert login["PYTHONSAFEPATH"] == login["HF_HUB_OFFLINE"] == login["HF_DATASETS_OFFLINE"] == "1"
    assert job_variables(Profile(name="x", network="compute"), four)["HF_HUB_OFFLINE"] == "0"
    assert job_variables(Profile(name="x"), Resources(processes_per_node=4))["OMP_NUM_THREADS"] == "1"
    own = Profile(name="x", environment={"OMP_NUM_THREADS": "9"})
    assert job_variables(own, four)["OMP_NUM_THREADS"] == "9"
