"""What ``strike`` and ``restore`` share: say no where that is certain, then do it here or leave it to the controller."""

from __future__ import annotations

from typing import Literal

from hpc_trex.cli.deciding import LONGEST_NOTE
from hpc_trex.cli.options import emit, number_of, pick


def judge(
    action: Literal["strike", "restore"], node: str, search: str | None, *, last: bool, note: str, dry_run: bool
) -> None:
    """Strike or restore a round. Raises NotFound for an unknown one, UsageProblem where it cannot be done."""
    from hpc_trex.cli.asking import do_or_leave
    from hpc_trex.controller.requests import Request
    from hpc_trex.controller.review import why_not_restore, why_not_strike
    from hpc_trex.errors import UsageProblem
    from hpc_trex.files import user_name
    from hpc_trex.tree.store import Store

    number, text = number_of(node), " ".join(note.split())
    if not text:
        raise UsageProblem("--note is empty", hint=f'say why: hpc-trex {action} {number} --note "..."')
    if len(text) > LONGEST_NOTE:
        raise UsageProblem(f"the note has {len(text)} characters", hint=f"at most {LONGEST_NOTE}")
    paths = pick(search, last)
    with Store.read(paths) as reader:
        why, hint = (why_not_strike if action == "strike" else why_not_restore)(reader, number)
        score = reader.node(number).score
    if why:
        raise UsageProblem(why, hint=hint)
    what = f"{action} node {number} of {paths.root.name}"
    if dry_run:
        emit(f"would {what}" + (f" (score {score:.3f})" if score is not None else ""))
        return
    request = Request(action=action, node=number, note=text, user=user_name())
    emit("\n".join(do_or_leave(paths, request, what, f"see it: hpc-trex show {number} {paths.root.name}")))
