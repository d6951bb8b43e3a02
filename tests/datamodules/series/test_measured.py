"""Measured series: splits, windows and scales, on the embedded set and on made files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import integrand.datamodules as dm
from integrand.cli.data import run, state
from integrand.datamodules.acquire.digests import content_digests
from integrand.datamodules.formats import npz
from integrand.datamodules.formats.packed import WHOLE, pack
from integrand.datamodules.series.recording import Recording
from integrand.errors import DataError, UsageError
from integrand.spec import Forecast


@pytest.fixture
def hares(tmp_path):
    """`HareLynx` of 40 made years: hare = year, lynx = −year."""
    years = np.arange(1900.0, 1940)
    arrays = pack(WHOLE, [Recording(years, np.stack([years, -years], axis=1))])
    card = replace(dm.HareLynx.card, digests=content_digests(dm.HareLynx.card, arrays))
    with (tmp_path / card.file_name).open("wb") as file:
        npz.write(file, arrays, {"digests": dict(card.digests)})

    class Made(dm.HareLynx):
        pass

    Made.card = card
    return lambda **options: Made(data_dir=str(tmp_path), **options)


def test_japanese_vowels_are_inside_the_package():
    data = dm.JapaneseVowels()
    data.prepare_data()
    data.setup()
    assert data.sizes == {"n_train": 216, "n_val": 54, "n_test": 370}
    x, y = next(iter(data.test_dataloader()))
    assert x.values.shape[1:] == (29, 12)
    assert x.lengths.min() == 7
    assert x.mask[x.present].all()
    assert torch.bincount(y, minlength=9).sum() == 256
    # nine speakers with 30 utterances each: six of each are held out
    _, held = next(iter(data.val_dataloader()))
    assert torch.bincount(held).tolist() == [6] * 9


def test_held_out_utterances_follow_the_split_seed_alone():
    first, same, other = (dm.JapaneseVowels(seed=i, split_seed=i // 2) for i in range(3))
    values = [next(iter(d.val_dataloader()))[0].values for d in (first, same, other)]
    assert torch.equal(values[0], values[1])
    assert values[0].shape != values[2].shape or not torch.equal(values[0], values[2])


@pytest.mark.parametrize("drop", [0.3, 0.7])
def test_dropping_leaves_the_recorded_share(drop):
    whole, thin = dm.JapaneseVowels(), dm.JapaneseVowels(drop=drop)
    (x, _), (z, _) = next(iter(whole.test_dataloader())), next(iter(thin.test_dataloader()))
    kept = torch.tensor([max(1, round((1 - drop) * int(n))) for n in x.lengths])
    assert torch.equal(z.lengths, kept)
    assert thin.spec.irregular
    assert thin.digest != whole.digest


def test_the_parts_of_a_record_follow_each_other_and_each_year_is_asked_for_once(hares):
    data = hares(context=4, horizon=3, val_fraction=0.2, test_fraction=0.3, eval_batch_size=50)
    asked = {}
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        x, query = next(iter(loader))
        assert (x.times[:, -1] == 0).all(), "only gaps matter: the last year given is at 0"
        raw = data.denormalise(torch.where(query.mask, query.values, torch.nan))
        asked[split] = sorted(round(v) for v in raw[..., 0][query.mask[..., 0]].tolist())
        given = data.denormalise(x.values)[:, -1, 0]
        assert torch.allclose(raw[:, 0, 0], given + 1, atol=1e-3)
    assert asked == {"val": list(range(1920, 1928)), "test": list(range(1928, 1940))}
    x, query = zip(*data.train_dataloader(), strict=True)
    latest = max(float(data.denormalise(q.values)[..., 0].max()) for q in query)
    assert latest < 1920 - 0.5


def test_the_windows_of_a_record_are_its_own_unless_others_are_wanted(hares):
    assert hares().spec.question == Forecast(10, 5)
    assert hares(context=2, horizon=7).spec.question == Forecast(2, 7)
    data = hares(context=2, horizon=2, eval_horizon=4)
    _, query = next(iter(data.test_dataloader()))
    assert query.times.shape[1] == 4
    assert sum(int(q.mask[..., 0].sum()) for _, q in data.test_dataloader()) == 6  # 15 % of 40


def test_interpolation_asks_for_years_of_its_own_part_alone(hares):
    data = hares(context=4, horizon=3, within=True, val_fraction=0.2, test_fraction=0.3)
    x, query = next(iter(data.test_dataloader()))
    asked = data.denormalise(query.values)[..., 0][query.mask[..., 0]]
    given = data.denormalise(x.values)[..., 0][x.mask[..., 0]]
    assert min(asked.min(), given.min()) >= 1928 - 1e-3
    assert data.spec.question.within


@pytest.mark.parametrize("options", [{"val_fraction": 0.0}, {"val_fraction": 0.5, "test_fraction": 0.5}])
def test_shares_that_leave_nothing_are_refused(hares, options):
    with pytest.raises(UsageError, match="do not split a record"):
        hares(**options)


def test_labelled_series_refuse_a_share_of_everything():
    with pytest.raises(UsageError, match="val_fraction=1"):
        dm.JapaneseVowels(val_fraction=1.0)


def test_an_absent_set_names_the_way_to_it():
    with pytest.raises(DataError, match="basic-motions is not on this machine") as caught:
        dm.BasicMotions().prepare_data()
    assert "integrand data fetch basic-motions --via pip" in caught.value.remedy


@pytest.fixture
def coffee(tmp_path):
    """A folder with a made `Coffee` of the archive: 10 + 4 series of 3 in two classes."""
    folder = tmp_path / "Coffee"
    folder.mkdir()
    for split, n in (("TRAIN", 10), ("TEST", 4)):
        lines = [f"{i % 2}\t{i}\t{i + 1}\t{'NaN' if i == 1 else i + 2}" for i in range(n)]
        (folder / f"Coffee_{split}.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_set_of_the_archive_is_read_from_its_files(coffee):
    data = dm.UCR("coffee", data_dir=str(coffee), verify=False)
    data.setup()
    assert data.sizes == {"n_train": 8, "n_val": 2, "n_test": 4}
    x, y = next(iter(data.test_dataloader()))
    assert y.tolist() == [0, 1, 0, 1]
    assert x.lengths.tolist() == [3, 2, 3, 3]
    assert data.spec.name == "ucr-coffee"
    with pytest.raises(DataError, match="is not ucr-coffee"):
        dm.UCR("Coffee", data_dir=str(coffee)).setup()


def test_the_archive_is_a_collection_of_93_sets_with_cards_of_their_own():
    members = dm.UCR.card.members
    assert len(members) == len({m.name for m in members}) == 93
    assert len({m.digests["content"] for m in members}) == 93
    assert dm.find_card("ucr-ECG5000").counts == {"train": 500, "test": 4500}
    assert dm.find_card("UCR") is dm.UCR.card
    with pytest.raises(UsageError, match=r"no set 'GunPiont', did you mean GunPoint\?"):
        dm.UCR("GunPiont")
    with pytest.raises(UsageError, match="is a collection of 93 sets") as caught:
        run(["fetch", "ucr"])
    assert "ucr-gunpoint" in caught.value.remedy


def test_a_set_that_is_here_makes_its_collection_found(coffee, monkeypatch):
    assert not state(dm.UCR.card)["found"]
    monkeypatch.setenv("INTEGRAND_DATA", str(coffee))
    assert state(dm.UCR.card)["found"]


def test_two_takes_are_cut_each_and_angles_go_on_past_a_half_turn(tmp_path):
    frames = np.arange(100.0)
    turning = (10 * frames + 180) % 360 - 180  # jumps back once in 36 frames
    take = Recording(frames / 30, np.tile(turning[:, None], 18))
    arrays = pack(WHOLE, [take, take[:60]])
    card = replace(dm.Mocap.card, digests=content_digests(dm.Mocap.card, arrays), system_folders=())
    with (tmp_path / card.file_name).open("wb") as file:
        npz.write(file, arrays, {"digests": dict(card.digests)})

    class Made(dm.Mocap):
        pass

    Made.card = card
    parts = Made(data_dir=str(tmp_path), context=5).recordings()
    assert [len(r) for r in parts["train"]] == [70, 42]
    assert [len(r) for r in parts["test"]] == [15 + 5, 9 + 5]
    for recordings in parts.values():
        for r in recordings:
            np.testing.assert_allclose(np.diff(r.values, axis=0), 10, atol=1e-9)
