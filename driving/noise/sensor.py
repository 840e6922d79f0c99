"""Noise of the image sensor."""

from __future__ import annotations

import functools
import math

import numpy as np

from driving.noise.draws import at, lasting, normal, to_uint8, uniform16
from driving.noise.kind import Kind, hendrycks

_N_SHOT = 1024


def gaussian(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """White noise of variance ``severity`` on the [0, 1] picture, each pixel and channel on its own.

    Lechner et al. 2020 use variances 0.1, 0.2 and 0.3. The result is rounded and clipped to the range of a
    camera, which takes away a part of strong noise.
    """
    return to_uint8(frame + np.float32(255.0 * math.sqrt(severity)) * normal(rng, frame.shape))


def gaussian_noise(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """White noise as of low light: standard deviations 0.08 to 0.38 (Hendrycks and Dietterich 2019)."""
    return gaussian(frame, at(severity, (0.0, 0.08, 0.12, 0.18, 0.26, 0.38)) ** 2, rng)


def shot_noise(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Each value is a count of photons: a Poisson number, 60 to 3 of them at white (Hendrycks and Dietterich 2019)."""
    per_photon = at(severity, (0.0, 1 / 60, 1 / 25, 1 / 12, 1 / 5, 1 / 3))
    if per_photon == 0:
        return frame.copy()
    places = frame.astype(np.int32)
    places *= _N_SHOT
    places += uniform16(rng, frame.shape) >> 6  # 1,024 quantiles
    return np.take(_shot_table(per_photon), places)


@functools.lru_cache(maxsize=16)
def _shot_table(per_photon: float) -> np.ndarray:
    """Quantiles of the Poisson numbers of each of the 256 values, as grey values uint8 (256 * 1024,)."""
    means = np.arange(256) / 255.0 / per_photon
    counts = np.arange(math.ceil(means[-1] + 8 * math.sqrt(means[-1])) + 8)
    log_factorial = np.cumsum(np.log(np.maximum(counts, 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = counts * np.log(means[:, None]) - means[:, None] - log_factorial
    below = np.cumsum(np.exp(log_p), axis=1)
    below[0] = 1.0  # no light, no photon
    places = (np.arange(_N_SHOT) + 0.5) / _N_SHOT
    photons = np.stack([np.searchsorted(row, places) for row in below])
    return to_uint8(255.0 * per_photon * photons).ravel()


def impulse_noise(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A share 0.03 to 0.27 of the values becomes 0 or 255 (Hendrycks and Dietterich 2019)."""
    share = at(severity, (0.0, 0.03, 0.06, 0.09, 0.17, 0.27))
    draw = uniform16(rng, frame.shape)
    noisy = frame.copy()
    np.copyto(noisy, 0, where=draw < round(share * 2**15))
    np.copyto(noisy, 255, where=draw >= 2**16 - round(share * 2**15))
    return noisy


def speckle(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Noise that grows with the light: a standard deviation of ``severity`` times the value."""
    return to_uint8(frame * (1.0 + np.float32(severity) * normal(rng, frame.shape)))


def salt_pepper(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A share ``severity`` of the pixels becomes black or white."""
    draw = rng.random(frame.shape[:2], dtype=np.float32)[..., None]
    noisy = frame.copy()
    np.copyto(noisy, 255, where=draw < severity)
    np.copyto(noisy, 0, where=draw < severity / 2)
    return noisy


def dead_pixels(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A share ``severity`` of the pixels is black or white for the whole episode."""
    return salt_pepper(frame, severity, lasting(rng))


def dead_rows(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A share ``severity`` of the rows is black for the whole episode."""
    noisy = frame.copy()
    noisy[lasting(rng).random(frame.shape[0]) < severity] = 0
    return noisy


KINDS = (
    Kind("gaussian", "sensor", gaussian, "variance on [0, 1] pictures", (0.1, 0.2, 0.3), 100.0, "Gaussian noise"),
    hendrycks("gaussian_noise", "sensor", gaussian_noise),
    hendrycks("shot_noise", "sensor", shot_noise),
    hendrycks("impulse_noise", "sensor", impulse_noise),
    Kind("speckle", "sensor", speckle, "standard deviation as a share of the value", (0.2, 0.4, 0.6), 100.0),
    Kind("salt_pepper", "sensor", salt_pepper, "share of the pixels", (0.05, 0.15, 0.3), 1.0, "Salt and pepper"),
    Kind("dead_pixels", "sensor", dead_pixels, "share of the pixels", (0.01, 0.05, 0.15), 1.0),
    Kind("dead_rows", "sensor", dead_rows, "share of the rows", (0.05, 0.15, 0.3), 1.0),
)
