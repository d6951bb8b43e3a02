"""Motion capture in BVH files: a skeleton, and the angles of its joints frame by frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from ..series.recording import Recording
from .guards import AGAIN, Arrays, Member
from .packed import WHOLE, pack

MEMBERS = ("01_01.bvh", "01_03.bvh")
JOINTS = tuple(f"{side}{joint}" for side in ("Left", "Right") for joint in ("UpLeg", "Leg", "Foot"))
CHANNELS = tuple(f"{joint} {axis}rotation" for joint in JOINTS for axis in "ZYX")
_EVERY = 4  # 120 frames in a second become 30


def read(member: Member) -> Arrays:
    """The angles of hips, knees and ankles in degrees, 30 times a second, times in seconds."""
    return pack(WHOLE, [_legs(member(name).decode("ascii"), name) for name in MEMBERS])


def _legs(text: str, where: str) -> Recording:
    names, gap, frames = parse(text, where)
    missing = [c for c in CHANNELS if c not in names]
    if missing:
        raise DataError(f"{where} lacks the channel {missing[0]}", AGAIN)
    angles = frames[::_EVERY, [names.index(c) for c in CHANNELS]]
    return Recording(
        np.arange(len(angles), dtype=np.float64) * (_EVERY * gap), angles, name=where.removesuffix(".bvh")
    )


def parse(text: str, where: str) -> tuple[list[str], float, npt.NDArray[np.float64]]:
    """Names of the channels as `joint channel`, seconds between frames, and the frames (n, channels).

    Raises:
        DataError: It is no BVH file.
    """
    skeleton, _, motion = text.partition("MOTION")
    names: list[str] = []
    joint = ""
    for words in map(str.split, skeleton.splitlines()):
        if words and words[0] in ("ROOT", "JOINT"):
            joint = " ".join(words[1:])
        elif words and words[0] == "CHANNELS":
            names += [f"{joint} {channel}" for channel in words[2:]]
    try:
        count, gap, *rows = motion.strip().splitlines()
        frames = np.array([row.split() for row in rows], dtype=np.float64)
        if frames.shape != (int(count.removeprefix("Frames:")), len(names)) or not len(frames):
            raise ValueError(f"{frames.shape} numbers for {count} of {len(names)} channels")
        return names, float(gap.removeprefix("Frame Time:")), frames
    except ValueError as error:
        raise DataError(f"{where} is no motion capture in BVH: {error}", AGAIN) from error
