"""The text of ``status``, ``tree``, ``best``, ``show`` and of the end of a launch: functions from records to ``str``.

A :class:`Look` says whether the reader is a terminal (lines drawn with box characters, colours, a width) or a program
(plain characters, full width). Nothing here reads a file or a database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from click import style

from hpc_trex.models import AttemptView, BestView, NodeState, NodeView, Score, StatusView, TrialView

STATE_COLOURS = {
    "running": "cyan",
    "pending": "cyan",
    "active": "cyan",
    "queued": "blue",
    "done": "green",
    "succeeded": "green",
    "finishing": "cyan",
    "paused": "yellow",
    "failed": "red",
    "cancelled": "yellow",
}

#: Levels of the tree that are indented; deeper ones show their depth as a number.
DEEPEST = 12


class Look(NamedTuple):
    """How text is laid out. ``width`` is in columns; None cuts nothing."""

    unicode: bool = False
    color: bool = False
    width: int | None = None

    def paint(self, text: str, colour: str | None = None, *, bold: bool = False) -> str:
        """Return the text in a colour, where there are colours."""
        return style(text, fg=colour, bold=bold) if self.color and (colour or bold) else text

    def state(self, state: str) -> str:
        """Return a state in its colour."""
        return self.paint(state, STATE_COLOURS.get(state))

    def cut(self, text: str, used: int = 0) -> str:
        """Return one line of text that leaves ``used`` columns of the width free."""
        line = " ".join(text.split())
        room = None if self.width is None else max(10, self.width - used)
        if room is None or len(line) <= room:
            return line
        return line[: room - 3] + "..."


PLAIN = Look()


def number(value: float | None, digits: int = 4) -> str:
    """Return a score for a table; ``-`` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """Return a difference with its sign; ``-`` where there is none."""
    return "-" if value is None else f"{value:+.{digits}f}"


