"""This repository's own tasks: those that it gives to others."""

from devservers.tasks import ns

__all__ = ["ns"]
