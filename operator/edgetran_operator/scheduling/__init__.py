"""Which ProfilingJob measures on which node."""
