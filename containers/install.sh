#!/usr/bin/env bash
# Install HPC-TREX and all that it needs into a virtual environment, in the versions that the files beside this one name.
# Both definitions run it, one step after the other; outside of an image it makes the same environment.
#
#   install.sh packages VENV          make VENV and install pins.txt and cuda.txt
#   install.sh flash VENV             compile flash.txt: needs nvcc of torch's CUDA, a C++ compiler and patience
#   install.sh program VENV SOURCE    build HPC-TREX from SOURCE (a checkout, or an unpacked sdist) and install it
#
#   PYTHON                  packages: the interpreter (python3)
#   HPC_TREX_CUDA=no        packages: without cuda.txt, for a build of torch that needs none
#   HPC_TREX_FLASH=no       flash: do nothing; trainings then use SDPA
#   FLASH_ATTN_CUDA_ARCHS   flash: for which GPUs, "80;90" (A100 and its kin, H100); also 100, 120
#   MAX_JOBS, NVCC_THREADS  flash: compilers at once (4) and threads of each (1): as many as memory bears
#
# No cache and no tool is kept. No package is installed that no file names: --no-deps, and pip check says if one is missing.
set -euo pipefail
umask 022 # what root installs, everybody reads
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONNOUSERSITE=1
unset PYTHONPATH PYTHONHOME
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  sed -n 's/^#   install.sh/usage: install.sh/p' "$0" >&2
  exit 2
}

[ $# -ge 2 ] || usage
step=$1
venv=$2
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

pip() {
  "$venv/bin/python" -m pip "$@"
}

# What builds stands outside of VENV. Only builds may see it: pip takes what it sees for installed.
get_tools() {
  pip install -q --target "$tools/packages" --no-deps -r "$here/tools.txt"
}

with_tools() { # COMMAND ARGUMENT...
  PYTHONPATH=$tools/packages PATH=$tools/packages/bin:$venv/bin:$PATH "$@"
}

packages() {
  "${PYTHON:-python3}" -m venv "$venv"
  pip install -q "$(grep '^pip==' "$here/tools.txt")"
  local files=(-r "$here/pins.txt" -r "$here/cuda.txt")
  [ "${HPC_TREX_CUDA:-}" != no ] || files=(-r "$here/pins.txt")
  # A few packages have sources only: what builds them is pinned too.
  pip install --no-deps --build-constraint "$here/tools.txt" "${files[@]}"
  pip check
}

flash() {
  if [ "${HPC_TREX_FLASH:-}" = no ]; then
    echo "install.sh: no flash-attn in this environment: trainings use SDPA"
    return
  fi
  command -v nvcc >/dev/null || {
    echo "install.sh: nvcc is not on the PATH: flash-attn cannot be compiled (HPC_TREX_FLASH=no goes without)" >&2
    exit 1
  }
  get_tools
  # FORCE_BUILD: else its setup asks for a ready wheel somewhere on the web first. Its own list of GPUs replaces
  # TORCH_CUDA_ARCH_LIST.
  export FLASH_ATTENTION_FORCE_BUILD=TRUE MAX_JOBS="${MAX_JOBS:-4}" NVCC_THREADS="${NVCC_THREADS:-1}"
  export FLASH_ATTN_CUDA_ARCHS="${FLASH_ATTN_CUDA_ARCHS:-80;90}"
  with_tools pip install --no-deps --no-build-isolation -r "$here/flash.txt"
  pip check
}

program() { # SOURCE
  get_tools
  # The wheel is built from an sdist: so no private file of SOURCE comes along.
  with_tools "$venv/bin/python" -m build -q --no-isolation --outdir "$tools/dist" "$1"
  pip install --no-deps --force-reinstall "$tools"/dist/*.whl
  pip check
}

case $step:$# in
  packages:2 | flash:2) "$step" ;;
  program:3) program "$3" ;;
  *) usage ;;
esac
