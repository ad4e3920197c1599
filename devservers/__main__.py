"""`python -m devservers`: the console script where no script is on the PATH."""

from devservers.cli import main

main()
