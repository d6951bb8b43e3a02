"""Training on attacked batches: what the step sees, what it costs, and how the network is left."""

import pytest
import torch
from lightning.pytorch import Trainer

from integrand.datamodules.images.digits import Digits
from integrand.datamodules.vectors.wine import Wine
from integrand.errors import UsageError
from integrand.modules.discrete.resnet import ResNet
from integrand.tracking.callbacks import AdversarialTraining


def fit(data, callback, model=None, **options):
    torch.manual_seed(0)
    model = model or ResNet(data.spec, channels=4, blocks=2)
    seen, modes = [], []
    step = model.training_step

    def training_step(batch, batch_idx):
        seen.append(batch[0].clone())
        modes.append(all(module.training for module in model.modules()))
        return step(batch, batch_idx)

    model.training_step = training_step
    trainer = Trainer(
        max_epochs=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        callbacks=[callback] if callback else [],
        **options,
    )
    trainer.fit(model, datamodule=data)
    return model, seen, modes, trainer


@pytest.fixture
def data():
    return Digits(batch_size=32, train_limit=64, augment=None, seed=0)


def test_the_step_sees_images_at_the_rim_of_the_ball(data):
    _, clean, _, _ = fit(data, None)
    _, attacked, modes, trainer = fit(data, AdversarialTraining(eps=0.1, steps=3))
    assert all(modes)  # the attack's evaluation mode does not stay
    assert len(attacked) == len(clean) == 2
    moved = (data.denormalise(attacked[0]) - data.denormalise(clean[0])).abs().flatten(1).amax(1)
    assert torch.allclose(moved, torch.full_like(moved, 0.1), atol=1e-5)
    # two blocks a pass, three passes a batch
    assert float(trainer.callback_metrics["solver/nfe_attack"]) == 6


def test_a_share_of_the_batch_stays_clean(data):
    _, clean, _, _ = fit(data, None)
    _, attacked, _, _ = fit(data, AdversarialTraining(eps=0.1, steps=1, share=0.25))
    changed = (attacked[0] != clean[0]).flatten(1).any(1)
    assert changed.tolist() == [True] * 8 + [False] * 24


def test_the_statistics_of_the_norm_are_those_of_the_steps_alone(data):
    """With a step of length 0 from the clean image, attacking changes nothing at all."""
    plain, _, _, _ = fit(data, None)
    attacked, _, _, _ = fit(data, AdversarialTraining(eps=0.0, steps=2))
    for (name, a), (_, b) in zip(plain.state_dict().items(), attacked.state_dict().items(), strict=True):
        # pixels go to [0, 1] and back: rounding
        assert torch.allclose(a.float(), b.float(), atol=2e-4), name


def test_what_cannot_be_attacked_is_refused():
    data = Wine()
    with pytest.raises(UsageError, match="attacks classifiers of images, not ResNet on Wine"):
        fit(data, AdversarialTraining(), ResNet(data.spec, channels=4, blocks=1))
    for given in ({"steps": 0}, {"share": 0.0}):
        with pytest.raises(UsageError, match="attack nothing"):
            AdversarialTraining(**given)
