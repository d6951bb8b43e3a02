"""Kills this process at its n-th change of the file system, or sets its clock back there, and counts them.

On the path of the campaign's victims.

The variables are looked up at every event, because victims are forked from one process.
"""

import os
import signal
import sys
import time
from pathlib import Path

AT, COUNT, CLOCK = "CAMPAIGN_KILL_AT", "CAMPAIGN_COUNT", "CAMPAIGN_CLOCK_AT"
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.move", "sqlite3.connect"}
_seen = {"pid": 0, "n": 0}


def _watch(event, arguments):
    if event == "open":
        if not isinstance(arguments[2], int) or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
    elif event not in _CHANGES:
        return
    at, count, clock = (os.environ.get(name) for name in (AT, COUNT, CLOCK))
    if not (at or count or clock) or (event == "open" and str(arguments[0]) == count):
        return
    if _seen["pid"] != os.getpid():
        _seen.update(pid=os.getpid(), n=0)
    _seen["n"] += 1
    if count:
        Path(count).write_text(str(_seen["n"]))
    if clock and _seen["n"] == int(clock):
        real = time.time
        time.time = lambda: real() - 86_400
    if at and _seen["n"] >= int(at):
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(_watch)
