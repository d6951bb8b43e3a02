"""Energy counters: differences, wraps, and no error where there are none."""

import sys
from types import SimpleNamespace

import pytest
import torch

from integrand.tracking.callbacks.energy import energy_meter


@pytest.fixture
def package(tmp_path):
    """A powercap folder with one package and a part inside it, and a way to set the package's counter."""
    zones = [tmp_path / name for name in ("intel-rapl:0", "intel-rapl:0:0")]
    for zone in zones:
        zone.mkdir()
        (zone / "max_energy_range_uj").write_text("9999999\n")
        (zone / "energy_uj").write_text("4000000\n")

    def count(microjoules):
        (zones[0] / "energy_uj").write_text(f"{microjoules}\n")

    return tmp_path, count


def test_package_counter_with_a_wrap(package):
    folder, count = package
    meter = energy_meter(torch.device("cpu"), folder)
    assert meter.source == "powercap: 1 CPU package"
    start = meter.read()
    count(9_000_000)
    assert meter.read() - start == 5.0  # the part inside the package is not counted twice
    count(1_000_000)  # wrapped at 10 J
    assert meter.read() - start == 7.0


def test_no_counters_no_meter(tmp_path):
    assert energy_meter(torch.device("cpu"), tmp_path) is None
    (tmp_path / "intel-rapl:0").mkdir()  # there, but not to be read
    assert energy_meter(torch.device("cpu"), tmp_path) is None


def test_nvml_by_uuid_in_joules(monkeypatch):
    used = iter((5_000, 5_000, 7_500))
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: {"GPU-1-2": next(used)}[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    properties = SimpleNamespace(uuid="1-2", name="Some GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    meter = energy_meter(torch.device("cuda", 0))
    assert meter.source == "NVML: Some GPU"
    assert -meter.read() + meter.read() == 2.5


def test_without_nvml_no_meter(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy_meter(torch.device("cuda", 0)) is None
