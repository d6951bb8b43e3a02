"""Kills this process at its n-th change of the file system, and counts them: on the path of the campaign's victims.

The variables are looked up at every event, because victims are forked from one process.
"""

import os
import signal
import sys
from pathlib import Path

AT, COUNT = "CAMPAIGN_KILL_AT", "CAMPAIGN_COUNT"
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.move", "sqlite3.connect"}
_seen = {"pid": 0, "n": 0}


def _watch(event, arguments):
    if event == "open":
        if not isinstance(arguments[2], int) or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
    elif event not in _CHANGES:
        return
    at, count = os.environ.get(AT), os.environ.get(COUNT)
    if (not at and not count) or (event == "open" and str(arguments[0]) == count):
        return
    if _seen["pid"] != os.getpid():
        _seen.update(pid=os.getpid(), n=0)
    _seen["n"] += 1
    if count:
        Path(count).write_text(str(_seen["n"]))
    if at and _seen["n"] >= int(at):
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(_watch)
