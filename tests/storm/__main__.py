"""The storm as a program: random trouble for some minutes, then calm, then the verdict. Exit code 1 on any violation."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.storm.verdict import summary, violations
from tests.storm.weather import Weather
from tests.storm.world import World

#: Rounds that two searches with four jobs at once have at most left to do when a storm of a minute ends.
ROUNDS_A_MINUTE = 4.0
#: How often the administrator looks for nodes that Slurm has taken out of service.
LOOK_SECONDS = 10.0


def storm(
    home: Path,
    *,
    minutes: float,
    seed: int,
    accounting: bool = True,
    pause: float = 6.0,
    settle: float = 10.0,
    longest: int = 40,
) -> list[str]:
    """Let a storm blow over searches under ``home`` and return what is wrong behind it.

    ``pause``: mean seconds between two blows. ``settle``: minutes after the storm within which the searches must end.
    ``longest``: seconds of every seventh training; the others take 2 to 12.
    """
    rounds = max(3, round(minutes * ROUNDS_A_MINUTE))
    with World(home, accounting=accounting, seed=seed, rounds=rounds, longest=longest) as world:
        word = "with" if accounting else "without"
        world.say(f"seed {seed}, {minutes:g} minutes, {word} accounting, {rounds} rounds each, in {home}")
        weather = Weather(world)
        _blow(world, weather, minutes, pause)
        world.say("calm")
        _settle(world, weather, settle)
        found = violations(world)
        world.say("the searches are whole" if not found else f"{len(found)} violations")
        for line in (*summary(world, weather.blows), *(f"VIOLATION {line}" for line in found)):
            print(line, flush=True)
    return found


def _blow(world: World, weather: Weather, minutes: float, pause: float) -> None:
    """Blow for so many minutes, and longer, up to twice, while a kind of blow has found nothing to hit yet."""
    end = time.monotonic() + 60 * minutes
    latest = end + 60 * minutes
    next_blow = time.monotonic() + 3
    next_look = time.monotonic() + LOOK_SECONDS
    while (now := time.monotonic()) < end or (weather.missing and now < latest and not world.over()):
        world.tend()
        weather.mend()
        if now > next_look:
            weather.resume_nodes()
            next_look = now + LOOK_SECONDS
        if time.monotonic() >= next_blow and weather.blow():
            next_blow = time.monotonic() + world.random.uniform(0.3, 1.7) * pause
        time.sleep(0.1)


def _settle(world: World, weather: Weather, minutes: float) -> None:
    end, next_look = time.monotonic() + 60 * minutes, 0.0
    while time.monotonic() < end:
        mended = weather.mend(everything=True)
        world.tend()
        if mended and world.over():
            return
        if mended and time.monotonic() > next_look:
            weather.resume_nodes()
            weather.release_held()
            next_look = time.monotonic() + LOOK_SECONDS
        time.sleep(0.3)


def main() -> int:
    """Run the storm that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10_000)
    parser.add_argument("--pause", type=float, default=6.0, help="mean seconds between two blows")
    parser.add_argument("--settle", type=float, default=10.0, help="minutes for the searches to end in the calm")
    parser.add_argument("--no-accounting", action="store_true", help="a site without sacct")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="trex-storm-"))
    os.environ |= {"HPC_TREX_HOME": str(home), "HPC_TREX_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    os.environ["HPC_TREX_KNOWLEDGE"] = "off"
    choice = {"minutes": given.minutes, "seed": given.seed, "pause": given.pause, "settle": given.settle}
    found = storm(home, accounting=not given.no_accounting, **choice)
    if found:
        print(f"the folder is kept: {home}")
        return 1
    shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
