"""The operator: resources become Jobs and ConfigMaps, and their status tells how they go."""
