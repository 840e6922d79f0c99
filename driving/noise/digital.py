"""What processing and transport do to a picture: light, colour, compression."""

from __future__ import annotations

import cv2
import numpy as np

from driving.noise.draws import at, to_uint8
from driving.noise.kind import HENDRYCKS_PX, Kind, hendrycks

_DAYLIGHT_K = 6500.0
_BLACK_BODY = np.array(
    [
        *([1000, 255, 56, 0], [1500, 255, 109, 0], [2000, 255, 137, 18], [2500, 255, 161, 72], [3000, 255, 180, 107]),
        *([3500, 255, 196, 137], [4000, 255, 209, 163], [4500, 255, 219, 186], [5000, 255, 228, 206]),
        *([5500, 255, 236, 224], [6000, 255, 243, 239], [6500, 255, 249, 253]),
    ],
    float,
)
"""sRGB of a black body by its temperature in K (CIE 1964, after M. Charity's table)."""


def exposure(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Every frame is brighter or darker by up to ``severity`` of the full range, like a hunting exposure."""
    return cv2.LUT(frame, to_uint8(np.arange(256) + 255.0 * severity * rng.uniform(-1, 1)))


def brightness(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Brighter by 0.1 to 0.5 of the range, colours kept (Hendrycks and Dietterich 2019)."""
    more = 255.0 * at(severity, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5))
    if severity == 0:
        return frame.copy()
    values = np.arange(256)
    wanted = np.minimum(values + more, 255.0)
    value = np.maximum(np.maximum(frame[..., 0], frame[..., 1]), frame[..., 2])  # of hue, saturation and value
    factor = np.where(values > 0, wanted / np.maximum(values, 1), 0.0).astype(np.float32)[value]
    of_black = np.where(values > 0, 0.0, wanted).astype(np.float32)[value]
    return to_uint8(frame * factor[..., None] + of_black[..., None])


def contrast(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Contrast against the mean of each channel, 0.4 to 0.05 of what it was (Hendrycks and Dietterich 2019)."""
    share, mean = at(severity, (1.0, 0.4, 0.3, 0.2, 0.1, 0.05)), np.array(cv2.mean(frame)[:3])
    return _through_table(frame, (np.arange(256)[:, None] - mean) * share + mean)


def _through_table(frame: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Every value replaced by that of ``table`` (256, 3), one column a channel."""
    return cv2.LUT(frame, to_uint8(table)[None])


def saturation(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A share ``severity`` of the colour is lost; at 1 the picture is grey."""
    grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(frame, 1.0 - severity, grey, severity, 0.0)


def colour_temperature(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """White balance ``severity`` mired (million / K) too warm: 100 makes daylight of 6,500 K look like 3,940 K."""
    kelvin = 1e6 / (1e6 / _DAYLIGHT_K + severity)
    there, daylight = (
        np.array([np.interp(k, _BLACK_BODY[:, 0], _BLACK_BODY[:, c]) for c in (1, 2, 3)]) for k in (kelvin, _DAYLIGHT_K)
    )
    return _through_table(frame, np.arange(256)[:, None] * (there / daylight))


def pixelate(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Scaled down to 0.6 to 0.25 of its size and up again in squares (Hendrycks and Dietterich 2019)."""
    share = at(severity, (1.0, 0.6, 0.5, 0.4, 0.3, 0.25))
    height, width = frame.shape[:2]
    small = cv2.resize(
        frame, (max(1, round(width * share)), max(1, round(height * share))), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def jpeg_compression(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG of quality 25 to 7 (Hendrycks and Dietterich 2019)."""
    if severity == 0:
        return frame.copy()
    quality = round(at(severity, (100, 25, 18, 15, 10, 7)))
    _, packed = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    unpacked = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert unpacked is not None  # it was packed just now
    return np.ascontiguousarray(unpacked[..., ::-1])


def elastic_transform(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Drawn out of shape: an affine map of three random points and a random field (Hendrycks and Dietterich 2019)."""
    if severity == 0:
        return frame.copy()
    height, width = frame.shape[:2]
    scale = 244 * height / HENDRYCKS_PX  # their numbers are shares of 244
    strength = scale * at(severity, (0, 2.0, 2.0, 0.05, 0.07, 0.12))
    sigma = scale * at(severity, (0.7, 0.7, 0.08, 0.01, 0.01, 0.01))
    jitter = scale * at(severity, (0, 0.1, 0.2, 0.02, 0.02, 0.02))
    middle, reach = np.array([width, height]) / 2, min(width, height) / 3
    points = np.array([middle + reach, [middle[0] + reach, middle[1] - reach], middle - reach], np.float32)
    moved = points + rng.uniform(-jitter, jitter, points.shape).astype(np.float32)
    bent = cv2.warpAffine(
        frame, cv2.getAffineTransform(points, moved), (width, height), borderMode=cv2.BORDER_REFLECT_101
    )
    places = _field(rng, height, width, sigma)
    places *= np.float32(strength)
    places[..., 0] += np.arange(width, dtype=np.float32)
    places[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(bent, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _field(rng: np.random.Generator, height: int, width: int, sigma: float) -> np.ndarray:
    """Twice white noise in [-1, 1] under a Gaussian of ``sigma`` pixels, (H, W, 2); a wide one is made small and
    enlarged."""
    smaller = max(1, int(sigma / 2))
    rows, columns = -(-height // smaller), -(-width // smaller)
    noise = (2 * rng.random((rows, columns, 2), dtype=np.float32) - 1) / np.float32(
        smaller
    )  # the mean of so many each way
    field = cv2.GaussianBlur(noise, (0, 0), max(sigma / smaller, 0.05), borderType=cv2.BORDER_REFLECT_101)
    return field if smaller == 1 else cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)


KINDS = (
    Kind("exposure", "digital", exposure, "share of the range", (0.1, 0.25, 0.5), 100.0),
    hendrycks("brightness", "digital", brightness),
    hendrycks("contrast", "digital", contrast),
    Kind("saturation", "digital", saturation, "share of the colour", (0.3, 0.7, 1.0), 1.0),
    Kind("colour_temperature", "digital", colour_temperature, "mired", (50.0, 120.0, 250.0), 800.0),
    hendrycks("pixelate", "digital", pixelate),
    hendrycks("jpeg_compression", "digital", jpeg_compression),
    hendrycks("elastic_transform", "digital", elastic_transform),
)
