"""Bytecode: what is imported for our tasks is compiled once, not on every call.

Invoke switches off the writing of bytecode before it loads a tasks.py, and uv, unlike pip, compiles
nothing when it installs: each call would compile this package anew, and requests with it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept() -> Iterator[None]:
    """Write bytecode within, unless the user forbids it (-B, PYTHONDONTWRITEBYTECODE)."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
