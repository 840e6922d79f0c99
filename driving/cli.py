"""``liquid-lane`` and ``python -m driving``: the commands by name, and one line for each of their errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import cv2
import typer

from driving.commands.drives import import_, record_
from driving.commands.exporting import export_
from driving.commands.looking import attend_, circuit, demo, insight_
from driving.commands.testing import drive_, open_loop
from driving.commands.training import train_
from sim.errors import BadInputError, WorkerLostError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Lane keeping with a 19-neuron liquid circuit: record, train, drive, see where it looks.",
)
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "import": import_,
    "record": record_,
    "train": train_,
    "test": open_loop,
    "drive": drive_,
    "attend": attend_,
    "insight": insight_,
    "circuit": circuit,
    "export": export_,
}
"""Every command by name, in the order of the help."""
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)

INTERRUPTED = 130
"""Exit status after Ctrl-C."""

# What typer raises for a wrong option, by way of the names it exports: older releases take the classes from
# the package click, newer ones bring their own.
_UsageError: Any = typer.BadParameter.__base__


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0: done, 2: bad input, with one line on standard error."""
    cv2.setNumThreads(1)  # torch's threads do the work; more would only contend
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(args=_spread(arguments or ["--help"]), standalone_mode=False)
        if code == INTERRUPTED:  # what newer releases of typer make of an interrupt
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except _UsageError as error:
        message = error.format_message()
    except BadInputError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or 'file'}: {error.strerror or error}"
    except WorkerLostError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


MANY_VALUED = ("--policies", "--data", "--validate", "--env-option", "--vary")


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
