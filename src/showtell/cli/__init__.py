"""The command line: one thin module per command, loaded only when that command runs."""

import os
import re
import sys
from importlib import import_module

import click

from showtell import __version__
from showtell.errors import ShowtellError

# Command -> (module under showtell.cli, one line of help). The help stands here so that listing loads no command.
COMMANDS = {
    "caption": "Describe pictures: files, folders, addresses or standard input.",
    "data": "Load, look at, check, split or generate data sets.",
    "features": "Fill the feature store without training.",
    "train": "Train a captioner.",
    "average": "Average the weights of epochs or runs.",
    "plot": "Draw the curves of runs.",
    "evaluate": "Caption a split and score the captions.",
    "score": "Score captions in files as the papers do.",
    "compare": "Tell which of several runs is best, and whether by chance.",
    "export": "Turn a run into a bundle.",
    "serve": "Answer with captions over HTTP, with a page.",
    "recipes": "List recipes, or show one.",
    "info": "Tell versions, paths and devices.",
}

_NO_MEMORY = re.compile("can't allocate memory|out of memory", re.IGNORECASE)  # as torch says it, of any device
_ASKED = re.compile(r"(?:tried to|Tried to|Unable to) allocate ([\d.]+ \w+)")
_LONGEST = 500  # characters of an error that is none of ours


class LazyGroup(click.Group):
    """Knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"showtell.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="showtell")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def showtell(debug: bool) -> None:
    """Show a picture, tell what is in it."""


def main() -> None:
    """Run the command line: results on stdout, the rest on stderr; exit 0 all done, 1 some inputs failed, 2 wrong use.

    No traceback reaches a user unless `--debug` is given.
    """
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        sys.exit(showtell.main(arguments, prog_name="showtell", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("showtell: stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`showtell caption DIR | head`); flushing at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ShowtellError as error:
        if debug:
            raise
        click.echo(f"showtell: {error}", err=True)
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        click.echo(f"showtell: {_unexpected(error)}; `--debug` shows where", err=True)
        sys.exit(1)


def _unexpected(error: Exception) -> str:
    """What to say, in one line, of an error that is none of ours."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        asked = f" ({found[1]} asked for)" if (found := _ASKED.search(text)) else ""
        return (
            f"not enough memory{asked}: take fewer pictures at a time (--batch, or "
            "in training training.batch or training.parts), smaller ones, or a smaller model"
        )
    return f"unexpected {type(error).__name__}: {text[:_LONGEST]}"
