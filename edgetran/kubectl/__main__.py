"""`python -m edgetran.kubectl` is the same as `kubectl-edgetran`."""

from edgetran.kubectl import main

if __name__ == "__main__":
    main()
