"""`python -m edgetran.cli` is the same as `edgetran`."""

from edgetran.cli import main

if __name__ == "__main__":
    main()
