"""What the jobs of the back end's tests do: their spec is ``{"do": [VERB, ARGUMENT]}``."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def act(spec_path: str) -> None:
    """Write the environment beside the spec, one file a task, then do what the spec says."""
    spec = Path(spec_path)
    rank = os.environ["SLURM_PROCID"]
    (spec.parent / f"env-{rank}.json").write_text(json.dumps(dict(os.environ)))
    # One write each: tasks of two nodes share the file, and print() of several parts writes them one by one when unbuffered.
    os.write(sys.stdout.fileno(), f"out {rank}\n".encode())
    os.write(sys.stderr.fileno(), f"err {rank}\n".encode())
    verb, argument = json.loads(spec.read_text())["do"]
    if verb == "sleep":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(argument)
    elif verb == "until":
        while not Path(argument).exists():
            time.sleep(0.1)
    elif verb == "exit":
        os._exit(argument)
    elif verb == "await":
        signal.signal(argument, lambda number, frame: os._exit(40))
        (spec.parent / "ready").touch()
        time.sleep(600)
    elif verb == "eat":
        held = bytearray(argument * 2**20)
        time.sleep(20)
        print(len(held))
    elif verb == "kill":
        os.kill(os.getpid(), argument)
