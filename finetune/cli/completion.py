"""``legend completion``: the script that completes commands and options in a shell."""

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    r"""Print the completion script of SHELL.

    \b
    legend completion bash > ~/.local/share/bash-completion/completions/legend
    legend completion zsh > ~/.zfunc/_legend   (with ~/.zfunc in fpath)
    legend completion fish > ~/.config/fish/completions/legend.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click completes no {shell}")
    script = kind(ctx.find_root().command, {}, "legend", "_LEGEND_COMPLETE")
    # The script itself; click's own source() would start bash to ask its version.
    click.echo(script.source_template % script.source_vars())
