"""What follows from a preparation that has questions for the language model: they are asked, and it is started again.

Everything follows from files of the round: the job's questions, the recorded calls, and ``answers/N.json``, which is
written once all of them are answered. A controller that dies in between asks nothing twice.
"""

from __future__ import annotations

from hpc_trex.agents.llm.errors import LlmBadAnswer
from hpc_trex.agents.protocol import NothingToPropose, StillThinking
from hpc_trex.controller.context import Work
from hpc_trex.controller.repairs import Then
from hpc_trex.errors import BudgetReached, TrexError
from hpc_trex.files import write_record
from hpc_trex.models import AttemptView


def answered(work: Work, node: int, last: AttemptView) -> tuple[Then, str]:
    """Tell what follows from the attempt ``last`` of a round's preparation, which ended with ASKS; of the end, why."""
    target = work.paths.answers(node) / f"{last.attempt}.json"
    if target.exists():
        return Then.AGAIN, ""
    if work.mending is not None:  # the model could not be asked in this pass
        return Then.WAIT, ""
    try:
        rows = work.researcher.ask_rows(node, last.attempt, work.attempt_paths(last).questions)
    except StillThinking:
        return Then.WAIT, ""
    except NothingToPropose:
        return Then.OVER, f"{last.message}, and recipes of this search may ask none (--llm-rows)"
    except BudgetReached as error:
        return Then.OVER, error.message
    except LlmBadAnswer as error:
        return Then.OVER, error.message
    except TrexError as error:
        work.mending, work.wanted = error, "answer about rows"
        return Then.WAIT, ""
    target.parent.mkdir(parents=True, exist_ok=True)
    write_record(target, rows)
    good = sum(one.usable for one in rows.answers)
    known = f", {rows.remembered} of them known from before" if rows.remembered else ""
    work.say(f"node {node} data: the model has answered for {good} of {len(rows.answers)} rows{known}")
    return Then.AGAIN, ""
