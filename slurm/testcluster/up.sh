#!/usr/bin/env bash
# Start a real Slurm on this one machine, with all its state under one directory. Run again, it starts what is not running.
#
#   up.sh STATE [-n NODES=4] [-c CPUS=16] [-g GPUS=8] [-m MEM_MB=64000] [-p PORT] [-C NAME=trex] [-A] [-o|-O]
#
#   -n -c -g -m   nodes, and what each of them pretends to have
#   -p            first of NODES + 12 ports; default: the ones it had, if free, else the first free ones from 26817
#   -C            name of the cluster
#   -A            no accounting: no slurmdbd, no MariaDB; sacct then fails, as at sites that disable it
#   -o            end steps over their --mem by polling: the job is FAILED 0:9
#   -O            let the kernel do it (root, cgroup v1): the job is OUT_OF_MEMORY
#
# Then:  . STATE/env.sh     Stop it:  down.sh STATE [--purge]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
umask 022

usage() {
  sed -n '2,/^set/{/^#/p}' "$0"
  exit 2
}

[ $# -ge 1 ] || usage
case $1 in -*) usage ;; esac
mkdir -p "$1"
use_state "$1"
shift
shape="$*"
nodes=4 cpus=16 gpus=8 mem=64000 port='' accounting=1 memory_polling='' sampling=30 task_plugin=task/none name=trex
while getopts n:c:g:m:p:C:AoO option; do
  case $option in
  n) nodes=$OPTARG ;; c) cpus=$OPTARG ;; g) gpus=$OPTARG ;; m) mem=$OPTARG ;; p) port=$OPTARG ;; C) name=$OPTARG ;;
  A) accounting='' ;;
  o) memory_polling=JobAcctGatherParams=OverMemoryKill sampling=1 ;;
  O) task_plugin=task/cgroup ;;
  *) usage ;;
  esac
