"""``python -m bamac``, as torchrun starts it."""

from bamac.cli.main import main

if __name__ == "__main__":
    main()
