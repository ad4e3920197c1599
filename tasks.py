"""The tasks of this repository: those that it gives to others."""

from devservers.tasks import ns

__all__ = ["ns"]
