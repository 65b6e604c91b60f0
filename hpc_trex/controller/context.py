"""What the steps of a tick share: the open search and the parts that work on it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hpc_trex.agents.protocol import Researcher
from hpc_trex.errors import TrexError
from hpc_trex.layout import AttemptPaths, SearchPaths, cache
from hpc_trex.models import AttemptState, AttemptView, ModelRef, SearchConfig, SearchState, TaskCard
from hpc_trex.models.base import one_line
from hpc_trex.slurm.scheduler import Scheduler
from hpc_trex.tree.context import StoreView
from hpc_trex.tree.events import Event, Note, SearchStateChanged
from hpc_trex.tree.store import Store


@dataclass
class Work:
    """One open search in the hands of one controller. ``lines`` collects what a person is told of this tick."""

    paths: SearchPaths
    store: Store
    scheduler: Scheduler
    researcher: Researcher
    view: StoreView
    cache: Path = field(default_factory=cache)
    lines: list[str] = field(default_factory=list)
    suspects: dict[str, int] = field(default_factory=dict)
    """How many looks in a row a live attempt was over, or absent, without a result file."""
    beats: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Last sign of life of a live attempt that the scheduler does not know, and when it was seen (monotonic seconds)."""
    outages: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    """Attempts of a (node, trial) that this controller saw fail because of the ENVIRONMENT."""
    struck: int = 0
    """Rounds in a row that this controller saw struck through no fault of their own."""
    refused: set[tuple[int, int, int]] = field(default_factory=set)
    """Proposals whose refusal is noted: they come again, and are refused again, at each look at the same tree."""
    trouble: str = ""
    """Why no round can be designed, as it was noted last."""
    mending: TrexError | None = None
    """Why the Executor's model could not be asked in this pass."""
    wanted: str = "repair"
    """What it was to be asked for then."""
    not_before: float = 0.0
    """No submit before this time (monotonic seconds): the scheduler asked for a pause."""
    submit_failures: int = 0
    started: float = field(default_factory=time.monotonic)

    @cached_property
    def config(self) -> SearchConfig:
        """The configuration as it is now; only opening the search may change it."""
        return self.store.config

    @cached_property
    def card(self) -> TaskCard:
        """The frozen task card."""
        return TaskCard.model_validate_json(self.paths.card.read_bytes())

    def record(self, event: Event) -> None:
        """Write one event: first to the log, then to the database."""
        self.store.record(event)

    def say(self, line: str) -> None:
        """Tell a person what happened, in one plain line: words of a job's error cannot steer a terminal."""
        self.lines.append(one_line(line))

    def note(self, text: str, node: int | None = None) -> None:
        """Record something that belongs into the history, and say it."""
        self.record(Note(text=text, node=node))
        self.say(text)

    def change_state(self, state: SearchState, message: str = "") -> None:
        """Record a new state of the search."""
        self.record(SearchStateChanged(state=state, message=message))
        self.say(f"search {state.value}" + (f": {message}" if message else ""))

    def attempt_paths(self, attempt: AttemptView) -> AttemptPaths:
        """Return the files of an attempt."""
        return AttemptPaths(self.paths.root / attempt.directory)

    def base(self) -> ModelRef | None:
        """Return the base model on disk; None while a built-in one is still being made."""
        config = self.config
        if config.model_path:
            return ModelRef(name=config.model, path=config.model_path)
        made = self.store.preparation(0)
        result = self.store.preparation_result(0)
        return result.model if made and made.state is AttemptState.SUCCEEDED and result else None

    def rng(self, purpose: str) -> random.Random:
        """Return a generator that depends on the search's seed, the size of the tree and ``purpose`` only, so that a
        controller that died and its successor draw the same.
        """
        return random.Random(f"{self.config.seed}/{self.store.next_node()}/{purpose}")  # noqa: S311
