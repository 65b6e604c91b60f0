"""Time to start: `hpc-trex --help` and `--version` against a bare interpreter, in turns so that load hits all alike.

Run: python benchmarks/cli_startup.py [--rounds 15]. Prints a Markdown table (docs/performance.md) and exits 1 when the
median of a bounded command is over its bound (DESIGN section 10).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

BOUND_MS = 250
PROGRAM = [sys.executable, "-m", "hpc_trex"]
CASES = {
    "python -c pass": ([sys.executable, "-c", "pass"], None),
    "hpc-trex --version": ([*PROGRAM, "--version"], BOUND_MS),
    "hpc-trex --help": ([*PROGRAM, "--help"], BOUND_MS),
    "hpc-trex launch --help": ([*PROGRAM, "launch", "--help"], BOUND_MS),
}


def once(command: list[str]) -> tuple[float, float]:
    """Run a command and return its wall and CPU milliseconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1000, cpu * 1000


def measure(rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return (wall, CPU) of every case in every round; the first round, which fills the disk cache, is dropped."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for _ in range(rounds + 1):
        for name, (command, _) in CASES.items():
            times[name].append(once(command))
    return {name: values[1:] for name, values in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    times = measure(parser.parse_args().rounds)
    bare = statistics.median(wall for wall, _ in times["python -c pass"])
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| command | wall ms, median | best | worst | over bare Python | CPU ms, median | bound |")
    print("|---|---|---|---|---|---|---|")
    late = False
    for name, values in times.items():
        walls, cpus = [wall for wall, _ in values], [cpu for _, cpu in values]
        median, bound = statistics.median(walls), CASES[name][1]
        late |= bound is not None and median > bound
        print(
            f"| `{name}` | {median:.0f} | {min(walls):.0f} | {max(walls):.0f} | +{median - bare:.0f} "
            f"| {statistics.median(cpus):.0f} | {bound or '-'} |"
        )
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
