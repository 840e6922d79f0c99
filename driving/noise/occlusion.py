"""What covers a part of the lens."""

from __future__ import annotations

import numpy as np

from driving.noise.draws import lasting, same_all_episode, smooth_noise, to_uint8
from driving.noise.kind import Kind


def patch(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A grey rectangle over a share ``severity`` of the picture, at a new place each frame."""
    height, width = frame.shape[:2]
    side = np.sqrt(min(severity, 1.0))
    h, w = round(height * side), round(width * side)
    top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
    covered = frame.copy()
    covered[top : top + h, left : left + w] = 128
    return covered


def dirt(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Dirt with soft edges over a share ``severity`` of the lens, the same all episode."""
    if severity == 0:
        return frame.copy()
    cover = _spots(rng, frame.shape, min(severity, 1.0))[..., None]
    return to_uint8(frame + cover * (np.array([58, 48, 38], np.float32) - frame))


@same_all_episode
def _spots(rng: np.random.Generator, height: int, width: int, share: float) -> np.ndarray:
    spots = smooth_noise(rng, height, width, height / 6)
    edge = np.quantile(spots, 1.0 - share)
    return np.clip((spots - edge) / 0.06 + 0.5, 0.0, 1.0).astype(np.float32)


def half_lens(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A share ``severity`` of the picture is dark from one side, the same side all episode."""
    width = frame.shape[1]
    columns = np.arange(width) if lasting(rng).random() < 0.5 else np.arange(width)[::-1]
    covered = np.clip((min(severity, 1.0) * width - columns) / (0.02 * width), 0.0, 1.0).astype(np.float32)
    return to_uint8(frame * (1.0 - 0.92 * covered)[:, None].astype(np.float32))


KINDS = (
    Kind("patch", "occlusion", patch, "share of the picture", (0.05, 0.15, 0.35), 1.0),
    Kind("dirt", "occlusion", dirt, "share of the lens", (0.1, 0.25, 0.5), 1.0),
    Kind("half_lens", "occlusion", half_lens, "share of the picture", (0.15, 0.35, 0.5), 1.0),
)
