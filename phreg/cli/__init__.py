"""The command line. Heavy imports wait until a command needs them, so that `--help` is quick."""

from phreg.cli.main import main

__all__ = ["main"]
