"""The names that Python callers have from the package itself."""

import pytest

import devservers
from devservers import errors, spec
from devservers.lifecycle import result, server, status


def test_each_public_name_is_what_it_says() -> None:
    homes = (errors, spec, result, server, status)
    for name in devservers.__all__:
        found = getattr(devservers, name)
        assert found in [getattr(home, name, None) for home in homes]
        assert found.__name__ == name


def test_any_other_name_is_none() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = devservers.nonsense
