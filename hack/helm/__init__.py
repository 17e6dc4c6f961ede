"""The chart's values and everything in charts/edgetran that is generated."""
