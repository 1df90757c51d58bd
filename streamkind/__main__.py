"""Run the command line as `python -m streamkind`."""

from streamkind.cli import main

main()
