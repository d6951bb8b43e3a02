"""Kills this process at its n-th change of the file system, or sets its clock back there, and counts them.

On the path of the campaign's victims. The variables are looked up at every event, because victims are forked from one
process:

- CAMPAIGN_KILL_AT: `fit 12` kills processes of `integrand fit`, and no others, at their twelfth change;
- CAMPAIGN_CLOCK_AT: the change after which it is a day earlier;
- CAMPAIGN_NOTES: a folder in which `changes-fit` says how many there were, and `killed` has a letter for every kill.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from warm_servers import Popen

AT, CLOCK, NOTES = "CAMPAIGN_KILL_AT", "CAMPAIGN_CLOCK_AT", "CAMPAIGN_NOTES"
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.move", "sqlite3.connect"}
_seen = {"pid": 0, "n": 0}


def _is_change(event, arguments):
    if event == "open":
        return isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    return event in _CHANGES


def _watch(event, arguments):
    if not _is_change(event, arguments):
        return
    at, clock, notes = (os.environ.get(name) for name in (AT, CLOCK, NOTES))
    if not (at or clock or notes) or (notes and str(arguments[0]).startswith(notes)):
        return
    if _seen["pid"] != os.getpid():
        _seen.update(pid=os.getpid(), n=0)
    _seen["n"] += 1
    command = (*sys.argv[1:2], "none")[0]
    if notes:
        Path(notes, f"changes-{command}").write_text(str(_seen["n"]))
    if clock and _seen["n"] == int(clock):
        real = time.time
        time.time = lambda: real() - 86_400
    whom, _, number = (at or "").partition(" ")
    if whom == command and _seen["n"] >= int(number):
        if notes:
            with Path(notes, "killed").open("a") as file:
                file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)


subprocess.Popen = Popen
sys.addaudithook(_watch)
