"""`python -m kurve` runs the command `kurve`."""

from kurve.cli import main

if __name__ == "__main__":
    main()
