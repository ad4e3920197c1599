"""Print the peak memory of a command in bytes. A small parent: its own memory is the least seen.

python -I -S peak.py COMMAND…
"""

import os
import sys

devnull = os.open(os.devnull, os.O_RDWR)
pid = os.fork()
if not pid:
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - what the benchmark measures
_, _, usage = os.wait4(pid, 0)
sys.stdout.write(f"{usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024)}\n")
