"""Every file in configs/data makes a datamodule through the same parser as the command line."""

from pathlib import Path

import jsonargparse
import pytest
from lightning.pytorch import LightningDataModule

from integrand.datamodules import find_card, load_all
from integrand.errors import UsageError

FOLDER = Path(__file__).parents[2] / "configs" / "data"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module")
def parser():
    load_all()
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    return parser


def build(parser, *argv):
    return parser.instantiate_classes(parser.parse_args(list(argv))).data


def test_there_is_one_file_per_data_set():
    assert {path.stem for path in FILES} == {c.replace("-", "_") for c in _names()}


def _names():
    from integrand.datamodules import cards

    return cards()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_config(parser, path):
    first = path.read_text().splitlines()[0]
    assert first.startswith(f"# integrand fit --data configs/data/{path.name}")
    dm = build(parser, "--data", str(path))
    assert dm.card is find_card(path.stem.replace("_", "-"))


def test_arguments_reach_the_constructor(parser):
    dm = build(
        parser,
        "--data=FashionMini",
        "--data.batch_size=32",
        "--data.val_size=500",
        "--data.normalise=symmetric",
        "--data.augment=[{class_path: RandomCrop, init_args: {padding: 1}}, {class_path: Cutout}]",
    )
    assert (dm.batch_size, dm.n_val, dm.normalise) == (32, 500, "symmetric")
    assert [type(a).__name__ for a in dm.augment] == ["RandomCrop", "Cutout"]
    assert dm.augment[0].padding == 1


@pytest.mark.parametrize(("value", "n"), [("standard", 2), ("null", 0)])
def test_augment_by_name_or_none(parser, value, n):
    assert len(build(parser, "--data=FashionMini", f"--data.augment={value}").augment) == n


def test_val_size_as_a_fraction(parser):
    assert build(parser, "--data=FashionMini", "--data.val_size=0.2").n_val == 1200


def test_help_explains_every_argument(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["--data.help=FashionMini"])
    text = " ".join(capsys.readouterr().out.split())
    for explained in (
        "searched first",
        "Images per training batch",
        "a fraction below 1",
        "zero mean",
        "digest",
    ):
        assert explained in text


def test_wrong_values_are_refused(parser):
    with pytest.raises(jsonargparse.ArgumentError, match="normalise"):
        build(parser, "--data=FashionMini", "--data.normalise=zscore")
    with pytest.raises((UsageError, jsonargparse.ArgumentError, ValueError), match="cannot be held out"):
        build(parser, "--data=FashionMini", "--data.val_size=9000")
