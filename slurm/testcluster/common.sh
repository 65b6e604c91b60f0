# Sourced by up.sh, down.sh and node.sh: what they share about one test cluster's state directory.
# shellcheck shell=bash

HOSTS_LOCK=/tmp/hpc-trex-testcluster.hosts.lock # /etc/hosts is one for all clusters of the machine

use_state() { # use_state DIR: make DIR the cluster that the rest of the script talks to
  STATE=$(cd "$1" && pwd) || exit 2
  export SLURM_CONF=$STATE/etc/slurm.conf
  export MYSQL_UNIX_PORT=$STATE/run/mysql.sock # slurmdbd, when node.sh starts it again, would look in /run/mysqld
  export PATH=$PATH:/usr/sbin:/sbin
}

say() { echo "testcluster: $*" >&2; }

die() {
  say "$*"
  exit 1
}

pid_in() { cat "$1" 2>/dev/null || true; }

# The command line of a process; empty when it is gone or a zombie. kill -0 would call a zombie alive, and in a
# container nobody may reap it.
command_of() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true; }

alive() { # alive PIDFILE NAME: does the process in PIDFILE run, and is it a NAME?
  local pid
  pid=$(pid_in "$1")
  [ -n "$pid" ] || return 1
  case $(command_of "$pid") in *"$2"*) return 0 ;; esac
  return 1
}

gone_within() { # gone_within SECONDS PID
  local i
  for ((i = 0; i < $1 * 20; i++)); do
    [ -n "$(command_of "$2")" ] || return 0
    sleep 0.05
  done
  return 1
}

stop_daemon() { # stop_daemon PIDFILE NAME SECONDS: TERM, then KILL after SECONDS
  local pid
  pid=$(pid_in "$1")
  if alive "$1" "$2"; then
    kill "$pid" 2>/dev/null
    gone_within "$3" "$pid" || {
      say "$2 (pid $pid) did not stop in $3 s: killed"
      kill -9 "$pid" 2>/dev/null
    }
  fi
  rm -f "$1"
}

tree_of() { # tree_of PID: the process and all it started
  local child
  echo "$1"
  # shellcheck disable=SC2013
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree_of "$child"; done
}

# The slurmstepd processes of one node ('*': of all) with everything below them. A slurmstepd keeps the log of its
# node open, which is how it is told from those of other clusters on this machine.
steps_of() {
  local proc log
  for proc in /proc/[0-9]*; do
    case $(readlink "$proc/exe" 2>/dev/null) in */slurmstepd*) ;; *) continue ;; esac
    for log in $(readlink "$proc"/fd/* 2>/dev/null); do
      # shellcheck disable=SC2254
      case $log in "$STATE"/log/slurmd-$1.log)
        tree_of "${proc#/proc/}"
        break
        ;;
      esac
    done
  done
}

kill_steps() { # kill_steps NODE|'*'
  local pids
  pids=$(steps_of "$1")
  # shellcheck disable=SC2086
  [ -z "$pids" ] || kill -9 $pids 2>/dev/null || true
}
