"""Under Lightning's Trainer: epochs, resuming in the middle of one, two processes, prediction."""

import json
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch

from integrand.datamodules import FashionMini


class Stop(Exception):
    """Ends a run right after its checkpoint."""


class Recorder(L.LightningModule):
    """Keeps a fingerprint of every batch; its one weight learns nothing of use."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []
        self.stop_at = stop_at

    def training_step(self, batch, index):
        x, y = batch
        self.seen.append((self.current_epoch, index, x.double().sum().item(), int(y.sum())))
        return self.weight * x.mean()

    def validation_step(self, batch, index):
        pass

    def predict_step(self, batch, index):
        return batch[1]

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], lr=0.1)

    def on_train_batch_end(self, outputs, batch, index):
        if self.global_step == self.stop_at:
            self.trainer.save_checkpoint(self.trainer.default_root_dir + "/middle.ckpt")
            raise Stop


def trainer(root, **changes):
    return L.Trainer(
        **{
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": str(root),
            "max_epochs": 3,
        }
        | changes
    )


def data(**changes):
    return FashionMini(**{"train_limit": 100, "batch_size": 16, "val_size": 20} | changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Fingerprints of three uninterrupted epochs of 7 batches."""
    module = Recorder()
    trainer(tmp_path_factory.mktemp("whole")).fit(module, datamodule=data())
    return module.seen


def test_each_epoch_has_its_own_order_and_augmentation(whole):
    assert [(e, i) for e, i, *_ in whole] == [(e, i) for e in range(3) for i in range(7)]
    for epoch in (1, 2):
        assert [f[2:] for f in whole if f[0] == epoch] != [f[2:] for f in whole if f[0] == 0]


def test_validation_and_the_global_seed_change_no_training_batch(whole, tmp_path):
    torch.manual_seed(99)
    module = Recorder()
    trainer(tmp_path, limit_val_batches=0).fit(module, datamodule=data())
    assert module.seen == whole


@pytest.mark.parametrize("step", [3, 7, 10, 14])
def test_resuming_continues_with_the_next_batch(whole, tmp_path, step):
    """Steps 3 and 10 lie in the middle of an epoch, 7 and 14 after the last batch of one."""
    first = Recorder(stop_at=step)
    with pytest.raises(Stop):
        trainer(tmp_path).fit(first, datamodule=data())
    second = Recorder()
    trainer(tmp_path).fit(second, datamodule=data(), ckpt_path=str(tmp_path / "middle.ckpt"))
    assert first.seen == whole[:step]
    assert second.seen == whole[step:]


def test_prediction_returns_every_test_image_once_in_order(tmp_path):
    dm = data(eval_batch_size=300)
    labels = torch.cat(trainer(tmp_path).predict(Recorder(), datamodule=dm))
    assert torch.equal(labels, torch.cat([y for _, y in dm.test_dataloader()]))


def test_no_validation_part(tmp_path):
    trainer(tmp_path, max_epochs=1).fit(Recorder(), datamodule=data(val_size=0))


TWO = """
import json, sys
sys.path[:0] = [{here!r}]
import torch
from test_trainer import Recorder, data, trainer
torch.set_num_threads(1)
class Labels(Recorder):
    def training_step(self, batch, index):
        pixels = self.trainer.datamodule.denormalise(batch[0]).mul(255).round().long()
        self.seen.extend((self.current_epoch, h) for h in pixels.flatten(1).sum(1).tolist())
        return self.weight * batch[0].mean()
if __name__ == "__main__":
    module, root = Labels(), sys.argv[1]
    fit = trainer(root, devices=2, strategy="ddp", max_epochs=2)
    fit.fit(module, datamodule=data(augment=None, train_limit=96))
    with open(f"{{root}}/rank{{fit.global_rank}}.json", "w") as file:
        json.dump(module.seen, file)
"""


@pytest.mark.slow
def test_two_processes_share_an_epoch_without_overlap(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO.format(here=str(Path(__file__).parent)))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [json.loads((tmp_path / f"rank{r}.json").read_text()) for r in (0, 1)]
    dm = data(augment=None, train_limit=96, normalise="unit")
    dm.setup()
    everything = sorted(
        int(h) for x, _ in dm.train_dataloader() for h in (x * 255).round().long().flatten(1).sum(1)
    )
    for epoch in (0, 1):
        parts = [[h for e, h in rank if e == epoch] for rank in ranks]
        assert len(parts[0]) == len(parts[1]) == 48
        assert sorted(parts[0] + parts[1]) == everything
    first, second = ([h for e, h in ranks[0] if e == epoch] for epoch in (0, 1))
    assert first != second
