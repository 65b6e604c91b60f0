#!/usr/bin/env bash
# Make a part of the test cluster fail and come back.
#
#   node.sh STATE kill NODE        SIGKILL its slurmd, its steps and all they started, as if the power went:
#                                  NODE_FAIL after 20 to 30 s
#   node.sh STATE killslurmd NODE  SIGKILL its slurmd alone: the jobs go on
#   node.sh STATE down NODE        tell slurmctld that it is down: NODE_FAIL at once
#   node.sh STATE start NODE       start its slurmd again and take the node back into service
#   node.sh STATE stop slurmctld   stop the controller daemon; "start slurmctld" brings it back
#   node.sh STATE stop slurmdbd    the same for the accounting daemon
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
[ $# = 3 ] || {
  sed -n 2,12p "$0"
  exit 2
}
use_state "$1"
verb=$2 node=$3
pidfile=$STATE/run/slurmd-$node.pid

kill_slurmd() {
  ! alive "$pidfile" slurmd || kill -9 "$(pid_in "$pidfile")"
  rm -f "$pidfile"
}

start_node() {
  local i
  alive "$pidfile" slurmd || slurmd -N "$node" -f "$SLURM_CONF"
  for ((i = 0; i < 100; i++)); do
    scontrol update nodename="$node" state=resume 2>/dev/null
    case $(sinfo -h -N -p main -n "$node" -o %T) in idle | mixed | allocated | completing) return 0 ;; esac
    sleep 0.1
  done
  die "$node did not come back"
}

start_daemon() {
  local i
  alive "$STATE/run/$1.pid" "$1" || "$1"
  for ((i = 0; i < 100; i++)); do
    case $1 in slurmctld) scontrol ping 2>/dev/null | grep -q 'is UP' && return 0 ;; *) sacct -n >/dev/null 2>&1 && return 0 ;; esac
    sleep 0.1
  done
  die "$1 did not come back"
}

case $verb:$node in
stop:slurmctld | stop:slurmdbd) stop_daemon "$STATE/run/$node.pid" "$node" 10 ;;
start:slurmctld | start:slurmdbd) start_daemon "$node" ;;
kill:*)
  kill_slurmd
  kill_steps "$node"
  ;;
killslurmd:*) kill_slurmd ;;
down:*) scontrol update nodename="$node" state=down reason=node.sh ;;
start:*) start_node ;;
*)
  say "unknown verb $verb"
  exit 2
  ;;
esac
