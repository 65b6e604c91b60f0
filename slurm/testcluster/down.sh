#!/usr/bin/env bash
# Stop the cluster whose state is under STATE, with its jobs; --purge also deletes STATE.
#
#   down.sh STATE [--purge]
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
[ $# -ge 1 ] || {
  sed -n 2,4p "$0"
  exit 2
}
[ -d "$1" ] || exit 0
use_state "$1"
[ -e "$SLURM_CONF" ] || {
  say "$STATE is not a test cluster"
  exit 2
}

queue_is_empty() { [ -z "$(timeout 5 squeue -h -o %i 2>/dev/null | head -n 1)" ]; }

end_jobs() {
  local i
  timeout 5 scancel --state=PENDING
  timeout 5 scancel --signal=KILL --full --state=RUNNING
  timeout 5 scancel --state=RUNNING
  for ((i = 0; i < 60; i++)); do
    queue_is_empty && return
    sleep 0.1
  done
}

stop_nodes() { # all at once, then wait for each
  local file pid
  for file in "$STATE"/run/slurmd-*.pid; do
    alive "$file" slurmd && kill "$(pid_in "$file")" 2>/dev/null
  done
  for file in "$STATE"/run/slurmd-*.pid; do
    pid=$(pid_in "$file")
    if [ -n "$pid" ] && alive "$file" slurmd; then gone_within 5 "$pid" || kill -9 "$pid" 2>/dev/null; fi
    rm -f "$file"
  done
  kill_steps '*' # steps that outlived their slurmd, and what they started
}

forget_host_names() {
  [ "$(id -u)" = 0 ] && grep -q "# testcluster $STATE\$" /etc/hosts 2>/dev/null || return 0
  {
    flock 8 # a cluster that starts meanwhile would lose its line
    grep -v "# testcluster $STATE\$" /etc/hosts >"$STATE/run/hosts.new"
    cat "$STATE/run/hosts.new" >/etc/hosts # not mv: in a container the file is a mount
  } 8>>"$HOSTS_LOCK"
}

remove_cgroups() { # made by Slurm with up.sh -O
  local dir
  grep -qs '^TaskPlugin=task/cgroup' "$SLURM_CONF" || return 0
  for dir in /sys/fs/cgroup/memory/slurm_trex*; do
    [ ! -d "$dir" ] || find "$dir" -depth -type d -exec rmdir {} \; 2>/dev/null
  done
}

if alive "$STATE/run/slurmctld.pid" slurmctld && ! queue_is_empty; then end_jobs >/dev/null 2>&1; fi
stop_nodes
stop_daemon "$STATE/run/slurmctld.pid" slurmctld 10
stop_daemon "$STATE/run/slurmdbd.pid" slurmdbd 10
stop_daemon "$STATE/run/mysql.pid" mariadbd 20
stop_daemon "$STATE/run/munged.pid" munged 5
forget_host_names
remove_cgroups
if [ "${2:-}" = --purge ]; then rm -rf -- "$STATE"; fi
exit 0
