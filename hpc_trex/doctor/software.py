"""What is installed: Python and packages, GPUs, flash-attn, container runners, Slurm."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping

from hpc_trex.doctor.check import Check, failure, ok, warning
from hpc_trex.job import fingerprint
from hpc_trex.slurm.commands import Ask, ask

PACKAGES = ("hpc-trex", "submitit", "torch", "transformers", "flash-attn")
RUNNERS = ("apptainer", "singularity", "enroot")
#: What flash-attn 2 needs of a GPU.
FLASH_CAPABILITY = 8.0
_TORCH_SECONDS = 90
_TORCH = """
import json
found = {"torch": "", "cuda": False, "gpus": 0, "capability": [], "flash": ""}
try:
    import torch
    found["torch"] = torch.__version__
    found["cuda"] = torch.cuda.is_available()
    found["gpus"] = torch.cuda.device_count() if found["cuda"] else 0
    found["capability"] = [list(torch.cuda.get_device_capability(i)) for i in range(found["gpus"])]
except Exception as error:
    found["torch_error"] = f"{type(error).__name__}: {error}"
try:
    import flash_attn
    found["flash"] = flash_attn.__version__
except ModuleNotFoundError:
    pass
except Exception as error:
    found["flash_error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def versions() -> dict[str, str]:
    """Return the versions of Python and of our packages, read without importing them."""
    return fingerprint.versions(PACKAGES)


def check_versions(*, ask: Ask = ask, slurm: bool = False) -> Check:
    """Name the versions of everything that counts."""
    found = versions()
    words = ", ".join(f"{name} {number}" for name, number in found.items())
    if slurm:
        words += f", {ask(('sbatch', '--version')).words}"
    if "torch" not in found:
        return warning("versions", words, "trainings need torch where they run: pip install hpc-trex[train]")
    return ok("versions", words)


def compare_versions(here: Mapping[str, str], there: Mapping[str, str]) -> Check:
    """Say whether the compute node runs what we run: jobs are started there by our own code."""
    name = "same versions"
    if here.get("hpc-trex") != there.get("hpc-trex"):
        words = (
            f"hpc-trex {there.get('hpc-trex', 'is missing')} on the compute node, {here.get('hpc-trex', 'none')} here"
        )
        return failure(
            name, words, "install the same version there, or name the right interpreter: python = in the profile"
        )
    parts = [key for key in ("python", "submitit", "torch", "transformers") if here.get(key) != there.get(key)]
    if not parts:
        return ok(name, f"as here: python {there.get('python')}, hpc-trex {there.get('hpc-trex')}")
    words = ", ".join(f"{key} {there.get(key, 'missing')} there and {here.get(key, 'none')} here" for key in parts)
    minor = [version.split(".")[:2] for version in (here.get("python", ""), there.get("python", ""))]
    if minor[0] != minor[1] or here.get("submitit") != there.get("submitit"):
        return warning(name, words, "use one environment for both: python = in the profile")
    return ok(name, f"{words}; jobs use their own")


def check_runners(needed: str = "") -> Check:
    """Say which container runners are here; ``needed`` is the one that the profile names."""
    found = [name for name in RUNNERS if shutil.which(name)]
    words = f"{', '.join(found)} on the PATH" if found else "no apptainer, singularity or enroot on the PATH here"
    if needed and needed != "pyxis" and needed not in found:
        remedy = "it has to be there on compute nodes: name its module in modules of the profile"
        return warning("containers", f"the profile runs jobs in {needed}; {words}", remedy)
    return ok("containers", words)


def gpus(*, ask: Ask = ask) -> list[dict[str, str]]:
    """Return the GPUs of this machine as nvidia-smi tells them; empty where it is not there."""
    keys = ("name", "memory.total", "driver_version", "compute_cap")
    answer = ask(("nvidia-smi", f"--query-gpu={','.join(keys)}", "--format=csv,noheader"))
    rows = [[part.strip() for part in line.split(",")] for line in answer.out.splitlines()] if answer.ok else []
    return [dict(zip(keys, row, strict=True)) for row in rows if len(row) == len(keys)]


def torch_facts() -> dict[str, object]:
    """Import torch and flash-attn in a process of their own and return what they say; a crash is an answer too."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH], capture_output=True, text=True, timeout=_TORCH_SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        facts = json.loads(done.stdout.strip().splitlines()[-1]) if done.stdout.strip() else None
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        return {"torch_error": f"import torch: {error}"}
    if not isinstance(facts, dict):
        return {"torch_error": f"import torch ended with status {done.returncode}"}
    return facts


def check_gpus(found: list[dict[str, str]], *, asked: int, facts: Mapping[str, object] | None = None) -> Check:
    """Say which GPUs there are. ``asked``: what the profile's trainings ask for; ``facts``: torch's word, where asked."""
    words = "no GPU (nvidia-smi shows none)"
    if found:
        names = [f"{row['name']} {row['memory.total']}" for row in found]
        words = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
        words += f", driver {found[0]['driver_version']}, compute capability {found[0]['compute_cap']}"
    if facts is not None and facts.get("cuda"):
        words += f"; torch sees {facts.get('gpus')}"
        return ok("GPUs", words)
    if not asked:
        return ok("GPUs", f"{words}; the profile asks for none")
    if facts is not None:
        words += "; torch sees none"
    return warning(
        "GPUs", words, "trainings would run on CPUs: see nvidia-smi in a job, and that torch is built for these GPUs"
    )


def check_torch(facts: Mapping[str, object]) -> Check:
    """Say whether torch can be imported where trainings run."""
    if facts.get("torch_error"):
        return failure(
            "torch", str(facts["torch_error"])[:300], "pip install hpc-trex[train] in the environment that jobs use"
        )
    return ok("torch", f"{facts.get('torch')} can be imported")


def check_flash(version: str, capability: float | None, trouble: str = "") -> Check:
    """Say whether flash-attn is used; everything works without it."""
    name = "flash-attn"
    if trouble:
        remedy = "it was built for another torch: install the fitting wheel or remove it (docs/attention.md)"
        return warning(name, f"installed, and cannot be imported ({trouble[:200]}): SDPA is used", remedy)
    if capability is not None and capability < FLASH_CAPABILITY:
        words = f"compute capability {capability:g}: flash-attn 2 needs {FLASH_CAPABILITY:g}; SDPA is used"
        return ok(name, words)
    if not version:
        more = "; these GPUs could use it (docs/attention.md)" if capability is not None else ""
        return ok(name, f"not installed: SDPA is used{more}")
    return ok(name, version + ("" if capability is not None else "; without a GPU SDPA is used"))


def capability_of(found: list[dict[str, str]], facts: Mapping[str, object] | None = None) -> float | None:
    """Return the least compute capability of the GPUs; None where there is none."""
    told = facts.get("capability") if facts else None
    numbers = [float(f"{major}.{minor}") for major, minor in told] if isinstance(told, list) else []
    for row in found if not numbers else []:
        try:
            numbers.append(float(row["compute_cap"]))
        except ValueError:
            continue
    return min(numbers, default=None)
