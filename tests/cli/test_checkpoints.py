"""A checkpoint that is not what the run wrote is noticed before anything is done with it."""

import os
import random
import shutil
import zipfile

import pytest
import torch

from integrand.checkpoints import read, verify, verify_run
from integrand.errors import UsageError


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"w": torch.arange(5000.0)}, "integrand": {"run_id": "a" * 32}}, path)
    return path


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def flip_a_weight(path):
    """A bit in the middle of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        part = max(archive.infolist(), key=lambda part: part.file_size)
    header = path.read_bytes()[part.header_offset :][:30]
    begin = part.header_offset + 30 + sum(int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
    flip(path, 8 * (begin + part.file_size // 2))


def test_a_whole_one_is_read(checkpoint):
    verify(checkpoint)
    verify_run(checkpoint, "a" * 32)
    assert read(checkpoint)["state_dict"]["w"][7] == 7


def test_a_flipped_bit_is_noticed_or_changes_nothing(checkpoint):
    """PyTorch itself reads most of them without a word."""
    whole, silent = checkpoint.read_bytes(), 0
    for bit in random.Random(0).sample(range(8 * len(whole)), 150):
        checkpoint.write_bytes(whole)
        flip(checkpoint, bit)
        try:
            weights = read(checkpoint)["state_dict"]["w"]
        except UsageError:
            continue
        silent += 1
        assert torch.equal(weights, torch.arange(5000.0))
    assert silent < 20, "padding between the parts is all that may change"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_one_gives_one_line(checkpoint, share):
    os.truncate(checkpoint, int(share * checkpoint.stat().st_size))
    with pytest.raises(UsageError) as raised:
        read(checkpoint)
    assert "\n" not in str(raised.value)


def test_nan_in_a_weight_is_named(checkpoint):
    weights = {
        "whole": torch.ones(2, dtype=torch.int64),
        "wide": torch.tensor([torch.inf]),
        "w": torch.zeros(5),
    }
    torch.save({"state_dict": weights}, checkpoint)
    verify(checkpoint)
    best = checkpoint.with_name("best.ckpt")
    shutil.copy(checkpoint, best)
    weights["w"][3] = torch.nan
    torch.save({"state_dict": weights}, checkpoint)
    with pytest.raises(UsageError, match=r"holds NaN in w .*--ckpt_path .*best\.ckpt"):
        read(checkpoint)
    shutil.copy(checkpoint, best)
    with pytest.raises(UsageError, match=r"holds NaN in w → restore it from a copy$"):
        verify(checkpoint)


def test_a_bomb_is_not_unpacked(checkpoint):
    with zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(UsageError, match="compressed"):
        verify(checkpoint)


def test_the_other_one_is_offered_if_it_is_whole(checkpoint):
    best = checkpoint.with_name("best.ckpt")
    shutil.copy(checkpoint, best)
    flip_a_weight(checkpoint)
    with pytest.raises(UsageError, match=r"--ckpt_path .*best\.ckpt"):
        verify(checkpoint)
    flip_a_weight(best)
    with pytest.raises(UsageError) as raised:
        verify(checkpoint)
    assert "best.ckpt" not in str(raised.value)


def test_another_runs_is_named(checkpoint):
    with pytest.raises(UsageError, match="a checkpoint of run aaaaaaaa, not of bbbbbbbb"):
        verify_run(checkpoint, "b" * 32)


@pytest.mark.slow
def test_through_the_program(program, small):
    assert program("fit", *small).returncode == 0
    (run,) = program.runs()
    folder = program.artifacts(run) / "checkpoints"
    last, best = folder / "last.ckpt", folder / "best.ckpt"
    keep = program.folder / "keep.ckpt"
    shutil.copy(last, keep)
    flip_a_weight(last)
    result = program("fit", "--resume", "--trainer.max_epochs", "3")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), result.stderr
    assert "is damaged" in result.stderr
    assert f"--ckpt_path {best}" in result.stderr
    (run,) = program.runs()
    assert run.info.status == "FINISHED", "the run is as it was"
    result = program("fit", "--resume", "--trainer.max_epochs", "3", "--ckpt_path", str(best))
    assert result.returncode == 0, result.stderr
    flip_a_weight(keep)
    result = program("test", "--config", str(folder.parent / "config/fit.yaml"), "--ckpt_path", str(keep))
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), result.stderr
    result = program("fit", *small)
    assert result.returncode == 0
    other = next(r for r in program.runs() if r.info.run_id != run.info.run_id)
    shutil.copy(program.artifacts(other) / "checkpoints/best.ckpt", best)
    result = program("test", "--run", run.info.run_id)
    assert result.returncode == 2
    assert f"a checkpoint of run {other.info.run_id[:8]}" in result.stderr