def duration(seconds: float | None) -> str:
    """Return seconds as ``42s``, ``3m10s`` or ``2h05m``."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


# --- the tree ---------------------------------------------------------------------------------------------------


def tree_text(
    nodes: Sequence[NodeView], *, best: int | None = None, look: Look = PLAIN, limit: int | None = None
) -> str:
    """Return the tree, one round a line: id and move, score, gain over the baseline, trials done, state.

    With ``limit`` only the last so many lines are kept, and how many are hidden is said.
    """
    by_id = {node.id: node for node in nodes}
    if not by_id:
        return "no rounds yet"
    baseline = by_id[0].score if 0 in by_id else None
    rows = [(prefix + _title(node), node) for prefix, node in _walk(by_id, look)]
    wide = max(len(title) for title, _ in rows)
    if look.width is not None:
        wide = min(wide, max(16, look.width - 40))
    lines = [f"{'round':<{wide}}  {'score':>8} {'gain':>8} {'trials':>6}  state"]
    hidden = max(0, len(rows) - limit) if limit is not None else 0
    if hidden:
        lines.append(f"... {hidden} earlier rounds")
    lines += [
        _tree_line(title, node, wide=wide, baseline=baseline, best=best, look=look) for title, node in rows[hidden:]
    ]
    return "\n".join(lines)


def _walk(by_id: dict[int, NodeView], look: Look) -> Iterator[tuple[str, NodeView]]:
    """Yield (prefix of lines, node) from the root down, without recursion: a chain may be 1,000 rounds deep."""
    trunk, fork, last, gap = ("│ ", "├─", "└─", "  ") if look.unicode else ("| ", "|-", "`-", "  ")
    children: dict[int | None, list[int]] = {}
    for node in sorted(by_id.values(), key=lambda item: item.id):
        children.setdefault(node.parent if node.parent in by_id else None, []).append(node.id)
    stack = [("", "", child) for child in reversed(children.get(None, []))]
    while stack:
        prefix, below, node_id = stack.pop()
        node = by_id[node_id]
        yield prefix, node
        own = children.get(node_id, [])
        for index in range(len(own) - 1, -1, -1):
            is_last = index == len(own) - 1
            if node.depth >= DEEPEST:
                stack.append((f"{below[: 2 * DEEPEST]}({node.depth + 1}) ", below, own[index]))
            else:
                stack.append((below + (last if is_last else fork), below + (gap if is_last else trunk), own[index]))


def _title(node: NodeView) -> str:
    return f"{node.id} {'baseline' if node.id == 0 else node.move or 'round'}"


def _tree_line(title: str, node: NodeView, *, wide: int, baseline: float | None, best: int | None, look: Look) -> str:
    gain = None if node.id == 0 or node.score is None or baseline is None else node.score - baseline
    planned = [trial for trial in node.trials if trial.replicate_of is None and trial.kind.value != "test"]
    done = sum(1 for trial in planned if trial.state.value == "done")
    if len(title) > wide:
        title = title[: wide - 3] + "..."
    state = look.state(node.state.value)
    if node.failure is not None and node.state is not NodeState.DONE:
        state += f" {node.failure.value}"
    mark = look.paint("  * best", "green", bold=True) if node.id == best and best != 0 else ""
    row = f"{title:<{wide}}  {number(node.score):>8} {signed(gain):>8} {f'{done}/{len(planned)}':>6}  "
    return row + state + mark


# --- status and best --------------------------------------------------------------------------------------------


def status_text(status: StatusView, look: Look = PLAIN) -> str:
    """Return the state of a search on lines of at most 80 columns (paths and error messages may be longer)."""
    lines = [
        f"search    {look.paint(status.search, bold=True)}  {look.state(status.state.value)}",
        f"          {status.directory}",
        f"task      {look.cut(status.task, 10)}",
        f"model     {look.cut(status.model, 10)}",
        f"rounds    {_counts(status.nodes)} (of {status.max_nodes} and the baseline)",
        f"trials    {_counts(status.trials)}",
    ]
    if status.message:
        lines.insert(1, f"          {look.cut(status.message, 10)}")
    lines += _score_lines(status, look)
    if status.noise_sd is not None:
        lines.append(f"noise     standard deviation {number(status.noise_sd)} between seeds")
    lines.append(f"used      {cost_words(status)}")
    lines += [_job_line(attempt, look) for attempt in status.running]
    return "\n".join(lines)


def cost_words(status: StatusView) -> str:
    """Return what a search has used so far, in words."""
    cost = status.cost
    words = [f"{cost.gpu_hours:.2f} GPU-hours", f"{cost.cpu_hours:.2f} CPU-hours"]
    if cost.tokens:
        words.append(f"{cost.tokens:,} tokens")
    if cost.money:
        words.append(f"{cost.money:.2f} of money")
    return ", ".join(words)


def best_text(status: StatusView, look: Look = PLAIN) -> str:
    """Return the best (or chosen) round against the baseline, on dev and, once opened, on the sealed test."""
    if status.baseline is None:
        return "no score yet: the baseline is still being evaluated"
    return "\n".join(_score_lines(status, look))


def _score_lines(status: StatusView, look: Look) -> list[str]:
    lines = []
    if status.baseline is not None:
        lines.append(f"baseline  dev {_dev(status.baseline)}")
    shown, label = (status.chosen, "chosen") if status.chosen is not None else (status.best, "best")
    if shown is not None:
        gain = look.paint(signed(shown.gain), "green" if (shown.gain or 0) > 0 else None)
        lines.append(f"{label:<9} node {shown.node} trial {shown.trial}: dev {_dev(shown)}, gain {gain}")
    lines += _test_lines(status)
    return lines


def _dev(view: BestView) -> str:
    interval = "" if view.dev_low is None or view.dev_high is None else f" [{view.dev_low:.4f}, {view.dev_high:.4f}]"
    seeds = f" over {view.dev_seeds} seeds" if view.dev_seeds > 1 else ""
    return f"{number(view.dev)}{interval}{seeds}"


def _test_lines(status: StatusView) -> list[str]:
    if status.chosen is None or status.chosen.test is None:
        return []
    lines = [f"test      chosen   {_score(status.chosen.test)}"]
    if status.baseline is not None and status.baseline.test is not None:
        lines.append(f"          baseline {_score(status.baseline.test)}")
    if status.test_difference is not None:
        gain = status.test_difference
        lines.append(f"          gain {signed(gain.value)} [{signed(gain.low)}, {signed(gain.high)}] (paired, sealed)")
    return lines


def _score(score: Score) -> str:
    return f"{score.metric} {number(score.value)} [{score.low:.4f}, {score.high:.4f}], n = {score.n}"


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{count} {state}" for state, count in counts.items() if count]
    return ", ".join(shown) or "none yet"


def _job_line(attempt: AttemptView, look: Look) -> str:
    """Return one line on a job that is queued or runs: what it is, its id, and why it waits."""
    what = f"node {attempt.node} {attempt.kind.value}" + (f" trial {attempt.trial}" if attempt.trial else "")
    why = f" {attempt.reason}" if attempt.reason else ""
    where = f" on {attempt.host}" if attempt.host else ""
    line = f"job       {attempt.job_id or '-'} {what}, {attempt.state.value}{where}{why}"
    return look.cut(line)


# --- one round --------------------------------------------------------------------------------------------------


def node_text(node: NodeView, attempts: Sequence[AttemptView], look: Look = PLAIN) -> str:
    """Return all that is known of one round: plan, recipe, trials with their scores, jobs, diagnosis."""
    parent = "no parent" if node.parent is None else f"child of {node.parent}"
    lines = [f"node {node.id}  {look.state(node.state.value)}  {parent}, {node.visits} visits, {node.pending} pending"]
    lines.append(f"score      {number(node.score)}   reward {number(node.reward)}")
    if node.failure is not None:
        lines.append(f"failure    {node.failure.value}: {node.message}")
    if node.plan is not None:
        lines += [f"move       {node.move}", f"hypothesis {node.plan.hypothesis}"]
        lines += [f"expected   {node.plan.expected_effect}"] if node.plan.expected_effect else []
        lines += [
            "data recipe" + ("" if node.data_from in (None, node.id) else f" (prepared by node {node.data_from})")
        ]
        lines += [
            f"  {index}. {_step(step.op, step.model_dump(exclude_defaults=True))}"
            for index, step in enumerate(node.plan.data.steps, 1)
        ]
    lines += ["trials", *(f"  {_trial(trial, look)}" for trial in node.trials)]
    lines += ["jobs", *(f"  {_attempt(attempt, look)}" for attempt in attempts)]
    if node.report:
        lines += ["diagnosis", *(f"  {line}" for line in node.report.splitlines())]
    return "\n".join(lines)


def _step(op: str, fields: dict[str, object]) -> str:
    return " ".join([op, *(f"{key}={value}" for key, value in fields.items() if key != "op")])


def _trial(trial: TrialView, look: Look) -> str:
    label = trial.plan.label if trial.plan and trial.plan.label else trial.kind.value
    if trial.replicate_of is not None:
        label = f"repeat of {trial.replicate_of}, seed {trial.seed}"
    words = [f"{trial.trial}  {look.state(trial.state.value)}  {number(trial.score)}  {label}"]
    if trial.reused_from is not None:
        words.append(f"result of node {trial.reused_from[0]} trial {trial.reused_from[1]}")
    main = trial.result.scores.get("main") if trial.result else None
    if main is not None:
        words.append(f"[{main.low:.4f}, {main.high:.4f}]")
    if trial.plan is not None:
        settings = trial.plan.train.resolved().model_dump(exclude_defaults=True)
        words.append(" ".join(f"{key}={value}" for key, value in settings.items()))
    if trial.failure is not None:
        words.append(f"{trial.failure.value}: {trial.message}")
    return "  ".join(word for word in words if word)


def _attempt(attempt: AttemptView, look: Look) -> str:
    name = f"trial {attempt.trial}" if attempt.trial else "preparation"
    text = (
        f"{name} attempt {attempt.attempt}  {attempt.kind.value}  job {attempt.job_id or '-'}  "
        f"{look.state(attempt.state.value)}  {attempt.host or '-'}  {duration(attempt.seconds)}"
    )
    return text + (f"  {attempt.failure.value}: {attempt.message}" if attempt.failure is not None else "")


def final_text(status: StatusView, nodes: Sequence[NodeView], report: Path | None, look: Look = PLAIN) -> str:
    """Return the last block of a launch; its last line is the path of the HTML report."""
    best = status.chosen or status.best
    lines = [tree_text(nodes, best=best.node if best else None, look=look), "", status_text(status, look)]
    lines += [f"insight   {look.cut(insight.text, 10)}" for insight in status.insights[:5]]
    if report is not None:
        lines += ["", str(report)]
    return "\n".join(lines)
