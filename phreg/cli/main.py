"""`phreg COMMAND ...`.

Exit codes: 0 done; 1 it ran, but something failed or is not as it should be; 2 bad usage, config or
input, nothing was started; 130 interrupted.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata

from phreg.cli import (
    cache,
    demo,
    doctor,
    export,
    inspect,
    pack,
    plan,
    registry,
    run,
    serve,
    submit,
    table,
    world,
)
from phreg.cli.interrupts import INTERRUPTED, take_signals
from phreg.cli.tables import warn
from phreg.errors import PhregError

DONE, FAILED, USAGE = 0, 1, 2
Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    take_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever a name holds, printing it ends nothing
            stream.reconfigure(errors="backslashreplace")
    command: Command = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        warn("interrupted; what is committed is kept, the same command goes on from there")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except PhregError as error:
        warn(f"error: {error}")
        return FAILED if error.under_way else USAGE


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="phreg",
        description="Clean the dense features of a Vision Transformer with self-distilled registers.",
        epilog=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"phreg {metadata.version('phreg')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (
        run,
        submit,
        plan,
        table,
        demo,
        pack,
        inspect,
        cache,
        registry,
        serve,
        export,
        world,
        doctor,
    ):
        module.add(commands)
    return parser
