"""`python -m reelspace` is the `reelspace` command."""

from reelspace.cli.app import main

if __name__ == "__main__":
    main()
