"""What a search has used, and what its jobs may still use at worst: the figures that its caps are held against.

An attempt that is not over reserves its GPUs and CPUs for its whole time limit, as recorded when it was asked for: the
profile may have changed since. An attempt that is over counts with what it used. So it is with the jobs that serve the
agents' language model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hpc_trex.models import LIVE, Spent, SpentRow

if TYPE_CHECKING:
    from hpc_trex.tree.reads import TreeReads

By = Literal["node", "user", "account"]

_LIVE = ", ".join(f"'{state}'" for state in LIVE)
_JOBS = """(SELECT node, user, account, gpus, cpus, minutes, seconds, cpu_seconds, state FROM attempts
            UNION ALL SELECT 'server', user, account, gpus, cpus, minutes, seconds, cpu_seconds, state FROM servers)"""
_RESERVED = f"""SELECT coalesce(sum(gpus * minutes), 0) / 60.0, coalesce(sum(cpus * minutes), 0) / 60.0, count(*)
                FROM (SELECT gpus, cpus, minutes FROM attempts WHERE state IN ({_LIVE})
                      UNION ALL SELECT gpus, cpus, minutes FROM servers WHERE state != 'ended')"""  # noqa: S608
_ROWS = """SELECT {by} AS key, sum(gpus * seconds * (state NOT IN ({live}))) / 3600.0,
                  sum(cpu_seconds * (state NOT IN ({live}))) / 3600.0,
                  sum(gpus * minutes * (state IN ({live}))) / 60.0, sum(cpus * minutes * (state IN ({live}))) / 60.0,
                  count(*)
           FROM {jobs} GROUP BY {by} ORDER BY {by}"""


def spent(tree: TreeReads) -> Spent:
    """Return the whole search's figures: a query over the live attempts and one row, however large the tree."""
    cost = tree.cost()
    gpu, cpu, jobs = tree.db.conn.execute(_RESERVED).fetchone()
    return Spent(
        gpu_hours=cost.gpu_hours,
        cpu_hours=cost.cpu_hours,
        reserved_gpu_hours=gpu,
        reserved_cpu_hours=cpu,
        jobs=jobs,
    )


def spent_by(tree: TreeReads, by: By) -> list[SpentRow]:
    """Return the figures of each round, user or account, in that order; ``jobs`` are all attempts of it.

    The jobs that served the agents' language model belong to no round: they are the row ``server``.
    """
    rows = tree.db.conn.execute(_ROWS.format(by=by, live=_LIVE, jobs=_JOBS))
    return [
        SpentRow(
            key=str(key), gpu_hours=gpu, cpu_hours=cpu, reserved_gpu_hours=held, reserved_cpu_hours=held_cpu, jobs=jobs
        )
        for key, gpu, cpu, held, held_cpu, jobs in rows
    ]
