"""A process that is lost while this one hangs, where no exception reaches it."""

import subprocess
import sys

import pytest

from integrand.tracking.processes.children import ChildObserver
from integrand.tracking.processes.lost import LostProcessError, is_lost


def child(code):
    return subprocess.Popen([sys.executable, "-c", code])


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise SystemExit(3)", "process 2 of this fit was lost: exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "process 2 of this fit was lost: ended by SIGKILL"),
    ],
)
def test_after_the_time_of_grace_the_others_are_ended_and_the_reason_is_told(code, says):
    others = [child("import time; time.sleep(600)"), child(code)]
    told = []
    observer = ChildObserver(others, told.append, grace=0.2, pause=0.05)
    observer.start()
    observer.join(60)
    (error,) = told
    assert isinstance(error, LostProcessError)
    assert error.message == says
    assert "integrand fit --resume" in error.remedy
    assert others[0].wait(10) == -9


def test_processes_that_end_well_are_no_loss():
    told = []
    observer = ChildObserver([child("pass"), child("pass")], told.append, grace=0.0, pause=0.05)
    observer.start()
    observer.join(60)
    assert not observer.is_alive()
    assert told == []


@pytest.mark.parametrize(
    "text",
    [
        "[gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:40835: Connection reset by peer",
        "[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:43145",
        "NCCL error: remote process exited or there was a network error",
        "Application timeout caused pair closure",
    ],
)
def test_what_is_seen_of_a_lost_process(text):
    assert is_lost(RuntimeError(text))
    assert not is_lost(OSError(text))
    assert not is_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
