"""To which side does positive steering turn? The scenery tells: it moves right where the car turns left."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from sim.steering import SteeringUnit

N_FRAMES = 1200
"""Looked at: a minute at 20 Hz."""
MAX_LAG = 6
"""Frames by which steering may go before the picture's motion (a servo, a delayed camera)."""
CERTAIN = 0.3
"""Correlation from which the answer is taken: unrelated motion stays below it (tests)."""

_WIDTH_PX = 160


def guess_positive(
    pictures: Iterable[tuple[int, np.ndarray]], labels: np.ndarray, unit: SteeringUnit
) -> tuple[str, str]:
    """Side that positive steering turns to, and a sentence that says how it is known.

    Args:
        pictures: row and uint8 (H, W, 3), in order.
        labels: steering by row.
        unit: a guess where the pictures do not tell: normalised steering is mostly right positive, angles left.
    """
    flow, steering, before = [], [], None
    for n, (row, picture) in enumerate(pictures):
        if n == N_FRAMES:
            break
        height = max(round(picture.shape[0] * _WIDTH_PX / picture.shape[1]), 16)
        grey = cv2.cvtColor(cv2.resize(picture, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        upper = grey[: max(height // 2, 8)].astype(np.float64)  # far scenery turns, near road also comes closer
        if before is not None and before.shape == upper.shape:
            window = cv2.createHanningWindow(upper.shape[::-1], cv2.CV_64F)
            flow.append(float(np.clip(cv2.phaseCorrelate(before, upper, window)[0][0], -20, 20)))
            steering.append(labels[row])
        before = upper
    correlation = _strongest(np.array(steering), np.array(flow))
    if abs(correlation) >= CERTAIN:
        side = "left" if correlation > 0 else "right"
        return side, f"positive steering is {side}, by the scenery's motion (correlation {correlation:.2f})"
    side = "right" if unit is SteeringUnit.NORMALIZED else "left"
    return side, f"positive steering is assumed to be {side}: the pictures do not tell; say it with --positive"


def _strongest(steering: np.ndarray, flow: np.ndarray) -> float:
    """The correlation of the largest size over the lags."""
    good = np.isfinite(steering)
    found = [0.0]
    for lag in range(MAX_LAG + 1):
        if len(flow) - lag < 20:
            break
        a, b = steering[: len(steering) - lag], flow[lag:]
        keep = good[: len(a)]
        if np.std(a[keep]) > 0 and np.std(b[keep]) > 0:
            found.append(float(np.corrcoef(a[keep], b[keep])[0, 1]))
    return max(found, key=abs)
