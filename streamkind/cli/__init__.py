"""The command line: all commands and all printing."""

from streamkind.cli.app import main

__all__ = ["main"]
