"""The Reviewer: reads a round plan before anything is spent on it. It refuses with reasons, it changes nothing."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from hpc_trex.agents.apply import Draft, loaded
from hpc_trex.agents.defaults import sources_of
from hpc_trex.agents.distance import NEAR, distance
from hpc_trex.agents.moves import Playbook
from hpc_trex.agents.protocol import TreeView
from hpc_trex.agents.tree_facts import drafts
from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.render import Renderer
from hpc_trex.memory.fit import misfit
from hpc_trex.models import DataRecipe, Profile, Prompt, RoundPlan, SearchConfig, TrainConfig, reward_obstacle
from hpc_trex.models.asking import ASKING, Generate
from hpc_trex.models.operators import (
    Augment,
    Convert,
    Dedup,
    FilterConflicts,
    FilterLength,
    FilterLoss,
    FilterRegex,
    FilterSimilar,
    Format,
    Load,
    Mix,
    Order,
    Python,
    Sample,
    Split,
    Step,
)

#: Sequences longer than this need hardware that no shipped profile asks for; far above any task card's answers.
LONGEST = 131_072

#: Fewer rows than this are not worth a training.
FEWEST_ROWS = 2

#: Steps of an agent's own code in one recipe: more is a program, which nobody can read in a recipe.
MOST_CODE = 2


#: Steps that ask a language model in one recipe: each is a job more before the round is prepared.
MOST_ASKING = 4


def review(plan: RoundPlan, view: TreeView) -> list[str]:
    """Return the reasons to refuse a plan, each a sentence that the Researcher can act on; empty: accepted."""
    return [
        *_sources(plan, view),
        *_steps(plan.data),
        *_texts(plan.data),
        *_code(plan.data, view.config.profile),
        *_asking(plan.data, view.config),
        *_rows(plan.data, view.source_rows),
        *_trials(plan, view),
    ]


def near_duplicates(plan: RoundPlan, view: TreeView, book: Playbook, *, within: float = NEAR) -> list[str]:
    """Return a note for each trial of the plan that hardly differs from an earlier one, with that one's outcome.

    Notes, not refusals: a Researcher may want a near repeat, and exact ones are reused anyway.
    """
    notes = []
    earlier = [(trial, draft) for node in view.nodes() for trial, draft in drafts(node) if trial.replicate_of is None]
    for number, trial in enumerate(plan.trials, start=1):
        draft = Draft(plan.data, trial.train, trial.mixture)
        apart = [(distance(draft, other, book), view_.node, view_.trial, view_) for view_, other in earlier]
        closest = min(apart, key=lambda entry: entry[:3], default=None)
        if closest is not None and closest[0] < within:
            old = closest[3]
            outcome = f"score {old.score:.3f}" if old.score is not None else old.state.value
            notes.append(f"trial {number} is nearly trial {old.trial} of node {old.node} ({outcome})")
    return notes


def _sources(plan: RoundPlan, view: TreeView) -> Iterator[str]:
    """Names of sources: known to the task card, and loaded before they are used."""
    known = set(view.task.sources)
    names = loaded(plan.data)
    valid = f"valid: {', '.join(sorted(known))}"
    for name in names:
        if name not in known:
            yield f"load: unknown source {name!r}; {valid}"
    counts = [step.source for step in plan.data.steps if isinstance(step, Load)]
    for name in sorted({name for name in counts if counts.count(name) > 1}):
        yield f"load: source {name!r} is loaded more than once; use mix with repeat to weigh it"
    for step in plan.data.steps:
        if isinstance(step, Mix):
            for name in sorted({*step.weights, *(step.caps or {})} - set(names)):
                yield f"mix: source {name!r} is not loaded by this recipe; loaded: {', '.join(names)}"
        if isinstance(step, FilterSimilar) and step.reference not in known:
            yield f"filter_similar: unknown reference {step.reference!r}; {valid}"
        elif isinstance(step, FilterSimilar) and step.reference not in names:
            yield f"filter_similar: reference {step.reference!r} is not loaded by this recipe"
    for number, trial in enumerate(plan.trials, start=1):
        for name in sorted(set(trial.mixture or {}) - set(names)):
            yield f"trial {number}: mixture names source {name!r}, which is not loaded; loaded: {', '.join(names)}"
        weights = None if trial.mixture is None else trial.mixture.values()
        if weights is not None and (min(weights, default=0) < 0 or sum(weights) <= 0):
            yield f"trial {number}: mixture weights must be at least 0 and not all 0"
        yield from _stages(number, trial.train, plan.data, view)


def _stages(number: int, train: TrainConfig, data: DataRecipe, view: TreeView) -> Iterator[str]:
    """Stages of a trial: their sources loaded, for a preference two answers to a prompt left, for a reward a judge."""
    names, obstacle, answer = loaded(data), reward_obstacle(view.task.metric), view.task.metric.max_new_tokens
    for place, stage in enumerate(train.stages, start=1):
        for name in sorted({*stage.sources, *stage.rejected} - set(names)):
            yield f"trial {number}: stage {place} names source {name!r}, which is not loaded; loaded: {', '.join(names)}"
        if stage.objective == "dpo" and any(_takes_pairs(step) for step in data.steps):
            yield f"trial {number}: stage {place} needs two answers to a prompt, and a step of the recipe leaves one"
        if stage.objective == "grpo" and obstacle:
            yield f"trial {number}: stage {place} (grpo) is not possible: {obstacle}"
        elif stage.objective == "grpo" and train.max_seq_len <= answer:
            yield f"trial {number}: stage {place} (grpo): answers of {answer} tokens leave no room in max_seq_len {train.max_seq_len}"


def _takes_pairs(step: Step) -> bool:
    """Tell whether a step leaves one answer to a prompt."""
    return isinstance(step, FilterConflicts) or (isinstance(step, Dedup) and "answer" not in step.columns)


def _steps(data: DataRecipe) -> Iterator[str]:
    """The order of steps: loading first, split, order and format once and at the end."""
    steps = data.steps
    first_other = next((index for index, step in enumerate(steps) if not isinstance(step, Load)), len(steps))
    if any(isinstance(step, Load) for step in steps[first_other:]):
        yield "load steps come before all others: a row loaded later would escape the filters"
    for kind in (Split, Order, Format):
        places = [index for index, step in enumerate(steps) if isinstance(step, kind)]
        name = kind.__name__.lower()
        if len(places) > 1:
            yield f"{name}: at most one such step; found {len(places)}"
        if places and any(not isinstance(step, Split | Order | Format) for step in steps[places[0] :]):
            yield f"{name} comes after all steps that choose rows"


def _texts(data: DataRecipe) -> Iterator[str]:
    """Patterns and templates: such as can be read, so that none fails in a job first."""
    for step in data.steps:
        try:
            if isinstance(step, FilterRegex):
                re.compile(step.pattern)
            elif isinstance(step, Convert):
                Renderer(Prompt(prompt=step.prompt, answer=step.answer), "convert")
        except (re.error, OverflowError, RecursionError) as error:
            yield f"filter_regex: bad pattern: {error}"
        except UsageProblem as error:
            yield error.message


def _code(data: DataRecipe, profile: Profile) -> Iterator[str]:
    """Steps of an agent's own code: only where the profile allows them, few, and such as can run there."""
    steps = [step for step in data.steps if isinstance(step, Python)]
    if steps and not profile.agent_code:
        yield f"python: profile {profile.name} does not allow code of agents (key agent_code); use the other steps"
    elif steps and profile.sandbox == "none":
        yield f'python: profile {profile.name} has no sandbox (sandbox = "none"), and code is not run without one'
    if len(steps) > MOST_CODE:
        yield f"python: at most {MOST_CODE} such steps; found {len(steps)}"
    for number, step in enumerate(steps, start=1):
        wrong = _cannot_run(step.code)
        if wrong:
            yield f"python step {number}: {wrong}"
        if step.memory_gb > profile.prepare.mem_gb:
            yield f"python step {number}: memory_gb {step.memory_gb:g} is above the {profile.prepare.mem_gb:g} of its job"
        if step.seconds > profile.prepare.minutes * 60:
            yield f"python step {number}: {step.seconds} seconds are more than the job's {profile.prepare.minutes} minutes"


