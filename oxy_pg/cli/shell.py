"""The commands ``help`` and ``completion``."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

from oxy_pg.cli.display.terminal import echo, note
from oxy_pg.cli.group import near_ones
from oxy_pg.errors import ConfigurationError
from oxy_pg.system import files

_SHELLS = ("bash", "zsh", "fish")
# Where each shell looks by itself, below the user's home; of zsh, where many have told it to.
_PLACES = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/oxy-pg"),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/oxy-pg.fish"),
    "zsh": ("ZDOTDIR", "", ".zfunc/_oxy-pg"),
}
_ZSH = "fpath+=({directory}); autoload -Uz compinit && compinit"


@click.command("help", add_help_option=False)
@click.argument("command", required=False)
@click.pass_context
def help_(context: click.Context, command: str | None) -> None:
    """Show the help of a command."""
    above = context.parent
    assert above is not None
    group = above.command
    assert isinstance(group, click.Group)
    if command is None:
        echo(above.get_help())
        return
    found = group.get_command(above, command)
    if found is None:
        near = near_ones(command, group.commands)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise click.UsageError(f"No such command {command!r}.{hint}")
    with click.Context(found, info_name=command, parent=above) as inner:
        echo(found.get_help(inner))


@click.command()
@click.argument("action", type=click.Choice(["install", "show"]))
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.pass_context
def completion(context: click.Context, action: str, shell: str | None) -> None:
    """
    Complete commands and options with the Tab key: install it, or show the script.

    For the shell that the variable SHELL names, or for another one.
    """
    chosen = shell or os.path.basename(os.environ.get("SHELL", ""))
    if chosen not in _SHELLS:
        raise click.UsageError(
            "SHELL names none of these shells: name one, as in `oxy-pg completion install bash`."
        )
    script = _script(chosen, context.find_root().command)
    if action == "show":
        echo(script)
        return
    path = _place(chosen)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        files.write_text(path, script + "\n", mode=0o644, sync=False)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error
    note(f"Written to {path}. Open a new shell to use it.")
    if chosen == "zsh":
        note("If it completes nothing, add this line to your .zshrc:")
        echo(_ZSH.format(directory=os.path.dirname(path)))


def _script(shell: str, group: click.Command) -> str:
    found = get_completion_class(shell)
    assert found is not None
    return found(group, {}, "oxy-pg", "_OXY_PG_COMPLETE").source()


def _place(shell: str) -> str:
    variable, otherwise, name = _PLACES[shell]
    base = os.environ.get(variable) or os.path.join(os.path.expanduser("~"), otherwise)
    return os.path.join(base, name)


COMMANDS = (completion, help_)
