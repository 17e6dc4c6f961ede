"""The command line: `edgetran`."""
