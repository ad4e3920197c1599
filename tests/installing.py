"""What the tests of installing share: how this machine reaches its package registry."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
SPOKEN_BY = ("PIP_", "UV_", "SSL_", "REQUESTS_", "HTTP_", "HTTPS_", "NO_PROXY")


def registry_env() -> dict[str, str]:
    """Return the variables that package installers need, whose home here is a scratch one."""
    env = {name: value for name, value in os.environ.items() if name.startswith(SPOKEN_BY)}
    for file in (".config/pip/pip.conf", ".pip/pip.conf"):
        if (Path.home() / file).is_file():
            env.setdefault("PIP_CONFIG_FILE", str(Path.home() / file))
    return env
