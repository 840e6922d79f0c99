"""Corruptions of camera pictures, each with one severity and random numbers of its own.

Contract: ``f(frame, severity, rng) -> frame`` with the frame uint8 (H, W, 3); same shape and type, the
argument is left as it was, severity 0 is the identity. The ``rng`` belongs to the sweep, never to the world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from sim.errors import BadInputError

Corruption = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def gaussian(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """White noise of variance ``severity`` on the [0, 1] picture, each pixel and channel on its own.

    Lechner et al. 2020 use variances 0.1, 0.2 and 0.3. The result is rounded and clipped to the range of a
    camera, which takes away a part of strong noise.
    """
    sigma = np.float32(255.0 * np.sqrt(severity))
    return _to_uint8(frame + sigma * rng.standard_normal(frame.shape, dtype=np.float32))


def salt_pepper(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A share ``severity`` of the pixels becomes black or white."""
    draw = rng.random(frame.shape[:2], dtype=np.float32)[..., None]
    broken = np.where(draw < severity / 2, 0, 255).astype(np.uint8)
    return np.where(draw < severity, broken, frame)


def brightness(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Every frame is brighter or darker by up to ``severity`` of the full range, like a hunting exposure."""
    return _to_uint8(frame + np.float32(255.0 * severity * rng.uniform(-1, 1)))


def blur(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Out of focus: a Gaussian kernel of ``severity`` pixels standard deviation."""
    if severity == 0:
        return frame.copy()
    return cv2.GaussianBlur(frame, (0, 0), severity)


def occlusion(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A grey rectangle over a share ``severity`` of the picture, at a new place each frame."""
    height, width = frame.shape[:2]
    side = np.sqrt(min(severity, 1.0))
    h, w = round(height * side), round(width * side)
    top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
    covered = frame.copy()
    covered[top : top + h, left : left + w] = 128
    return covered


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian": gaussian,
    "salt_pepper": salt_pepper,
    "brightness": brightness,
    "blur": blur,
    "occlusion": occlusion,
}


MAX_SEVERITY = 100.0
"""Far beyond a picture in which anything is left."""


@dataclass(frozen=True)
class Noise:
    """A corruption at one severity: ``noise(frame, rng)``.

    Attributes:
        name: in ``CORRUPTIONS``.
        severity: 0 to ``MAX_SEVERITY``.
    """

    name: str
    severity: float

    def __post_init__(self) -> None:
        if self.name not in CORRUPTIONS:
            raise BadInputError(f"noise: expected one of {', '.join(CORRUPTIONS)}, got {self.name!r}")
        if not 0 <= self.severity <= MAX_SEVERITY:
            raise BadInputError(f"noise: expected a severity from 0 to {MAX_SEVERITY:g}, got {self.severity}")

    def __call__(self, frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return CORRUPTIONS[self.name](frame, self.severity, rng)

    def __str__(self) -> str:
        return f"{self.name}:{self.severity:g}"


def parse_noise(text: str | None) -> Noise | None:
    """``NAME:SEVERITY`` -> Noise; None or ``none`` -> None.

    >>> str(parse_noise("gaussian:0.1"))
    'gaussian:0.1'
    """
    if text is None or text == "none":
        return None
    name, _, severity = text.partition(":")
    try:
        return Noise(name, float(severity))
    except ValueError as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(f"noise: expected NAME:SEVERITY such as gaussian:0.1, got {text!r}") from None


def noise_title(noise: Noise | str | None) -> str:
    """Words for a noise, or for its name in figures.

    >>> noise_title(Noise("salt_pepper", 0.1)), noise_title("none")
    ('Salt pepper noise 0.1', 'Clean picture')
    """
    if noise in (None, "none"):
        return "Clean picture"
    name, _, severity = str(noise).partition(":")
    return f"{name.replace('_', ' ').capitalize()} noise {severity}".strip()
