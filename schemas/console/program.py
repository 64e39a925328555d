"""A command-line program of click commands: loaded when used, with one treatment of everything that ends a command."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from schemas.console.output import say
from schemas.console.streams import STDOUT, give_up, lost_output, write_message
from schemas.errors import ExplainedError
from schemas.exit_codes import ExitCode

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is defined, and its line in the list of commands, so that listing it loads nothing."""

    module: str
    name: str
    """Name of the ``click.Command`` in the module."""
    short_help: str


class LazyGroup(click.Group):
    """A group whose commands are imported only when they are used: help and completion of names answer at once.

    Source: click's documentation, "Complex Applications", "Defining the Lazy Group"; here the list of commands also
    holds their short help, so that showing the list imports none of them.
    """

    def __init__(self, *args: Any, lazy: dict[str, LazyCommand], **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        where = self.lazy[cmd_name]
        command = getattr(import_module(where.module), where.name)
        assert isinstance(command, click.Command)  # noqa: S101 - a test loads every command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        eager = ((name, self.commands[name].get_short_help_str(80)) for name in super().list_commands(ctx))
        rows = [(name, where.short_help) for name, where in self.lazy.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*rows, *eager])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        helps = {name: self.commands[name].get_short_help_str() for name in super().list_commands(ctx)}
        helps |= {name: where.short_help for name, where in self.lazy.items()}
        items = [CompletionItem(name, help=text) for name, text in helps.items() if name.startswith(incomplete)]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]


def examples(*lines: str, more: str = "") -> str:
    """Return the epilog of a command's help: examples as they are, then ``more``."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines))) + (f"\n\n{more}" if more else "")


def run(commands: click.Group, program: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Expected failures become one message on stderr: ``ExplainedError``, invalid usage, an interruption, and output that
    cannot be written (a full disk; silent if the reader of a pipe has left). Defects are raised.
    """
    try:
        code = commands.main(arguments, prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except ExplainedError as error:
        say(f"error: {error}")
        return error.exit_code
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        write_message(text.getvalue().rstrip("\n"))
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        return ExitCode.INTERRUPTED
    except OSError as error:
        reason = lost_output(error)
        if reason is None:
            raise
        give_up(STDOUT)
        if reason:
            say(f"error: the output could not be written: {reason}")
        return ExitCode.FAILED
    return code if isinstance(code, int) else ExitCode.DONE
