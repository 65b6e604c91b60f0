"""What ``approve`` and ``reject`` share: find the question, then answer it here or leave the answer to the controller."""

from __future__ import annotations

from typing import Literal

from hpc_trex.cli.options import emit, number_of, pick

#: Longest note: it is told to a language model whole.
LONGEST_NOTE = 800


def answer(
    action: Literal["approve", "reject"], node: str, search: str | None, *, last: bool, note: str, dry_run: bool
) -> None:
    """Answer what waits at a round. Raises NotFound where nothing does, UsageProblem for a note that is too long."""
    from hpc_trex.cli.asking import do_or_leave
    from hpc_trex.controller.gates import waiting_gate
    from hpc_trex.controller.requests import Request
    from hpc_trex.errors import UsageProblem
    from hpc_trex.files import user_name
    from hpc_trex.report.gates import waiting_text
    from hpc_trex.tree.gates import open_gate
    from hpc_trex.tree.store import Store

    number, text = number_of(node), " ".join(note.split())
    if len(text) > LONGEST_NOTE:
        raise UsageProblem(f"the note has {len(text)} characters", hint=f"at most {LONGEST_NOTE}")
    paths = pick(search, last)
    with Store.read(paths) as reader:
        view = waiting_gate(open_gate(reader), number)
    what = f"{action} {view.gate} of node {number}"
    if dry_run:
        emit(f"would {what}\n{waiting_text(view)}")
        return
    request = Request(action=action, node=number, gate=view.gate, number=view.number, note=text, user=user_name())
    go_on = f"go on with: hpc-trex resume {paths.root.name}"
    emit("\n".join(do_or_leave(paths, request, what, go_on)))
