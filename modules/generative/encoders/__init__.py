"""Frozen maps of data to latents and back, in which generative families are trained and sampled."""

from .base import Encoder
from .diffusers_vae import DiffusersVAE
from .trained import TrainedAutoencoder

__all__ = ["DiffusersVAE", "Encoder", "TrainedAutoencoder"]
