"""Decisions: what a configuration gives that decides what is executed, or where output goes."""

from collections.abc import Mapping

from devservers.config import Config

HARMLESS = frozenset({"enabled", "logMaxBytes", "port", "ports", "turbopack"})


def of(settings: Config, *keys: str) -> Mapping[str, object]:
    """Return the keys that the file sets, with their values: of the sections and keys in `keys`.

    All but a few decide something, so that a key of a later release does until it is known not to.
    """
    found = {}
    for key in sorted(settings.given):
        section, _, name = key.partition(".")
        if name not in HARMLESS and {section, key} & set(keys):
            found[key] = settings.value(key)
    return found
