"""Exact and near-duplicates and n-gram decontamination on generated rows, against public tools: seconds, peak memory, agreement.

    python -m benchmarks.data_engine [--rows 1000000] [--venv FOLDER]
    python -m benchmarks.data_engine --memory 100000

Each way runs in a process of its own, whose peak resident memory is read when it ends; the rows are read from one parquet
file, and reading them is part of the time for every tool alike. Imports and first calls are not: each way first runs on 300
rows. On a machine that others use, CPU seconds are the figure to compare; every way has one thread. ``--venv`` names a virtual environment with the peers
(pip install datasketch rensa text-dedup datatrove semhash pyarrow); one that is missing there is said to be missing.
What every way found is written as row numbers, and compared: with the planted copies, and with ours.
"""

# ruff: noqa: PLC0415 - the ways run in different environments, each imports its own
from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

THRESHOLD = 0.8
NGRAM = 3
GRAM_WORDS = 13


def make(rows: int, folder: Path) -> None:
    """Write rows of 15 to 45 words, 10 % exact and 5 % near copies (one word changed), and 5,000 evaluation rows, 1,000 of
    them with 20 words planted into a training row.
    """
    import pyarrow as pa
    from pyarrow import parquet

    draw = random.Random(7)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) for _ in range(50_000)]
    texts: list[str] = []
    planted: dict[str, list[int]] = {"exact": [], "near": [], "leak": []}
    for place in range(rows):
        kind = draw.random()
        if place > 100 and kind < 0.10:
            texts.append(texts[draw.randrange(place)])
            planted["exact"].append(place)
        elif place > 100 and kind < 0.15:
            old = texts[draw.randrange(place)].split()
            old[draw.choice((0, len(old) - 1))] = draw.choice(words)
            texts.append(" ".join(old))
            planted["near"].append(place)
        else:
            texts.append(" ".join(draw.choices(words, k=draw.randint(15, 45))))
    tests = [" ".join(draw.choices(words, k=draw.randint(30, 60))) for _ in range(5000)]
    for number in range(1000):
        place = draw.randrange(rows)
        texts[place] += " " + " ".join(tests[number].split()[5:25])
        planted["leak"].append(place)
    parquet.write_table(pa.table({"text": texts}), folder / "rows.parquet")
    (folder / "tests.json").write_text(json.dumps(tests))
    (folder / "planted.json").write_text(json.dumps(planted))


def read(folder: Path) -> list[str]:
    from pyarrow import parquet

    return parquet.read_table(folder / "rows.parquet")["text"].to_pylist()


def plain(text: str) -> str:
    return " ".join(text.lower().split())


def shingled(text: str) -> set[str]:
    words = text.lower().split()
    return {" ".join(words[i : i + NGRAM]) for i in range(max(1, len(words) - NGRAM + 1))}


def data_of(folder: Path):
    """The rows as our operators get them: mapped from an Arrow file."""
    from pyarrow import parquet

    from hpc_trex.data.operators.base import from_rows
    from hpc_trex.ftbench.rows import Row

    def rows():
        place = 0
        for batch in parquet.ParquetFile(folder / "rows.parquet").iter_batches(10_000):
            for text in batch.column(0).to_pylist():
                yield Row(str(place), text, "", "a")
                place += 1

    return from_rows(rows(), folder)


def context():
    from hpc_trex.data.operators import Context
    from hpc_trex.models import ModelRef

    return Context({}, ModelRef(name="none", path="/none"), 0, "plain", "", lambda _: None)


def ours(folder: Path, **settings) -> list[int]:
    from hpc_trex.data.operators.copies import dedup
    from hpc_trex.models.operators import Dedup

    return dedup(Dedup(columns=("prompt",), **settings), data_of(folder), context()).places.tolist()


def ours_near(folder: Path) -> list[int]:
    return ours(folder, method="minhash", threshold=THRESHOLD, ngram=NGRAM)


def ours_ngrams(folder: Path) -> list[int]:
    from hpc_trex.data.block import outside, read_block
    from hpc_trex.ftbench.ngrams import telling_ngrams

    tests = json.loads((folder / "tests.json").read_text())
    lines = [f"n13:{gram:016x}" for gram in telling_ngrams(tests)]
    (folder / "block.txt").write_text("\n".join(lines))
    return outside(data_of(folder), read_block([folder / "block.txt"])).places.tolist()


