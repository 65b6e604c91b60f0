#!/bin/sh
# Say what an image holds, and fail where something in it cannot be imported. Needs no GPU; says whether one is seen.
#
#   smoke.sh [PYTHON]
exec "${1:-/opt/hpc-trex/bin/python3}" - <<'END'
import importlib
import importlib.metadata
import shutil
import subprocess

print("hpc-trex", importlib.metadata.version("hpc-trex"))
names = ["hpc_trex.job", "torch", "transformers", "accelerate", "peft", "datasets"]
try:
    importlib.metadata.version("flash-attn")
except importlib.metadata.PackageNotFoundError:
    print("flash_attn is not in this image: trainings use SDPA")
else:
    names.append("flash_attn")
for name in names:
    module = importlib.import_module(name)
    print(name, getattr(module, "__version__", ""))

bubblewrap = shutil.which("bwrap")
if bubblewrap is None:
    print("bubblewrap is not here: the data step python needs it where jobs run")
else:
    print(subprocess.run([bubblewrap, "--version"], check=True, capture_output=True, text=True).stdout.strip())

import torch

seen = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
print("torch is built for CUDA", torch.version.cuda, "and sees", ", ".join(seen) or "no GPU")
END
