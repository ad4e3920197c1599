"""Isolated: Python that runs a module of this package apart from what lies around it."""

import sys

# Neither the folder that it is run in nor PYTHONPATH: both may lead into the checkout. And what a
# .pth file puts on sys.path may be one (a project that is installed editable), where a branch
# brings a sitecustomize.py, or a module that Python looks for and doesn't have: so only folders of
# packages, and where ours is.
OPTIONS = ("-P", "-E", "-S")
PATHS = """import os, sys, site
sys.modules.update(sitecustomize=None, usercustomize=None)
own = sys.path[:]
site.main()
own += [one for one in sys.path if os.path.exists(one + "/devservers/hook.py")][:1]
sys.path[:] = [one for one in sys.path if one in own or one.endswith("-packages")]
"""
RUN = f"""{PATHS}import importlib
sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))"""


def argv(module: str, *words: str) -> tuple[str, ...]:
    """Return what runs that module's `main` with `words`."""
    return python(RUN, module, *words)


def python(program: str, *words: str) -> tuple[str, ...]:
    """Return what runs a program that begins with PATHS."""
    compiled = ("-B",) if sys.flags.dont_write_bytecode else ()
    return (sys.executable, *OPTIONS, *compiled, "-c", program, *words)
