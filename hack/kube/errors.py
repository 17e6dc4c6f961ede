"""What goes wrong in words that a person can act on."""

from __future__ import annotations


class LocalClusterError(Exception):
    """Something a person can put right; the message says what and how."""