def set_exact(folder: Path) -> list[int]:
    """A set of SHA-256 digests of normalised texts, as most scripts do it (text-dedup's exact hash among them)."""
    import hashlib

    seen: set[bytes] = set()
    stays = []
    for place, text in enumerate(read(folder)):
        key = hashlib.sha256(plain(text).encode()).digest()
        if key not in seen:
            seen.add(key)
            stays.append(place)
    return stays


def datatrove_exact(folder: Path) -> list[int]:
    """The normalisation and hash of datatrove's exact dedup, on one machine without its shards."""
    from datatrove.utils.hashing import HashConfig, create_hash_func
    from datatrove.utils.text import TextNormConfig, simplify_text

    hashed, config = create_hash_func(HashConfig(precision=64, hash_fc="xxhash")), TextNormConfig()
    seen: set[int] = set()
    stays = []
    for place, text in enumerate(read(folder)):
        key = hashed(simplify_text(text, config).encode())
        if key not in seen:
            seen.add(key)
            stays.append(place)
    return stays


def _greedy(texts: list[str], places: list[int], candidates) -> list[int]:
    """Keep a row unless an earlier kept candidate has a Jaccard index of the threshold, exactly as ours confirms it."""
    stays, gone = [], set()
    for place in places:
        own = None
        for earlier in sorted(candidates(place)):
            if earlier >= place or earlier in gone:
                continue
            own = own or shingled(texts[place])
            other = shingled(texts[earlier])
            if len(own & other) >= THRESHOLD * len(own | other):
                gone.add(place)
                break
        if place not in gone:
            stays.append(place)
    return stays


def datasketch_near(folder: Path) -> list[int]:
    """MinHashLSH with our bands, 64 permutations, after the same exact dedup; candidates confirmed."""
    from datasketch import MinHash, MinHashLSH

    texts, places = read(folder), set_exact(folder)
    lsh = MinHashLSH(num_perm=64, params=BANDS)
    found = {}
    for place in places:
        one = MinHash(num_perm=64, seed=1)
        one.update_batch([part.encode() for part in shingled(texts[place])])
        found[place] = lsh.query(one)
        lsh.insert(place, one)
    return _greedy(texts, places, found.__getitem__)


def rensa_near(folder: Path) -> list[int]:
    """Rensa's RMinHash and its LSH with our bands, after the same exact dedup; candidates confirmed."""
    from rensa import RMinHash, RMinHashLSH

    texts, places = read(folder), set_exact(folder)
    bands, rows = BANDS
    lsh = RMinHashLSH(threshold=THRESHOLD, num_perm=bands * rows, num_bands=bands)
    found = {}
    for place in places:
        one = RMinHash(num_perm=bands * rows, seed=1)
        one.update(list(shingled(texts[place])))
        found[place] = lsh.query(one)
        lsh.insert(place, one)
    return _greedy(texts, places, found.__getitem__)


def set_ngrams(folder: Path) -> list[int]:
    """A Python set of joined 13-grams, the way of most evaluation harnesses."""
    tests = json.loads((folder / "tests.json").read_text())
    blocked = set()
    for text in tests:
        words = text.lower().split()
        blocked.update(" ".join(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1))
    stays = []
    for place, text in enumerate(read(folder)):
        words = text.lower().split()
        if not any(" ".join(words[i : i + GRAM_WORDS]) in blocked for i in range(len(words) - GRAM_WORDS + 1)):
            stays.append(place)
    return stays


def datatrove_ngrams(folder: Path) -> list[int]:
    """Datatrove's way: its word tokenizer, its hash, sets of 12 + 1 words; index and filter without its shards."""
    from datatrove.utils.hashing import HashConfig, create_hash_func
    from datatrove.utils.text import TextNormConfig, ngrams, simplify_text

    hashed, config = create_hash_func(HashConfig(precision=64, hash_fc="xxhash")), TextNormConfig()

    def grams(text):
        words = simplify_text(text, config).split()
        return (hashed(" ".join(one).encode()) for one in ngrams(words, GRAM_WORDS))

    blocked = {one for text in json.loads((folder / "tests.json").read_text()) for one in grams(text)}
    return [place for place, text in enumerate(read(folder)) if not any(one in blocked for one in grams(text))]


