"""What can be asked of a tree. Every question is a few indexed queries; only those that return all nodes read all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hpc_trex.errors import NotFound
from hpc_trex.models import (
    FATES,
    LIVE,
    AttemptView,
    CostView,
    FailureClass,
    Insight,
    JobKind,
    JobResult,
    NodeState,
    NodeView,
    SearchConfig,
    SearchState,
    StatusView,
    TrialState,
    TrialView,
)
from hpc_trex.tree.events import Chosen, TestScored
from hpc_trex.tree.rows import Row, attempt_view, node_view, trial_view
from hpc_trex.tree.standing import Scale, Standing
from hpc_trex.tree.views import Views

if TYPE_CHECKING:
    from sqlite_utils import Database

    from hpc_trex.tree.policies import NodeStat

#: Failures that would come again: trying the same thing once more is no new experiment.
CHARGED = tuple(failure for failure, fate in FATES.items() if fate.charged)


class MoveRow(NamedTuple):
    """The outcome of one round's kind of change; ``gain`` is score minus the parent's, signed so that more is better,
    None if the round failed or is under way. Same shape as ``hpc_trex.agents.protocol.MoveOutcome``.
    """

    move: str
    node: int
    parent: int
    gain: float | None
    pending: bool


class TreeReads:
    """The questions. A :class:`hpc_trex.tree.store.Store` is one; the database is open while it is."""

    root: Path
    db: Database
    _standing: Standing
    _views: Views

    def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        cursor = self.db.conn.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        row = self.db.conn.execute(sql, parameters).fetchone()
        return None if row is None else row[0]

    # --- the search ---

    @property
    def config(self) -> SearchConfig:
        """Return the configuration, as the last change left it."""
        return SearchConfig.model_validate_json(self._value("SELECT config FROM search"))

    @property
    def higher_is_better(self) -> bool:
        """Tell the direction of the main metric."""
        return bool(self._value("SELECT higher_is_better FROM search"))

    def digests(self) -> tuple[str, str]:
        """Return the digests of the base model and of the task, as ``trial_identity`` wants them."""
        row = self._rows("SELECT base_digest, task_digest FROM search")[0]
        return row["base_digest"], row["task_digest"]

    def state(self) -> tuple[SearchState, str]:
        """Return the state of the search and the message that came with it."""
        row = self._rows("SELECT state, message FROM search")[0]
        return SearchState(row["state"]), row["message"]

    def last_event_time(self) -> str:
        """Return when the last event was recorded (UTC, ISO 8601, the writer's clock)."""
        return str(self._value("SELECT last_time FROM search"))

    def last_seq(self) -> int:
        """Return the number of the last event that is in the database."""
        return int(self._value("SELECT last_seq FROM search"))

    def extremes(self) -> tuple[float, float] | None:
        """Return the lowest and the highest score of the finished rounds."""
        low = self._value("SELECT min(score) FROM nodes")
        return None if low is None else (low, self._value("SELECT max(score) FROM nodes"))

    def scale(self) -> Scale | None:
        """Return what turns scores into rewards; None while there is no score."""
        extremes = self.extremes()
        return None if extremes is None else Scale(*extremes, self.higher_is_better)

    def best_node(self) -> int | None:
        """Return the round with the best score, of equal ones the first; None while there is no score."""
        end = "max" if self.higher_is_better else "min"
        best = self._value(f"SELECT min(id) FROM nodes WHERE score = (SELECT {end}(score) FROM nodes)")  # noqa: S608
        return None if best is None else int(best)

    def noise(self) -> tuple[float, int] | None:
        """Return the standard deviation of a score between seeds, and over how many repeated trials it was pooled."""
        row = self._rows("SELECT noise_sd, noise_groups FROM search")[0]
        return None if row["noise_sd"] is None else (row["noise_sd"], row["noise_groups"])

    def chosen(self) -> Chosen | None:
        """Return the final choice, once made."""
        text = self._value("SELECT chosen FROM search")
        return Chosen.model_validate_json(text) if text else None

    def test_score(self) -> TestScored | None:
        """Return the sealed test's scores, once there."""
        text = self._value("SELECT test FROM search")
        return TestScored.model_validate_json(text) if text else None

    def insights(self) -> list[Insight]:
        """Return the lessons as they stand now, oldest first: merged, and without what later evidence says otherwise."""
        from hpc_trex.tree.insights import standing

        return standing(self)

    def undiagnosed(self) -> list[int]:
        """Return the rounds that are over, and that no Researcher has read yet."""
        sql = "SELECT id FROM nodes WHERE state IN ('done', 'failed') AND report = '' ORDER BY id"
        return [row["id"] for row in self._rows(sql)]

    def notes(self) -> list[tuple[str, str, int | None]]:
        """Return time, text and node of every note, oldest first."""
        return [(row["time"], row["text"], row["node"]) for row in self._rows("SELECT * FROM notes ORDER BY id")]

    def cost(self) -> CostView:
        """Return what the whole search has used."""
        row = self._rows("SELECT gpu_seconds, cpu_seconds, tokens, money FROM search")[0]
        return _cost(row).model_copy(update={"tokens": row["tokens"], "money": row["money"]})

    def calls(self) -> set[str]:
        """Return the names of the agents' calls that are recorded."""
        return {row["call"] for row in self._rows("SELECT call FROM calls")}

    def costs(self) -> dict[int, CostView]:
        """Return what each round has used, by node."""
        return {row["id"]: _cost(row) for row in self._rows("SELECT id, gpu_seconds, cpu_seconds FROM nodes")}

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many nodes and how many trials there are in each state."""
        return (
            dict(self.db.conn.execute("SELECT state, count(*) FROM nodes GROUP BY state").fetchall()),
            dict(self.db.conn.execute("SELECT state, count(*) FROM trials GROUP BY state").fetchall()),
        )

    def status(self) -> StatusView:
        """Return everything that ``hpc-trex status`` shows."""
        from hpc_trex.tree.status import status

        return status(self)

    # --- nodes ---

    def node(self, node: int) -> NodeView:
        """Return one round with its trials. Raises :class:`NotFound`."""
        rows = self._rows("SELECT * FROM nodes WHERE id = ?", [node])
        if not rows:
            raise NotFound(f"the search has no node {node}", hint="hpc-trex tree lists them")
        children = [row["id"] for row in self._rows("SELECT id FROM nodes WHERE parent = ? ORDER BY id", [node])]
        trials = self._rows("SELECT * FROM trials WHERE node = ? ORDER BY trial", [node])
        return node_view(rows[0], self.scale(), children, [trial_view(row) for row in trials])

    def nodes(self) -> list[NodeView]:
        """Return all rounds in the order of design. Kept in memory between calls: only what changed is read again."""
        return self._views.nodes(self)

    def read_nodes(self) -> list[NodeView]:
        """Read all rounds from the database."""
        children: dict[int, list[int]] = defaultdict(list)
        trials: dict[int, list[TrialView]] = defaultdict(list)
        rows = self._rows("SELECT * FROM nodes ORDER BY id")
        for row in rows:
            children[row["parent"]].append(row["id"])
        for trial in self._rows("SELECT * FROM trials ORDER BY node, trial"):
            trials[trial["node"]].append(trial_view(trial))
        scale = self.scale()
        return [node_view(row, scale, children[row["id"]], trials[row["id"]]) for row in rows]

    def node_ids(self, *states: NodeState) -> list[int]:
        """Return the numbers of the nodes in these states (none named: all), ascending."""
        where = f"WHERE state IN ({_marks(states)})" if states else ""
        return [row["id"] for row in self._rows(f"SELECT id FROM nodes {where} ORDER BY id", states)]  # noqa: S608

    def failures(self) -> list[tuple[int, FailureClass]]:
        """Return the failed nodes with what ended them, ascending."""
        sql = "SELECT id, failure FROM nodes WHERE state = 'failed' AND failure IS NOT NULL ORDER BY id"
        return [(row["id"], FailureClass(row["failure"])) for row in self._rows(sql)]

    def next_node(self) -> int:
        """Return the number of the node that would be added next."""
        last = self._value("SELECT max(id) FROM nodes")
        return 0 if last is None else int(last) + 1

    def path(self, node: int) -> list[int]:
        """Return the nodes from the root to ``node``, both included."""
        sql = """WITH RECURSIVE up (id, parent) AS (
                    SELECT id, parent FROM nodes WHERE id = ?
                    UNION ALL SELECT nodes.id, nodes.parent FROM nodes JOIN up ON nodes.id = up.parent)
                 SELECT id FROM up ORDER BY id"""
        return [row["id"] for row in self._rows(sql, [node])]

    def below(self, node: int) -> list[int]:
        """Return ``node`` and all its descendants."""
        sql = """WITH RECURSIVE down (id) AS (
                    SELECT ? UNION ALL SELECT nodes.id FROM nodes JOIN down ON nodes.parent = down.id)
                 SELECT id FROM down ORDER BY id"""
        return [row["id"] for row in self._rows(sql, [node])]

    def stats(self) -> list[NodeStat]:
        """Return every node's numbers for a policy, in order of the node's number. Kept in memory between calls."""
        return self._standing.stats(self.scale() or Scale(0.0, 0.0, higher_is_better=True))

    def moves(self) -> list[MoveRow]:
        """Return the outcome of every round but the baseline, in the order of design."""
        sign = 1 if self.higher_is_better else -1
        sql = """SELECT child.move, child.id AS node, child.parent, ? * (child.score - parent.score) AS gain,
                        child.state = 'pending' AS pending
                 FROM nodes AS child JOIN nodes AS parent ON child.parent = parent.id ORDER BY child.id"""
        return [MoveRow(**{**row, "pending": bool(row["pending"])}) for row in self._rows(sql, [sign])]

    # --- trials and attempts ---

    def trial(self, node: int, trial: int) -> TrialView:
        """Return one trial. Raises :class:`NotFound`."""
        rows = self._rows("SELECT * FROM trials WHERE node = ? AND trial = ?", [node, trial])
        if not rows:
            raise NotFound(f"node {node} has no trial {trial}", hint=f"hpc-trex show {node} lists its trials")
        return trial_view(rows[0])

    def trials(self, *states: TrialState) -> list[TrialView]:
        """Return the trials of the whole search in these states (none named: all)."""
        where = f"WHERE state IN ({_marks(states)})" if states else ""
        return [trial_view(row) for row in self._rows(f"SELECT * FROM trials {where} ORDER BY node, trial", states)]  # noqa: S608

    def replicated_nodes(self) -> list[int]:
        """Return the nodes that have a trial repeated with another seed."""
        sql = "SELECT DISTINCT node FROM trials WHERE replicate_of IS NOT NULL ORDER BY node"
        return [row["node"] for row in self._rows(sql)]

    def attempts(self, node: int | None = None, trial: int | None = None) -> list[AttemptView]:
        """Return the jobs of the search, of one node, or of one trial (0: the preparation), oldest first."""
        given = {name: value for name, value in (("node", node), ("trial", trial)) if value is not None}
        where = "WHERE " + " AND ".join(f"{name} = ?" for name in given) if given else ""
        sql = f"SELECT * FROM attempts {where} ORDER BY node, trial, attempt"  # noqa: S608
        return [attempt_view(row) for row in self._rows(sql, list(given.values()))]

    def live_attempts(self) -> list[AttemptView]:
        """Return the attempts that may still have a job, oldest first."""
        sql = f"SELECT * FROM attempts WHERE state IN ({_marks(LIVE)}) ORDER BY node, trial, attempt"  # noqa: S608
        return [attempt_view(row) for row in self._rows(sql, LIVE)]

    def has_attempt(self, kind: JobKind) -> bool:
        """Tell whether a job of this kind has ever been asked for."""
        return self._value("SELECT 1 FROM attempts WHERE kind = ? LIMIT 1", [kind]) is not None

    def attempt(self, token: str) -> AttemptView | None:
        """Return the attempt with this token."""
        rows = self._rows("SELECT * FROM attempts WHERE token = ?", [token])
        return attempt_view(rows[0]) if rows else None

    def preparation(self, node: int) -> AttemptView | None:
        """Return the last attempt of a round's preparation."""
        rows = self._last_preparation(node)
        return attempt_view(rows[0]) if rows else None

    def preparation_result(self, node: int) -> JobResult | None:
        """Return what the last preparation of a round reported: its manifest, or the base model that it made."""
        rows = self._last_preparation(node)
        return JobResult.model_validate_json(rows[0]["result"]) if rows and rows[0]["result"] else None

    def _last_preparation(self, node: int) -> list[dict[str, Any]]:
        return self._rows(
            "SELECT * FROM attempts WHERE node = ? AND trial = 0 ORDER BY attempt DESC LIMIT 1",
            [node],
        )

    # --- what is known already ---

    def find_identity(self, identity: str) -> TrialView | None:
        """Return the first trial that is the same experiment and has a result, or else the first that is to get one.

        Repeats with other seeds, the sealed test, failed and struck trials do not count.
        """
        sql = """SELECT * FROM trials WHERE identity = ? AND replicate_of IS NULL AND kind != 'test'
                 AND state IN ('done', 'active', 'planned') AND NOT struck ORDER BY state = 'done' DESC, node, trial LIMIT 1"""
        rows = self._rows(sql, [identity]) if identity else []
        return trial_view(rows[0]) if rows else None

    def is_tried(self, identity: str) -> bool:
        """Tell whether the same experiment has a result that counts, is to get one, or failed through its own design."""
        sql = f"""SELECT 1 FROM trials WHERE identity = ? AND kind != 'test' AND NOT struck AND
                  (state IN ('done', 'active', 'planned') OR (state = 'failed' AND failure IN ({_marks(CHARGED)})))
                  LIMIT 1"""  # noqa: S608
        if self._value(sql, [identity, *CHARGED]) is not None:
            return True
        # One that a repair made another experiment has failed as it was planned.
        mended = "SELECT 1 FROM trials WHERE repaired_from = ? AND repaired_from != '' LIMIT 1"
        return self._value(mended, [identity]) is not None

    def find_recipe(self, recipe_digest: str) -> int | None:
        """Return the node whose data was prepared under this digest, or else the first that is about to be.

        A node whose last preparation failed does not count, nor one that ended before it was prepared, or was struck.
        """
        from hpc_trex.tree.recipes import find_recipe

        return find_recipe(self, recipe_digest)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _cost(row: Row) -> CostView:
    return CostView(gpu_hours=row["gpu_seconds"] / 3600, cpu_hours=row["cpu_seconds"] / 3600)
