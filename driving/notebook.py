"""What shows itself in a notebook: maps over their pictures, circuits, short clips."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from driving.models.policy import Policy
from driving.video import VideoWriter
from driving.video.overlay import camera_view

LARGER = 3
"""Small pictures are shown so many times as large."""


@dataclass(frozen=True, repr=False)
class AttentionMap:
    """A map (H, W) in [0, 1] over its picture, uint8 (H, W, 3) RGB; the road outlined where its mask is known.

    >>> AttentionMap(np.zeros((78, 200, 3), np.uint8), np.zeros((78, 200)))
    AttentionMap(78 x 200)
    """

    picture: np.ndarray
    attention: np.ndarray
    road_mask: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"AttentionMap({self.attention.shape[0]} x {self.attention.shape[1]})"

    def _repr_png_(self) -> bytes:
        height, width = (LARGER * side for side in self.attention.shape)
        canvas = np.zeros((height, width, 3), np.uint8)
        camera_view(canvas, (0, 0, width, height), self.picture, self.attention, self.road_mask)
        return _png(canvas)


@dataclass(frozen=True, repr=False)
class Circuit:
    """The circuit of a policy, its neurons coloured by ``states`` (K,) where these are given.

    Raises:
        BadInputError: when it is shown, for a core that is no circuit.
    """

    policy: Policy
    states: np.ndarray | None = None
    title: str = ""

    def __repr__(self) -> str:
        return f"Circuit({self.policy!r})"

    def _repr_png_(self) -> bytes:
        from driving.circuit_plot import save_circuit  # matplotlib is slow to import

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "circuit.png"
            save_circuit(self.policy.core, path, self.states, self.title or self.policy.title)
            return path.read_bytes()


@dataclass(frozen=True, repr=False)
class Clip:
    """Frames uint8 (H, W, 3) RGB of one size, as a video of ``fps`` frames a second that plays in the page.

    >>> Clip([np.zeros((78, 200, 3), np.uint8)] * 40, fps=20)
    Clip(40 frames of 78 x 200, 2.0 s)
    """

    frames: Sequence[np.ndarray]
    fps: float = 20.0

    def __repr__(self) -> str:
        height, width = self.frames[0].shape[:2] if len(self.frames) else (0, 0)
        return f"Clip({len(self.frames)} frames of {height} x {width}, {len(self.frames) / self.fps:.1f} s)"

    def _repr_html_(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            scale = LARGER if self.frames[0].shape[1] < 400 else 1
            height, width = (2 * round(scale * side / 2) for side in self.frames[0].shape[:2])
            with VideoWriter(path, self.fps, height, width) as video:
                for frame in self.frames:
                    video.write(cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC))
            data = base64.b64encode(path.read_bytes()).decode()
        return f'<video controls loop muted width="{width}" src="data:video/mp4;base64,{data}"></video>'


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    buffer: Any = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return bytes(buffer.getvalue())
