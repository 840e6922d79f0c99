"""``liquid-lane`` and ``python -m driving``: the commands by name, and one line for each of their errors."""

from __future__ import annotations

import importlib
import re
import sys
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from sim.errors import MAX_MESSAGE, BadInputError, WorkerLostError, one_line, shortened

COMMANDS = {
    "demo": ("looking", "demo", "Both shipped policies on the same unseen roads, clean and with noise."),
    "import": ("drives", "import_", "Make a drive of a recording. What cannot be used is left out and counted."),
    "show": ("drives", "show_", "Look at a drive: pictures with the horizon, course and spread of the steering"),
    "record": ("drives", "record_", "Record the privileged expert, one short episode a seed."),
    "train": ("training", "train_", "Train a policy on drives, or online in a world."),
    "test": ("testing", "open_loop", "Open-loop error on recorded drives."),
    "drive": ("testing", "drive_", "Drive in closed loop, many episodes at once."),
    "stress": ("stressing", "stress", "Drive policies on the same roads under noises; every episode is a row."),
    "reproduce": ("stressing", "reproduce", "The published experiment on noise: crashes, attention maps and neurons"),
    "benchmark": (
        "benchmarking",
        "benchmark",
        "A fixed protocol for any driver: the same roads, weathers and disturbances",
    ),
    "attend": ("looking", "attend_", "Where policies look, side by side, on an environment or a recorded drive."),
    "insight": ("looking", "insight_", "What the neurons do while driving."),
    "circuit": ("looking", "circuit", "Draw the circuit of a policy."),
    "serve": ("serving", "serve", "Drive, disturb and look inside in a browser."),
    "export": ("exporting", "export_", "Write a policy for other programs."),
}
"""Module in ``driving.commands``, function and one line for each command, in the order of the help.

A command's module is imported when it is used, so the help comes at once: PyTorch alone takes two seconds.
"""
OPENCV_IS_BROKEN = (
    "OpenCV cannot be imported ({}); two of its packages may lie over each other: run pip uninstall -y opencv-python "
    "opencv-contrib-python && pip install --force-reinstall --no-deps opencv-python-headless"
)
INTERRUPTED = 130
"""Exit status after Ctrl-C."""

# What typer raises for a wrong option, by way of the names it exports: older releases take the classes from
# the package click, newer ones bring their own.
_UsageError: Any = typer.BadParameter.__base__
_SETTINGS: dict[str, Any] = {"pretty_exceptions_enable": False, "rich_markup_mode": "rich"}


class _Commands(TyperGroup):
    """Commands that are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command's name and line, enough for the help of the whole."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][2]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, to be run or to show its own help."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name else command, rest


def load_command(name: str) -> Any:
    """The command with its options."""
    module, function, _ = COMMANDS[name]
    app = typer.Typer(add_completion=False, **_SETTINGS)
    app.command(name)(getattr(importlib.import_module(f"driving.commands.{module}"), function))
    return get_command(app)


app = typer.Typer(cls=_Commands, no_args_is_help=True, **_SETTINGS)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"liquid-lane {metadata.version('liquid-lane')}")
        raise typer.Exit


@app.callback()
def liquid_lane(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and end.")
    ] = False,
) -> None:
    """Lane keeping with a 19-neuron liquid circuit: record, train, drive, see where it looks."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0: done, 2: bad input, with one line on standard error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(args=_spread(arguments or ["--help"]), prog_name="liquid-lane", standalone_mode=False)
        if code == INTERRUPTED:  # what newer releases of typer make of an interrupt
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except _UsageError as error:
        message = shortened(error.format_message())
    except BadInputError as error:
        message = str(error)
    except OSError as error:
        message = shortened(f"{error.filename or 'file'}: {error.strerror or error}")
    except ImportError as error:
        if not ((error.name or "").partition(".")[0] == "cv2" or re.match(r"lib[\w.+-]+\.so", str(error))):
            raise
        message = OPENCV_IS_BROKEN.format(one_line(error))
    except WorkerLostError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"error: {one_line(message, MAX_MESSAGE)}", file=sys.stderr)
    return 2


MANY_VALUED = ("--policies", "--noises", "--data", "--validate", "--env-option", "--vary", "--table")


def _spread(arguments: list[str]) -> list[str]:
    """``--policies P Q`` -> ``--policies P --policies Q``, for the options that take many values."""
    spread: list[str] = []
    many: str | None = None
    for argument in arguments:
        if argument.startswith("-"):
            many = argument if argument in MANY_VALUED else None
        elif many is not None and spread[-1] != many:
            spread.append(many)
        spread.append(argument)
    return spread


if __name__ == "__main__":
    sys.exit(main())