BANDS = (12, 5)
"""Of our operator at the threshold 0.8 (checked in main)."""
WAYS = {
    "exact": [("hpc-trex", ours), ("Python set, SHA-256", set_exact), ("datatrove's hash", datatrove_exact)],
    "near": [("hpc-trex", ours_near), ("datasketch", datasketch_near), ("rensa", rensa_near)],
    "ngrams": [("hpc-trex", ours_ngrams), ("Python set", set_ngrams), ("datatrove's hash", datatrove_ngrams)],
}


def run_one(job: str, name: str, folder: Path) -> None:
    way = dict(WAYS[job])[name]
    way(folder / "few")  # imports and first calls
    began, cpu = time.monotonic(), time.process_time()
    stays = way(folder)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (folder / "answer.json").write_text(json.dumps({"seconds": seconds, "cpu": cpu, "mb": peak, "stays": stays}))


def memory(rows: int, folder: Path) -> None:
    """Run load, two filters, exact dedup, decontamination and writing over rows of 120 words; print what memory they took.

    Anonymous memory only: pages of mapped files are the system's to give back.
    """
    from hpc_trex.data.by_hand import read_recipe, run_alone

    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(5000)]
    source, recipe = folder / "rows.jsonl", folder / "recipe.json"
    with source.open("w") as handle:
        for _ in range(rows):
            row = {name: " ".join(draw.choices(words, k=60)) for name in ("prompt", "answer")}
            handle.write(json.dumps(row) + "\n")
    steps = [{"op": "load", "source": "a"}, {"op": "filter_length"}, {"op": "filter_quality"}, {"op": "dedup"}]
    recipe.write_text(json.dumps({"sources": {"a": {"path": str(source)}}, "steps": steps}))
    os.environ["HPC_TREX_CACHE"] = str(folder / "cache")
    peak, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            status = Path("/proc/self/status").read_text()
            peak[0] = max(peak[0], int(status.split("RssAnon:")[1].split()[0]))

    looking = threading.Thread(target=watch)
    looking.start()
    try:
        run_alone(read_recipe(recipe, None), base=None, sample=None, out=None, watch=None, beat=lambda _: None)
    finally:
        stop.set()
        looking.join()
    print(f"| {rows} | {source.stat().st_size / 1e6:.0f} | {peak[0] / 1024:.0f} |", flush=True)


def measured(job: str, name: str, folder: Path, python: str) -> dict | None:
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [python, "-m", "benchmarks.data_engine", "--one", job, name, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"| {job} | {name} | not run: {done.stderr.strip().splitlines()[-1][:120]} | | | | |", flush=True)
        return None
    return json.loads(answer.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--venv", help="virtual environment with the peers; default: this one")
    parser.add_argument("--jobs", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument(
        "--without", nargs="*", default=[], help="ways to leave out, e.g. datasketch, which takes longest"
    )
    parser.add_argument("--one", nargs=3, metavar=("JOB", "NAME", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=int, metavar="ROWS", help="only: memory of a recipe over so many rows")
    given = parser.parse_args()
    if given.memory:
        with tempfile.TemporaryDirectory() as name:
            memory(given.memory, Path(name))
        return
    if given.one:
        run_one(given.one[0], given.one[1], Path(given.one[2]))
        return
    from hpc_trex.data.minhash import bands_for

    assert tuple(bands_for(THRESHOLD)) == BANDS, bands_for(THRESHOLD)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "few").mkdir()
        make(300, folder / "few")
        make(given.rows, folder)
        planted = json.loads((folder / "planted.json").read_text())
        print(f"{given.rows} rows; planted: {', '.join(f'{len(v)} {k}' for k, v in planted.items())}\n")
        print(
            "| job | way | CPU seconds | wall seconds | peak MB | rows dropped | differs from ours |\n|---|---|---|---|---|---|---|",
            flush=True,
        )
        for job in given.jobs:
            mine: set[int] = set()
            for way, _ in WAYS[job]:
                if way in given.without:
                    continue
                python = sys.executable if way == "hpc-trex" or not given.venv else str(Path(given.venv) / "bin/python")
                answer = measured(job, way, folder, python)
                if answer is None:
                    continue
                stays = set(answer["stays"])
                mine = mine or stays
                print(
                    f"| {job} | {way} | {answer['cpu']:.1f} | {answer['seconds']:.1f} | {answer['mb']:.0f} | {given.rows - len(stays)} | {len(stays ^ mine)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
