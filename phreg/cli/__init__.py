"""The command line. What only one command needs is imported there."""

from phreg.cli.main import main

__all__ = ["main"]
