"""``hpc-trex status``: state, scores and cost of one search, and why its jobs wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpc_trex.cli.options import emit, emit_json, look, pick, reading

if TYPE_CHECKING:
    from hpc_trex.layout import SearchPaths
    from hpc_trex.models import ControllerChain, ServerView


@click.command("status", epilog="Example: hpc-trex status listops-1 --json")
@reading
def command(search: str | None, last: bool, json: bool) -> None:
    """Show state, scores and cost of SEARCH (a name or a path; default: the newest), and why its jobs wait."""
    from hpc_trex.cli.json_views import status_json
    from hpc_trex.files import read_record
    from hpc_trex.models import ControllerChain
    from hpc_trex.report.gates import waits_words
    from hpc_trex.report.tables import status_text
    from hpc_trex.slurm.scheduler import TAKES_NO_JOBS
    from hpc_trex.slurm.waiting import why_waiting
    from hpc_trex.tree.servers import last_server
    from hpc_trex.tree.status import last_note
    from hpc_trex.tree.store import Store

    paths = pick(search, last)
    with Store.read(paths) as reader:
        server = last_server(reader)
        status, profile, refused = reader.status(), reader.config.profile, last_note(reader, TAKES_NO_JOBS)
    waiting = why_waiting(profile, status.running, refused=refused)
    chain = read_record(paths.controller_chain, ControllerChain)
    if json:
        more = {
            "controller": chain.model_dump(mode="json") if chain else None,
            "server": server.model_dump(mode="json") if server else None,
        }
        emit_json(status_json(status) | more | {"waiting": [reason._asdict() for reason in waiting]})
        return
    lines = [f"waits for you: {waits_words(status.waits_for)}"] if status.waits_for else []
    lines += [f"waits     {reason}" for reason in waiting]
    lines += controller_lines(chain) if chain else []
    lines += server_lines(paths, server) if server else []
    emit("\n".join([status_text(status, look()), *lines]))


def server_lines(paths: SearchPaths, server: ServerView) -> list[str]:
    """Return what is known of the job that serves the language model (``--llm-serve``), in one line."""
    from hpc_trex.files import read_record
    from hpc_trex.layout import server_address
    from hpc_trex.models import ServerAddress

    if server.state == "ended":
        words = f"over after {server.seconds / 60:.1f} min" if server.seconds else "over"
        why = server.message.partition("\n")[0]
        return [f"server    job {server.job_id or server.token}, {words}" + (f": {why}" if why else "")]
    if server.state == "intent":
        return [f"server    {server.token} is not submitted yet"]
    job = paths.server_job(server.number)
    address = read_record(server_address(job), ServerAddress)
    place = f"answers at {address.host}:{address.port}" if address else "starts"
    return [f"server    job {server.job_id} {place if job.started.exists() else 'waits'}"]


def controller_lines(chain: ControllerChain) -> list[str]:
    """Return what is known of the controller's own jobs (``--as-job``); nothing of a chain that is over."""
    last = chain.runs[-1] if chain.runs else None
    words = []
    if last is not None and not last.ended:
        words.append(f"job {last.job_id}" + (f" on {last.host}" if last.host else ""))
    if chain.next_job:
        words.append(f"job {chain.next_job} waits in the queue")
    lines = [f"controller  {', then '.join(words)}"] if words else []
    return lines + ([f"controller  {chain.message}"] if chain.message else [])
