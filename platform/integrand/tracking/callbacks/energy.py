"""Energy counters of the device, where it has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class EnergyMeter:
    """Counters that only grow; a difference of two readings is what was used in between.

    Args:
        source: Which counters, in words, such as `NVML: NVIDIA H100`.
        read: Their sum in joules. What else ran on the same device is in it.
    """

    source: str
    read: Callable[[], float]


def energy_meter(device: torch.device, powercap: Path = POWERCAP) -> EnergyMeter | None:
    """The meter of a device, None where it reports no energy or not to this user.

    A CUDA device is read through NVML (needs `nvidia-ml-py`, Volta or newer). A CPU is read through Linux's
    powercap counters of whole packages, which most systems show to root only.

    Args:
        device: Where training runs.
        powercap: Folder of the kernel's counters.
    """
    try:
        return _nvml(device) if device.type == "cuda" else _packages(powercap)
    except Exception:
        # a missing counter is no reason to lose a run, and NVML has its own hierarchy of errors
        return None


def _nvml(device: torch.device) -> EnergyMeter:
    import pynvml

    pynvml.nvmlInit()
    # by UUID: CUDA_VISIBLE_DEVICES renumbers devices for torch, not for NVML
    properties = torch.cuda.get_device_properties(device)
    handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")

    def read() -> float:
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3

    read()
    return EnergyMeter(f"NVML: {properties.name}", read)


def _packages(powercap: Path) -> EnergyMeter | None:
    zones = sorted(powercap.glob("intel-rapl:[0-9]"))  # packages; what is inside one has a second colon
    if not zones:
        return None
    ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in zones]
    last = [int((zone / "energy_uj").read_text()) for zone in zones]
    total = 0

    def read() -> float:
        nonlocal total
        for i, zone in enumerate(zones):
            now = int((zone / "energy_uj").read_text())
            # the counter wraps, at typical power after some ten minutes
            total += (now - last[i]) % (ranges[i] + 1)
            last[i] = now
        return total / 1e6

    return EnergyMeter(f"powercap: {len(zones)} CPU package{'s' * (len(zones) > 1)}", read)
