"""``hpc-trex completion``: the completion script of a shell."""

from __future__ import annotations

import click

VARIABLE = "_HPC_TREX_COMPLETE"


@click.command("completion", epilog='Example: eval "$(hpc-trex completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL; it also completes the names of searches."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(ctx.find_root().command, {}, "hpc-trex", VARIABLE).source())
