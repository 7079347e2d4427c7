"""``python -m toystore``: the `toystore` command."""

from toystore.cli import main

if __name__ == "__main__":
    main()