done
[ ${#STATE} -le 80 ] || die "the state directory's path is too long for unix sockets (80): $STATE"
user=$(id -un) host=$(uname -n) addr=127.0.0.1
host=${host%%.*}

port_open() { (exec 3<>"/dev/tcp/$addr/$1") 2>/dev/null; }

wait_for() { # wait_for SECONDS WHAT COMMAND...
  local end=$(($(date +%s) + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$(date +%s)" -ge $end ]; then
      tail -n 15 "$STATE"/log/*.log >&2
      die "timed out waiting for $what; the logs' ends are above"
    fi
    sleep 0.03
  done
}

ports_free() { # ports_free BASE
  local i
  for ((i = 0; i < nodes + 12; i++)); do ! port_open $(($1 + i)) || return 1; done
}

daemons_up() { # does any of this cluster run? Then the open ports are its own
  local file
  for file in "$STATE"/run/slurm*.pid; do ! alive "$file" slurm || return 0; done
  return 1
}

choose_port() { # clusters side by side keep apart by a hundred
  local base
  if [ -n "$port" ]; then
    daemons_up || ports_free "$port" || die "something listens on a port from $port to $((port + nodes + 11)) already: choose another -p"
    return
  fi
  # A cluster that was stopped for a while may find that another has its ports now.
  if [ -s "$STATE/etc/port" ]; then
    port=$(cat "$STATE/etc/port")
    if daemons_up || ports_free "$port"; then return; fi
  fi
  for ((base = 26817; base < 32000; base += 100)); do
    ! ports_free $base || { port=$base && return; }
  done
  die "no free ports from 26817 on"
}

start_over() { # a database kept would show new job ids mixed with old ones
  "$here/down.sh" "$STATE"
  rm -rf "$STATE/db" "$STATE/state" "$STATE/spool"
}

make_folders() {
  mkdir -p "$STATE"/{etc,log,run,state,spool,dev}
  chmod 755 "$STATE" "$STATE/run"
  chmod 700 "$STATE/state"
}

# ---- configuration ------------------------------------------------------------------------------------------------

accounting_lines() {
  if [ -z "$accounting" ]; then
    echo AccountingStorageType=accounting_storage/none
    return
  fi
  # The link to slurmdbd ignores AuthInfo: it takes the munge socket from AccountingStoragePass.
  printf '%s\\n' AccountingStorageType=accounting_storage/slurmdbd "AccountingStorageHost=$addr" \
    "AccountingStoragePort=$((port + 1))" "AccountingStoragePass=$STATE/run/munge.sock" \
    AccountingStorageTRES=gres/gpu AccountingStoreFlags=job_comment
}

communication_line() { # listen on loopback only, where the host's name points there
  [ "$(getent ahostsv4 "$host" | awk 'NR==1{print $1}')" != $addr ] ||
    echo CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
}

render() { # render NAME: NAME.in with its @...@ filled in
  local gres=''
  [ "$gpus" = 0 ] || gres=Gres=gpu:$gpus
  sed -e "s|@STATE@|$STATE|g; s|@HOST@|$host|g; s|@ADDR@|$addr|g; s|@USER@|$user|g" \
    -e "s|@CTLD_PORT@|$port|g; s|@DBD_PORT@|$((port + 1))|g; s|@SLURMD_PORTS@|[$((port + 11))-$((port + 10 + nodes))]|g" \
    -e "s|@NODES@|$nodes|g; s|@CPUS@|$cpus|g; s|@MEM@|$mem|g; s|@MEM_PER_CPU@|$((mem / cpus))|g" \
    -e "s|@CLUSTER@|$name|g; s|@GRES@|$gres|g; s|@LAST_GPU@|$((gpus - 1))|g; s|@COMMUNICATION@|$(communication_line)|g" \
    -e "s|@MEMORY_POLLING@|$memory_polling|g; s|@SAMPLING@|$sampling|g; s|@TASK_PLUGIN@|$task_plugin|g; s|@ACCOUNTING@|$(accounting_lines)|g" \
    "$here/$1.in" >"$STATE/etc/$1"
}

cgroup_lines() {
  local version
  version=$(slurmctld -V | awk '{print $2}')
  if [ "$task_plugin" = task/cgroup ]; then
    printf '%s\n' CgroupPlugin=cgroup/v1 CgroupMountpoint=/sys/fs/cgroup ConstrainRAMSpace=yes \
      ConstrainSwapSpace=no ConstrainCores=no ConstrainDevices=no MinRAMSpace=30
  elif [ "$(printf '%s\n' 24.05 "$version" | sort -V | head -n 1)" = 24.05 ]; then
    echo CgroupPlugin=disabled # newer slurmd look for cgroups even where nothing uses them
  fi
}

write_configuration() {
  local i
  render slurm.conf
  render gres.conf
  [ "$gpus" -gt 0 ] || : >"$STATE/etc/gres.conf"
  rm -f "$STATE/etc/cgroup.conf"
  if [ -n "$(cgroup_lines)" ]; then cgroup_lines >"$STATE/etc/cgroup.conf"; fi
  (umask 077 && render slurmdbd.conf)
  chmod 600 "$STATE/etc/slurmdbd.conf"
  for ((i = 0; i < gpus; i++)); do ln -sfn /dev/null "$STATE/dev/nvidia$i"; done
  cat >"$STATE/env.sh" <<ENV
export SLURM_CONF=$SLURM_CONF
case ":\$PATH:" in *:/usr/sbin:*) ;; *) export PATH=\$PATH:/usr/sbin ;; esac
ENV
}

name_hosts() { # a rendezvous goes by host name (trex1:PORT)
  [ "$(id -u)" = 0 ] || return 0
  {
    flock 8
    grep -q "# testcluster $STATE\$" /etc/hosts ||
      echo "$addr $(seq -s ' ' -f 'trex%.0f' 1 "$nodes") # testcluster $STATE" >>/etc/hosts
  } 8>>"$HOSTS_LOCK"
}

# ---- daemons ------------------------------------------------------------------------------------------------------

maria_options=(--no-defaults --user="$user" --datadir="$STATE/db" --skip-log-bin --performance-schema=OFF)
# Small, and careless of a power cut: Slurm's forty CREATE TABLEs take 0.1 s instead of 1 s.
innodb_options=(--innodb-buffer-pool-size=64M --innodb-log-file-size=8M --innodb-data-file-path=ibdata1:5M:autoextend
  --innodb-temp-data-file-path=ibtmp1:5M:autoextend --innodb-file-per-table=0 --innodb-stats-persistent=0
  --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --sync-frm=0
  --innodb-lock-wait-timeout=900 --innodb-buffer-pool-dump-at-shutdown=0 --innodb-buffer-pool-load-at-startup=0)

make_database() { # as mariadb-install-db does, less its help tables and the client packages it needs
  local tables
  tables=$(ls /usr/share/{mysql,mariadb}/{mysql,mariadb}_system_tables.sql 2>/dev/null | head -n 1 || true)
  [ -n "$tables" ] || die "mysql_system_tables.sql not found under /usr/share/mysql or /usr/share/mariadb"
  rm -rf "$STATE/db"
  mkdir "$STATE/db"
  {
    printf '%s\n' 'create database mysql;' 'use mysql;' 'SET @auth_root_socket=NULL;'
    cat "$tables"
    printf '%s\n' 'FLUSH PRIVILEGES;' "CREATE USER slurm@localhost IDENTIFIED BY 'trex';" \
      'GRANT ALL ON *.* TO slurm@localhost;'
  } | mariadbd "${maria_options[@]}" --innodb=OFF --default-storage-engine=Aria --bootstrap \
    >"$STATE/log/mariadb-bootstrap.log" 2>&1 || return 1
  : >"$STATE/db/.ready"
}

start_database() {
  local pid i
  if alive "$STATE/run/mysql.pid" mariadbd; then return 0; fi
  [ -e "$STATE/db/.ready" ] || make_database || return 1
  rm -f "$STATE/run/mysql.sock" "$STATE/run/mysql.pid"
  setsid mariadbd "${maria_options[@]}" "${innodb_options[@]}" --skip-networking --socket="$STATE/run/mysql.sock" \
    --pid-file="$STATE/run/mysql.pid" --log-error="$STATE/log/mariadb.log" </dev/null >/dev/null 2>&1 9>&- &
  pid=$!
  for ((i = 0; i < 1000; i++)); do
    if [ -S "$STATE/run/mysql.sock" ] && alive "$STATE/run/mysql.pid" mariadbd; then return 0; fi
    kill -0 $pid 2>/dev/null || return 1 # a child of ours, so bash takes its zombie away; command_of may come too early
    sleep 0.03
  done
  kill -9 $pid 2>/dev/null
  return 1
}

start_accounting() {
  if ! start_database; then # killed, not stopped, last time: unsynced files may be beyond repair, and are test data
    say "the database does not start: starting over from nothing"
    start_over
    make_folders
    name_hosts
    start_database || {
      tail -n 20 "$STATE"/log/mariadb*.log >&2
      die "MariaDB does not start"
    }
    start_munge
  fi
  alive "$STATE/run/slurmdbd.pid" slurmdbd || {
    rm -f "$STATE/run/slurmdbd.pid"
    slurmdbd 9>&- # reads slurmdbd.conf beside $SLURM_CONF
  }
  wait_for 30 slurmdbd port_open $((port + 1)) # without it slurmctld dies at its first start ("no TRES")
}

start_munge() {
  [ -s "$STATE/etc/munge.key" ] || (umask 077 && head -c 128 /dev/urandom >"$STATE/etc/munge.key")
  if alive "$STATE/run/munged.pid" munged; then return; fi
  rm -f "$STATE"/run/munge.sock*
  munged --force --key-file="$STATE/etc/munge.key" --socket="$STATE/run/munge.sock" --num-threads=10 \
    --pid-file="$STATE/run/munged.pid" --log-file="$STATE/log/munged.log" --seed-file="$STATE/run/munge.seed" 2>/dev/null 9>&-
}

all_nodes_up() { [ "$(sinfo -h -N -p main -t idle,alloc,mix,comp -o %N | sort -u | wc -l)" = "$nodes" ]; }

start_nodes() {
  local i bad
  for ((i = 1; i <= nodes; i++)); do
    mkdir -p "$STATE/spool/trex$i"
    alive "$STATE/run/slurmd-trex$i.pid" slurmd || slurmd -N "trex$i" -f "$SLURM_CONF" 9>&-
  done
  bad=$(sinfo -h -N -p main -t drain,down,fail -o %N | sort -u | paste -sd,)
  [ -z "$bad" ] || scontrol update nodename="$bad" state=resume 2>/dev/null || true
  wait_for 40 "$nodes nodes" all_nodes_up
}

# ---- main ---------------------------------------------------------------------------------------------------------

exec 9>>"/tmp/hpc-trex-testcluster.$user.lock"
flock 9 # one start at a time: ports and packages. The daemons close it (9>&-), or it would stay held

install_options=()
[ -n "$accounting" ] || install_options=(-A)
"$here/install.sh" ${install_options[@]+"${install_options[@]}"}
if [ -e "$STATE/etc/shape" ] && [ "$(cat "$STATE/etc/shape")" != "$shape" ]; then start_over; fi
make_folders
choose_port
echo "$shape" >"$STATE/etc/shape"
echo "$port" >"$STATE/etc/port"
write_configuration
name_hosts
start_munge
[ -z "$accounting" ] || start_accounting
alive "$STATE/run/slurmctld.pid" slurmctld || slurmctld -f "$SLURM_CONF" 9>&-
wait_for 30 slurmctld port_open "$port"
start_nodes
say "up: $nodes nodes of $cpus CPUs and $gpus pretended GPUs. Now:  . $STATE/env.sh"
