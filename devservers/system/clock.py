"""Instants as people and JSON have them."""

import time


def utc(seconds: float) -> str:
    """Return seconds since the epoch as UTC in ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
