"""The API server: requests, lists and watches, and what comes from there as plain views."""
