"""`python -m edgetran_workers`: the same as `edgetran-worker`."""

from edgetran_workers.cli import main

if __name__ == "__main__":
    main()
