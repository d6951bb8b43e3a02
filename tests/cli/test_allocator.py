"""Freed memory stays in the process, unless told otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from integrand.cli.allocator import keep_freed_memory

# six blocks of 1.6 MB, as large as states of small images, taken, written and freed together
FAULTS = """
import ctypes, resource
from integrand.cli.allocator import keep_freed_memory
keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        blocks = [libc.malloc(1_600_000) for _ in range(6)]
        for block in blocks:
            ctypes.memset(block, 1, 1_600_000)
        for block in blocks:
            libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(5)
print(faults(20))
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")


def faults(**variables):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=kept | variables, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@glibc
def test_memory_is_not_fetched_again():
    """9.6 MB are 2,344 pages of 4 kB, or 150 of 64 kB, in each of 20 rounds where they are given back."""
    assert faults() < 20
    assert faults(INTEGRAND_MALLOC="default") > 20 * 100


@pytest.mark.parametrize(
    "variables",
    [
        {"INTEGRAND_MALLOC": "default"},
        {"MALLOC_TRIM_THRESHOLD_": "100000"},
        {"GLIBC_TUNABLES": "glibc.malloc.top_pad=1"},
    ],
)
def test_a_choice_made_before_stands(variables):
    assert not keep_freed_memory(variables)


@glibc
def test_every_command_starts_so(monkeypatch):
    from integrand.cli import main

    calls = []
    monkeypatch.setattr(main, "keep_freed_memory", lambda: calls.append(1))
    assert main.main(["--version"]) == 0
    assert calls == [1]
