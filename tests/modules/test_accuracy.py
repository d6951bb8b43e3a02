"""The accuracy that is recorded is the share of samples told rightly, whatever the classes."""

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from integrand.datamodules import Digits
from integrand.modules import NoBlock


def test_a_frequent_class_weighs_as_its_samples():
    """A net of zeros tells class 0 always: 6 of 8 samples are right, but only one of three classes."""
    spec = Digits().spec
    model = NoBlock(spec, channels=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    labels = torch.tensor([0, 0, 0, 1, 0, 0, 0, 2])
    data = DataLoader(TensorDataset(torch.randn(8, *spec.input_shape), labels), batch_size=4)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (metrics,) = trainer.validate(model, data, verbose=False)
    assert metrics["val/acc"] == 6 / 8
