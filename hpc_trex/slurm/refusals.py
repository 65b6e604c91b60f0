"""What a failed ``sbatch`` means: refused for good, with the profile key to correct, or only for now."""

from __future__ import annotations

import re

from hpc_trex.models import Profile
from hpc_trex.slurm.scheduler import SubmitRefused, SubmitUnavailable

#: Slurm did not answer, or asks to come back later. The job may have been taken all the same.
_FOR_NOW = re.compile(
    r"""(?xi)
    unable\ to\ contact | socket\ timed\ out | connection\ (refused|timed\ out|reset) | zero\ bytes\ were\ transmitted
    | communication\ connection\ failure | transport\ endpoint | temporarily | in\ standby\ mode | munge
    # A client that gets its configuration from slurmctld says so when that one is away; so does one that has none.
    | establish\ a\ configuration\ source | fetch_config
    | protocol\ authentication\ error | i/o\ error\ writing | unexpected\ message | no\ route\ to\ host
    | (qos|assoc)\w*submit\w*limit | pending\ job\ limit | did\ not\ answer | too\ many\ (pending|queued)
    """
)

#: Slurm's one sentence for every limit of an account or qos; the limit's name stands in another line, or nowhere.
_SOME_LIMIT = "job violates accounting/qos policy"
_LIMIT_NAME = re.compile(r"\b(QOS|Assoc)\w+", re.IGNORECASE)

#: Words of a refusal for good → what to correct in the profile.
_REMEDIES = (
    (r"wall(clock)?|time\s*limit|maxwall", "train.minutes (or prepare, evaluate): the partition or qos allows less time"),
    (r"account", "account (and partition: together they must be allowed); sacctmgr show assoc user=$USER lists yours"),
    (r"qos", "qos; sacctmgr show assoc user=$USER format=account,qos lists yours"),
    (r"partition|not permitted to use", "partition; sinfo -s lists them"),
    (r"gres|gpu|tres", "train.gpus_per_node, gpu_type or gpu_request; sinfo -o '%P %G' lists what nodes have"),
    (r"feature|constraint", "constraint; sinfo -o '%P %f' lists the features"),
    (r"memory", "train.mem_gb, or mem_request = false where the site allots memory itself"),
    (r"node count|more processors|cpu", "train.nodes and train.cpus_per_task"),
    (r"node configuration", "train.gpus_per_node, gpu_type, train.cpus_per_task, train.mem_gb or train.nodes: no node has as much"),
    (r"unrecognized option|invalid option|invalid (numeric )?value", "extra: this sbatch does not know the option"),
)  # fmt: skip


def refusal(words: str, code: int, profile: Profile, token: str) -> SubmitRefused | SubmitUnavailable:
    """Return the error for what sbatch said (``words``) and its exit status ``code`` (124, 137: ended by our limit)."""
    said = _without_noise(words) or f"sbatch ended with status {code}"
    unnamed = _SOME_LIMIT in words.lower() and not _LIMIT_NAME.search(words)
    if code in {124, 137} or unnamed or _FOR_NOW.search(words):
        return SubmitUnavailable(f"Slurm does not take job {token} now: {said}", hint="squeue --me; scontrol ping")
    if code == 127:
        return SubmitRefused(
            "sbatch: command not found", hint="run this on a login node of the cluster, or use --profile local"
        )
    if not any(word in words.lower() for word in ("submission failed", "allocation failure", "error", "option")):
        # No word of Slurm's that we know: it may have taken the job, so it is looked up before anything else.
        return SubmitUnavailable(f"sbatch failed for job {token}: {said}", hint="squeue --me; scontrol ping")
    remedy = next((advice for pattern, advice in _REMEDIES if re.search(pattern, words, re.IGNORECASE)), "")
    hint = f"correct in profile {profile.name}: {remedy}" if remedy else f"see profile {profile.name} and man sbatch"
    return SubmitRefused(f"Slurm refused job {token}: {said}", hint=hint)


def _without_noise(words: str) -> str:
    """Return sbatch's lines as one, without their prefixes."""
    lines = [re.sub(r"^sbatch: (error: )?", "", line.strip()) for line in words.splitlines()]
    return "; ".join(line for line in lines if line)
