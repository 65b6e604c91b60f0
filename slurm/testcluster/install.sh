#!/usr/bin/env bash
# Install the packages that up.sh needs, as root on Debian or Ubuntu. Does nothing when they are there.
#
#   install.sh [-A]     -A: without accounting (no slurmdbd, no MariaDB)
#
# The "-core" package of MariaDB is enough: up.sh makes the database itself, for itself.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive PATH=$PATH:/usr/sbin:/sbin
accounting=1
[ "${1:-}" != -A ] || accounting=

missing() { ! command -v "$1" >/dev/null; }

database_package() { # Ubuntu 22.04 puts the version into the name
  apt-cache show mariadb-server-core >/dev/null 2>&1 && echo mariadb-server-core && return
  apt-cache search --names-only '^mariadb-server-core-[0-9.]+$' | awk '{print $1}' | sort -V | tail -n 1
}

packages() {
  if missing munged; then echo munge; fi
  if missing slurmctld; then echo slurmctld; fi
  if missing slurmd; then echo slurmd; fi
  if missing sbatch; then echo slurm-client; fi
  [ -n "$accounting" ] || return 0
  if missing slurmdbd; then echo slurmdbd; fi
  if missing mariadbd; then database_package; fi
}

[ -n "$(packages)" ] || exit 0
command -v apt-get >/dev/null || {
  echo "install.sh: not Debian or Ubuntu; install by hand: $(packages | tr '\n' ' ')" >&2
  exit 1
}
[ "$(id -u)" = 0 ] || {
  echo "install.sh: needs root to install: $(packages | tr '\n' ' ')" >&2
  exit 1
}

# The packages would start their daemons, which take the ports and run as another user: forbid that meanwhile.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
  trap 'rm -f $policy' EXIT
fi

log=$(mktemp /tmp/testcluster-apt.XXXXXX)
install_packages() {
  local wanted
  mapfile -t wanted < <(packages)
  apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 \
    -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confold \
    -o Dpkg::Options::='--path-exclude=/usr/share/man/*' -o Dpkg::Options::='--path-exclude=/usr/share/doc/*' \
    "${wanted[@]}"
}
if ! install_packages >"$log" 2>&1 && ! { apt-get update -q -o DPkg::Lock::Timeout=120 && install_packages; } >>"$log" 2>&1; then
  tail -n 30 "$log" >&2
  echo "install.sh: failed (all of it: $log). On Ubuntu the packages are in 'universe': add-apt-repository universe" >&2
  exit 1
fi
rm -f "$log"
