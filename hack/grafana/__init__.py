"""Grafana dashboards over the metrics of the operator and of the workers."""