def _asking(data: DataRecipe, config: SearchConfig) -> Iterator[str]:
    """Steps that ask a language model: only where the search may, few, and within its cap on rows."""
    steps = [step for step in data.steps if isinstance(step, ASKING)]
    cap = config.llm.rows_cap if config.llm is not None else 0
    if steps and not cap:
        yield f"{steps[0].op}: recipes of this search may not ask a language model (--llm-rows); use the other steps"
    elif sum(step.rows for step in steps) > cap:
        yield f"the recipe asks the model about {sum(step.rows for step in steps)} rows; the whole search may ask about {cap}"
    if len(steps) > MOST_ASKING:
        yield f"at most {MOST_ASKING} steps that ask a language model; found {len(steps)}"


def _cannot_run(code: str) -> str:
    """Return why code is no Python with a function ``transform`` at its top; empty: it is. Nothing of it is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"the code cannot be read: {type(error).__name__}: {error}"
    names = [item.name for item in tree.body if isinstance(item, ast.FunctionDef)]
    return "" if "transform" in names else "the code defines no function transform(row) at its top"


def _rows(data: DataRecipe, source_rows: dict[str, int]) -> Iterator[str]:
    """Steps after which certainly nothing, or too little, is left. Only what can be counted without the rows."""
    rows = 0
    for step in data.steps:
        if isinstance(step, Load):
            have = source_rows.get(step.source, 0)
            rows += min(have, step.limit) if step.limit is not None else have
        elif isinstance(step, Mix):
            names = [name for name, weight in step.weights.items() if weight > 0] or sorted(source_rows)
            caps = step.caps or {}
            usable = sum(min(source_rows.get(name, 0), caps.get(name, rows)) for name in names)
            rows = step.total if step.total and step.repeat else min(rows, usable, step.total or rows)
        elif isinstance(step, Sample):
            rows = min(rows, step.n) if step.n is not None else int(rows * (step.fraction or 1.0))
        elif isinstance(step, Generate):
            rows += min(rows, step.rows) * step.each
        elif isinstance(step, Augment) and not step.replace:
            rows += max(1, int(rows * step.fraction)) if rows else 0
        elif isinstance(step, Python) and step.mode == "map":
            rows = step.max_output_rows if rows else 0
        elif isinstance(step, FilterLoss):
            rows -= int(rows * step.drop_fraction)
        elif isinstance(step, FilterLength) and step.max_chars is not None and step.max_chars < step.min_chars:
            yield f"filter_length: max_chars {step.max_chars} is below min_chars {step.min_chars}: no row is left"
        elif isinstance(step, FilterSimilar) and step.min_similarity >= 1:
            yield "filter_similar: min_similarity 1 drops every row that is not the mean of the reference"
    if rows < FEWEST_ROWS:
        yield f"the recipe leaves at most {rows} rows to train on; at least {FEWEST_ROWS} are needed"


def _trials(plan: RoundPlan, view: TreeView) -> Iterator[str]:
    """The trials: as many as the search allows, no two alike, settings that can run."""
    allowed = view.config.researcher.trials
    if len(plan.trials) > allowed:
        yield f"{len(plan.trials)} trials; this search runs at most {allowed} a round"
    keys = [(trial.train.resolved().model_dump_json(), sorted((trial.mixture or {}).items())) for trial in plan.trials]
    if any(key in keys[:index] for index, key in enumerate(keys)):
        yield "two trials of the round are the same; seeds are repeated by the search itself"
    for number, trial in enumerate(plan.trials, start=1):
        yield from (f"trial {number}: {reason}" for reason in _training(trial.train, view))


def _training(train: TrainConfig, view: TreeView) -> Iterator[str]:
    if train.max_seq_len > LONGEST:
        yield f"max_seq_len {train.max_seq_len} is above {LONGEST}"
    if train.micro_batch_size is not None and train.micro_batch_size > train.batch_size:
        yield f"micro_batch_size {train.micro_batch_size} is above batch_size {train.batch_size}"
    too_large = misfit(train, view.config)
    if too_large:
        yield too_large
    if train.quantization != "none" and train.method == "full":
        yield f"quantization {train.quantization} is for method lora: 4-bit weights cannot be trained themselves"
    longest = sum(sources_of(view).rows.values()) * train.epochs
    if longest < 1:
        yield f"{train.epochs:g} epochs of {sum(sources_of(view).rows.values())} rows are less than one row"
