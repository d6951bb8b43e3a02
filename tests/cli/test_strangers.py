"""A module or a data set of somebody else's trains too; what it does not declare is left out."""

import pytest

from integrand.record import RunRecord

MODULE = '''
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, TensorDataset


class Own(LightningModule):
    """Knows nothing of Integrand."""

    def __init__(self, size: int = 4, classes: int = 2):
        super().__init__()
        self.net = torch.nn.Linear(size, classes)

    def _loss(self, batch, stage):
        x, y = batch
        loss = torch.nn.functional.cross_entropy(self.net(x), y)
        self.log(f"{stage}/loss", loss)
        return loss

    def training_step(self, batch, batch_idx):
        return self._loss(batch, "train")

    def validation_step(self, batch, batch_idx):
        self._loss(batch, "val")

    def test_step(self, batch, batch_idx):
        self._loss(batch, "test")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


class OwnData(LightningDataModule):
    """Neither."""

    def train_dataloader(self):
        x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), 16)

    val_dataloader = test_dataloader = train_dataloader
'''


@pytest.fixture
def stranger(program):
    (program.folder / "somebody.py").write_text(MODULE)
    return program


def test_both_train_and_test_and_are_recorded(stranger):
    arguments = ["--model", "somebody.Own", "--data", "somebody.OwnData", "--trainer.max_epochs", "2"]
    result = stranger("fit", *arguments, "--test_after_fit", "true")
    assert result.returncode == 0, result.stderr
    (run,) = stranger.runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["final/test_loss"] < 1
    assert run.data.metrics["cost/parameters"] == 10
    record = RunRecord.read(stranger.artifacts(run) / "record.json")
    assert (record.family, record.model_class, record.task) == ("Own", "Own", "")
    assert record.data["name"] == "OwnData"
    assert record.monitor == {"name": "val/loss", "mode": "min"}


def test_a_module_of_ones_own_on_a_data_set_of_ours(stranger):
    arguments = ["--model", "somebody.Own", "--model.size", "13", "--model.classes", "3", "--data", "Wine"]
    result = stranger("fit", *arguments, "--trainer.max_epochs", "1")
    assert result.returncode == 0, result.stderr
    (run,) = stranger.runs()
    assert run.data.tags["data"] == "wine"
    result = stranger("predict", "--run", "latest", "--trust")
    assert result.returncode == 2
    assert "Own is no family" in result.stderr


def test_a_family_needs_data_that_say_what_they_are(stranger):
    result = stranger(
        "fit", "--model", "NeuralODE", "--data", "somebody.OwnData", "--trainer.logger", "false"
    )
    assert result.returncode == 2
    line = stranger.refusal(result)
    assert "NeuralODE takes its sizes from the data set, which publishes none" in line
    assert "DataModule" in line
