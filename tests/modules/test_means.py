"""Means over processes of unequal shares; `tests/distributed/test_fits.py` has them in two real processes."""

import lightning.pytorch as L
import torch

from integrand.modules.means import weigh_exactly


class Logged(L.LightningModule):
    """Logs 1 for 251 samples and 4 for 250, as the two shares of 501."""

    def test_step(self, size, batch_idx):
        self.log("m", 1.0 if size == 251 else 4.0, on_epoch=True, batch_size=int(size))
        weigh_exactly(self.trainer)
        weigh_exactly(self.trainer)
        (metric,) = self.trainer._results.values()
        assert metric.cumulated_batch_size.is_floating_point()

    def configure_optimizers(self):
        return None


def test_the_number_of_samples_is_no_integer_and_the_mean_stays():
    trainer = L.Trainer(
        logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False
    )
    for _ in range(2):  # a reset puts the same kind of number back
        (found,) = trainer.test(
            Logged(), torch.utils.data.DataLoader([251, 250], batch_size=None), verbose=False
        )
        assert found["m"] == torch.tensor((251 + 4 * 250) / 501)  # both in float32
