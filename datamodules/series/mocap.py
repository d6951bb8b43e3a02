"""The legs of a person on a playground (CMU Graphics Lab Motion Capture Database)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .record_cards import MOCAP
from .recording import Recording
from .records import RecordDataModule, Windows


class Mocap(RecordDataModule):
    """Angles of hips, knees and ankles of one person who jumps, turns, climbs and hangs.

    Two takes of 23 and 38 s at 30 frames a second; both are cut in time. They are of subject 1, not the
    walking of subject 35 on which latent SDEs are usually compared: no package holds that one.
    """

    card = MOCAP
    windows = Windows(30, 30, 10)

    def ready(self, record: Recording) -> Recording:
        """An angle goes on past 180 degrees instead of jumping back."""
        return replace(record, values=np.unwrap(record.values, period=360, axis=0))
