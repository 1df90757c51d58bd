"""Run the command line as `python -m streamkind`."""

from streamkind.cli import main

if __name__ == "__main__":
    main()
