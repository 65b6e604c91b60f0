"""How ``cancel``, ``pause`` and ``retry`` reach a search: at once where no controller is at work, else by a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpc_trex.errors import LeaseHeld

if TYPE_CHECKING:
    from hpc_trex.controller.requests import Request
    from hpc_trex.layout import SearchPaths
    from hpc_trex.tree.store import Store


def do_or_leave(paths: SearchPaths, request: Request, what: str, done: str) -> list[str]:
    """Carry out a request here when no controller is at work; else leave it one, which it obeys at its next tick.

    ``what``: the request in words, e.g. ``cancel node 3``. ``done``: what to say when it was carried out here.
    """
    from hpc_trex.controller import Controller
    from hpc_trex.controller.requests import place

    try:
        controller = Controller(paths)
    except LeaseHeld as held:
        place(paths, request)
        return [f"asked the controller to {what}; it does so at its next tick ({held.message})"]
    try:
        lines = controller.ask(request)
        return [*lines, *_end_controller_jobs(paths, request, controller), done]
    finally:
        controller.close()


def _end_controller_jobs(paths: SearchPaths, request: Request, controller: object) -> list[str]:
    """End the search's controller jobs that wait in the queue: they would set it going again."""
    from hpc_trex.controller import Controller
    from hpc_trex.slurm.controller_job import cancel_controllers

    assert isinstance(controller, Controller)
    whole = request.action == "pause" or (request.action == "cancel" and request.node is None)
    if not whole:
        return []
    ended = cancel_controllers(paths, controller.store.config)
    return [f"controller job {', '.join(ended)} cancelled"] if ended else []


def live_jobs(reader: Store, nodes: list[int] | None = None) -> list[str]:
    """Return the jobs of these rounds (none named: of the search) that live, one line each."""
    return [
        f"  node {job.node} trial {job.trial}: job {job.job_id or '-'} {job.state.value}"
        for job in reader.live_attempts()
        if nodes is None or job.node in nodes
    ]
