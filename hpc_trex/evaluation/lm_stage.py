"""``python -m hpc_trex.evaluation.lm_stage``: the child process in which ``hpc-trex stage`` asks lm-eval about a task.

A request as JSON on standard input; the answer as JSON in the file that it names. lm-eval and ``datasets`` stay out of
the process that has asked.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from hpc_trex.evaluation.lm_describe import Unusable, describe, hub_data
from hpc_trex.evaluation.lm_render import render


def main() -> None:
    """Carry out one request: ``describe`` a task, or ``render`` one that was described."""
    request = json.load(sys.stdin)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        if request["step"] == "describe":
            answer = describe(request["name"], request["include"], request["metric"])
            answer["data"] = sorted({found for config in answer["tasks"] if (found := hub_data(config))})
        else:
            answer = render(request["described"], request["folders"], Path(request["out"]))
    except Unusable as problem:
        answer = {"problem": problem.message, "hint": problem.hint}
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
