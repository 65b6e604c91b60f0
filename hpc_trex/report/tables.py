"""The text of ``status``, ``tree``, ``best``, ``show`` and of the end of a launch: functions from records to ``str``.

A :class:`hpc_trex.report.look.Look` says whether the reader is a terminal (lines drawn with box characters, colours, a width) or a program
(plain characters, full width). Nothing here reads a file or a database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hpc_trex.models import (
    AttemptView,
    BestView,
    DataRecipe,
    JobKind,
    NodeState,
    NodeView,
    Score,
    SearchState,
    StatusView,
    TrialState,
    TrialView,
)
from hpc_trex.models.base import one_line
from hpc_trex.models.operators import Python
from hpc_trex.report.difference import describe_recipe
from hpc_trex.report.gates import person_words
from hpc_trex.report.look import PLAIN, Look, duration, number, signed
from hpc_trex.report.openings import again_words
from hpc_trex.report.spending import budget_words
from hpc_trex.tree.insights import by_weight

#: Levels of the tree that are indented; deeper ones show their depth as a number.
DEEPEST = 12
#: Columns of a tree's line that are not its title.
OTHER_COLUMNS = 46


# --- the tree ---------------------------------------------------------------------------------------------------


def tree_text(
    nodes: Sequence[NodeView],
    *,
    best: int | None = None,
    higher: bool = True,
    look: Look = PLAIN,
    limit: int | None = None,
) -> str:
    """Return the tree, one round a line: id and move, score, gain over the baseline, trials done, state.

    A gain is positive where the round is better (``higher``: the metric's direction). With ``limit`` only the last so
    many lines are kept, and how many are hidden is said.
    """
    by_id = {node.id: node for node in nodes}
    if not by_id:
        return "no rounds yet"
    baseline = by_id[0].score if 0 in by_id else None
    rows = [(prefix + _title(node), node) for prefix, node in _walk(by_id, look)]
    wide = max(len(title) for title, _ in rows)
    if look.width is not None:
        wide = min(wide, max(16, look.width - OTHER_COLUMNS))
    lines = [f"{'round':<{wide}}  {'score':>8} {'gain':>8} {'trials':>6}  state"]
    hidden = max(0, len(rows) - limit) if limit is not None else 0
    if hidden:
        lines.append(f"... {hidden} more rounds above")
    for title, node in rows[hidden:]:
        gain = None if node.id == 0 or node.score is None or baseline is None else node.score - baseline
        gain = -gain if gain is not None and not higher else gain
        lines.append(f"{_fitted(title, wide)}  {number(node.score):>8} {signed(gain):>8} {_outcome(node, best, look)}")
    return "\n".join(lines)


def _fitted(title: str, wide: int) -> str:
    return f"{title:<{wide}}" if len(title) <= wide else title[: wide - 3] + "..."


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


def _outcome(node: NodeView, best: int | None, look: Look) -> str:
    """Return how many planned trials are done, the state, why it failed, and the mark of the best round."""
    planned = [trial for trial in node.trials if trial.replicate_of is None and trial.kind is not JobKind.TEST]
    done = sum(1 for trial in planned if trial.state is TrialState.DONE)
    state = look.state(node.state.value)
    if node.failure is not None and node.state is not NodeState.DONE:
        state += f" {node.failure.value}"
    struck = sum(1 for trial in planned if trial.struck)
    state += f" ({struck} struck)" if struck and not node.struck else ""
    mark = look.paint("  * best", "green", bold=True) if node.id == best and best != 0 else ""
    return f"{f'{done}/{len(planned)}':>6}  {state}{mark}"


# --- status and best --------------------------------------------------------------------------------------------


def status_text(status: StatusView, look: Look = PLAIN) -> str:
    """Return the state of a search; on a terminal of 80 columns or more no line is wrapped."""
    lines = [
        f"search    {look.paint(look.cut(status.search, 23), bold=True)}  {look.state(status.state.value)}",
        f"          {look.cut_start(status.directory, 10)}",
        f"task      {look.cut(status.task, 10)}",
        f"model     {look.cut(status.model, 10)}",
        f"rounds    {_counts(status.nodes)} (of {status.max_nodes} + baseline)",
        f"trials    {_counts(status.trials)}",
    ]
    if status.message:
        lines.insert(1, f"          {look.cut(one_line(status.message), 10)}")
    lines += _score_lines(status, look)
    if status.noise_sd is not None:
        lines.append(f"noise     standard deviation {number(status.noise_sd)} between seeds")
    lines.append(f"used      {cost_words(status)}")
    if words := budget_words(status):
        lines.append(f"budget    {words}")
    if status.state is SearchState.PAUSED:
        lines.append(f"go on     hpc-trex resume {status.search}")
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
    return ", ".join([*words, *filter(None, [person_words(status.person)])])


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
    if shown is not None and shown.node == 0:
        lines.append(f"{label:<9} the baseline itself")
    elif shown is not None:
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
        test = status.test_difference
        low, high = (test.low, test.high) if test.higher_is_better else (-test.high, -test.low)
        gain = test.value if test.higher_is_better else -test.value
        lines.append(f"          gain {signed(gain)} [{signed(low)}, {signed(high)}] (paired, sealed)")
    if words := again_words(status.test_openings):
        lines.append(f"          {words}")
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
    return look.cut_end(line)


# --- one round --------------------------------------------------------------------------------------------------


def node_text(
    node: NodeView,
    attempts: Sequence[AttemptView],
    difference: Sequence[str] = (),
    look: Look = PLAIN,
    review: Sequence[str] = (),
) -> str:
    """Return all that is known of one round: plan, recipe, what differs from its parent, trials, jobs, what the Reviewer
    found in its records, diagnosis.
    """
    parent = "no parent" if node.parent is None else f"child of {node.parent}"
    lines = [f"node {node.id}  {look.state(node.state.value)}  {parent}, {node.visits} visits, {node.pending} pending"]
    lines.append(f"score      {number(node.score)}   reward {number(node.reward)}")
    if node.failure is not None:
        lines.append(f"failure    {node.failure.value}: {one_line(node.message)}")
    if node.plan is not None:
        lines += [f"move       {node.move}", f"hypothesis {node.plan.hypothesis}"]
        lines += [f"expected   {node.plan.expected_effect}"] if node.plan.expected_effect else []
        prepared = "" if node.data_from in {None, node.id} else f" (prepared by node {node.data_from})"
        lines += _block(f"data recipe{prepared}", describe_recipe(node.plan.data))
        lines += _code(node.plan.data)
    lines += _block("changes", difference)
    lines += _block("trials", [_trial(trial, look) for trial in node.trials])
    lines += _block("jobs", [_attempt(attempt, look) for attempt in attempts])
    lines += _block("review", review)
    lines += _block("diagnosis", [one_line(line) for line in node.report.splitlines()])
    return "\n".join(lines)


def _code(recipe: DataRecipe) -> list[str]:
    """Return the code of each python step, line by line. Nothing in it can steer the terminal."""
    lines: list[str] = []
    for number_, step in enumerate(recipe.steps, start=1):
        if isinstance(step, Python):
            clean = "".join(
                c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in step.code.replace("\r\n", "\n")
            )
            lines += _block(f"code of step {number_}", clean.split("\n"))
    return lines


def _block(title: str, lines: Sequence[str]) -> list[str]:
    """Return a titled, indented list; nothing when it is empty."""
    return [title, *(f"  {line}" for line in lines)] if lines else []


def _trial(trial: TrialView, look: Look) -> str:
    label = trial.plan.label if trial.plan and trial.plan.label else trial.kind.value
    if trial.replicate_of is not None:
        label = f"repeat of {trial.replicate_of}, seed {trial.seed}"
    state = look.state("struck" if trial.struck else trial.state.value)
    words = [f"{trial.trial}  {state}  {number(trial.score)}  {label}"]
    if trial.struck:
        words.append(f"claimed {number(trial.claimed)}")
    if trial.reused_from is not None:
        words.append(f"result of node {trial.reused_from[0]} trial {trial.reused_from[1]}")
    main = trial.result.scores.get("main") if trial.result else None
    if main is not None:
        words.append(f"[{main.low:.4f}, {main.high:.4f}]")
    if trial.plan is not None:
        settings = trial.plan.train.resolved().model_dump(exclude_defaults=True)
        words.append(" ".join(f"{key}={value}" for key, value in settings.items()))
    if trial.failure is not None:
        words.append(f"{trial.failure.value}: {one_line(trial.message)}")
    return "  ".join(word for word in words if word)


def _attempt(attempt: AttemptView, look: Look) -> str:
    name = f"trial {attempt.trial}" if attempt.trial else "preparation"
    text = (
        f"{name} attempt {attempt.attempt}  {attempt.kind.value}  job {attempt.job_id or '-'}  "
        f"{look.state(attempt.state.value)}  {attempt.host or '-'}  {duration(attempt.seconds)}"
    )
    return text + (f"  {attempt.failure.value}: {one_line(attempt.message)}" if attempt.failure is not None else "")


def final_text(
    status: StatusView, nodes: Sequence[NodeView], report: Path, *, higher: bool = True, look: Look = PLAIN
) -> str:
    """Return the last block of a launch; its last line is the path of the HTML report."""
    best = status.chosen or status.best
    tree = tree_text(nodes, best=best.node if best else None, higher=higher, look=look)
    insights = [f"insight   {look.cut(insight.text, 10)}" for insight in by_weight(status.insights)[:5]]
    return "\n".join([tree, "", status_text(status, look), *insights, "", str(report)])
