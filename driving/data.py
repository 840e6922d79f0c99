"""From recorded drives to training batches: windows, and what is done to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sim.checks import NOT_NEGATIVE, SHARE, check_numbers
from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX
from sim.drive import Drive
from sim.drive import load_drive as load_drive
from sim.drive import parse_drive_spec as parse_drive_spec
from sim.errors import BadInputError
from sim.expert import RECOVERY_S, recovery_curvature_per_m
from sim.frame_cache import release, scaled
from sim.viewpoint import Move, Viewpoint


def policy_frames(drive: Drive, height_px: int = FRAME_HEIGHT_PX, width_px: int = FRAME_WIDTH_PX) -> np.ndarray:
    """The drive's pictures at the size a policy sees, uint8 (T, H, W, 3).

    Raises:
        BadInputError: the pictures' shape is another one (an importer cuts them to it).
    """
    if drive.frames.shape[1:3] == (height_px, width_px):
        return drive.frames
    drive.check_aspect(height_px, width_px)
    return np.stack([scaled(frame, height_px, width_px) for frame in drive.frames])


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to a training window; every frame of a window is treated alike.

    Attributes:
        mirror: probability of a left-right mirror image with mirrored label; online, of an episode that is seen and
            steered in a mirror. No symmetry where the car keeps to one side of a two-lane road, so 0 unless the data
            are few, or a policy shall know both sides.
        shift_m, yaw_rad: largest move of the viewpoint to a side, and turn; the label gets the correction
            that steers back (see ``recovery_curvature_per_m``). A policy's picture has the whole width of the recorded
            one, so there is no margin to move into: what a move uncovers repeats the border.
        recovery_s: time in which that correction leads back to the path.
        light: strength of random gain, gamma, tint and contrast; 0 to 1.
        shadow: probability of straight shadows and streaks of light across the picture (Lechner et al. 2020).
        noise: standard deviation of white noise on [0, 1] pictures, drawn up to this. Zero unless asked for,
            so that noise in a robustness test was never seen before.
    """

    mirror: float = 0.0
    shift_m: float = 0.0
    yaw_rad: float = 0.0
    recovery_s: float = RECOVERY_S
    light: float = 0.3
    shadow: float = 0.2
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_numbers("training", self, NOT_NEGATIVE, *vars(self))
        check_numbers("training", self, SHARE, "mirror", "shadow", "light")


@dataclass(frozen=True)
class Batch:
    """Windows of T frames: uint8 (B, T, H, W, 3), their labels, time steps and speeds float32 (B, T)."""

    frames: np.ndarray
    curvature_per_m: np.ndarray
    dt_s: np.ndarray
    speed_mps: np.ndarray


class Windows:
    """All windows of ``length`` consecutive frames of some drives; none crosses a gap or a drive's end.

    Args:
        drives: any sizes of the policy's aspect ratio.
        length: frames a window.
        typical_speed_mps: assumed where a drive has no speed.
        height_px, width_px: size of the policy's pictures.
    """

    def __init__(
        self,
        drives: Sequence[Drive],
        length: int,
        typical_speed_mps: float = 15.0,
        height_px: int = FRAME_HEIGHT_PX,
        width_px: int = FRAME_WIDTH_PX,
    ) -> None:
        if not drives:
            raise BadInputError("training: expected at least one drive, got none; name them with --data")
        self.length = length
        self._drives = drives
        self._frames = [policy_frames(drive, height_px, width_px) for drive in drives]
        self._viewpoints = [
            Viewpoint(drive.camera.resized(height_px, width_px), height_px, width_px) for drive in drives
        ]
        self._dt_s = [drive.dt_s().astype(np.float32) for drive in drives]
        self._speed_mps = [
            drive.speed_mps if drive.speed_mps is not None else np.full(len(drive), typical_speed_mps, np.float32)
            for drive in drives
        ]
        starts = [
            np.stack([np.full(n, i), np.arange(segment.start, segment.start + n)], axis=1)
            for i, drive in enumerate(drives)
            for segment in drive.segments()
            if (n := segment.stop - segment.start - length + 1) > 0
        ]
        if not starts:
            raise BadInputError(
                f"training: no run of {length} frames without a gap in the drives given; "
                "record longer or use a smaller --window"
            )
        self._starts = np.concatenate(starts)  # (number of windows, 2): drive, first row

    def __len__(self) -> int:
        return len(self._starts)

    def sample(self, batch: int, seed: tuple[int, ...], augment: AugmentConfig | None = None) -> Batch:
        """``batch`` windows drawn with replacement; the same ``seed`` gives the same ones, changes included.

        The choice of windows and each augmentation have random streams of their own.
        """
        order = np.random.default_rng([*seed, 0])
        chosen = self._starts[order.integers(len(self._starts), size=batch)]
        frames, labels, times, speeds = [], [], [], []
        streams = {name: np.random.default_rng([*seed, 1 + i]) for i, name in enumerate(_STREAMS)}
        for i_drive, start in chosen:
            rows = slice(start, start + self.length)
            window, label = self._frames[i_drive][rows], self._drives[i_drive].curvature_per_m[rows]
            if augment is not None:
                window, label = _augmented(
                    window, label, self._viewpoints[i_drive], self._speed_mps[i_drive][rows], augment, streams
                )
            frames.append(window)
            labels.append(label)
            times.append(self._dt_s[i_drive][rows])
            speeds.append(self._speed_mps[i_drive][rows])
        pictures = np.stack(frames)
        for i_drive in set(chosen[:, 0].tolist()):
            release(self._frames[i_drive])
        return Batch(pictures, np.stack(labels).astype(np.float32), np.stack(times), np.stack(speeds))


_STREAMS = ("mirror", "viewpoint", "light", "shadow", "noise")


def _augmented(
    window: np.ndarray,
    label: np.ndarray,
    viewpoint: Viewpoint,
    speed_mps: np.ndarray,
    augment: AugmentConfig,
    streams: dict[str, np.random.Generator],
) -> tuple[np.ndarray, np.ndarray]:
    """A changed copy of one window (T, H, W, 3) and its label (T,)."""
    if augment.shift_m > 0 or augment.yaw_rad > 0:
        rng = streams["viewpoint"]
        left_m = rng.uniform(-augment.shift_m, augment.shift_m)
        yaw_rad = rng.uniform(-augment.yaw_rad, augment.yaw_rad)
        move = Move(left_m=left_m, yaw_rad=yaw_rad)
        window = np.stack([viewpoint.frame(frame, move) for frame in window])
        back = recovery_curvature_per_m(left_m, yaw_rad, speed_mps, augment.recovery_s)
        label = label + np.asarray(back, np.float32)
    if streams["mirror"].random() < augment.mirror:
        window, label = window[:, :, ::-1], -label
    if augment.light > 0:
        window = cv2.LUT(
            np.ascontiguousarray(window).reshape(-1, window.shape[2], 3), _light_table(streams["light"], augment.light)
        ).reshape(window.shape)
    if streams["shadow"].random() < augment.shadow:
        window = _shadowed(window, streams["shadow"])
    if augment.noise > 0:
        rng = streams["noise"]
        scale = 255 * rng.uniform(0, augment.noise)
        noisy = window + scale * rng.standard_normal(window.shape, dtype=np.float32)
        window = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return window, label


def _light_table(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Look-up table (1, 256, 3) uint8: gamma, gain, contrast and tint in one."""
    value = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(rng.uniform(-0.7, 0.7) * strength)
    gain = np.exp(rng.uniform(-0.8, 0.8) * strength) * np.exp(rng.uniform(-0.2, 0.2, 3) * strength)
    contrast = np.exp(rng.uniform(-0.5, 0.5) * strength)
    changed = ((value**gamma - 0.5) * contrast + 0.5) * gain
    return np.clip(np.rint(255 * changed), 0, 255).astype(np.uint8)[None]


def _shadowed(window: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The window (T, H, W, 3) under ``_shadow_factor``."""
    n_frames, height, width, _ = window.shape
    factor = _shadow_factor(n_frames, height, width, rng)
    return np.minimum(window * factor[..., None], 255).astype(np.uint8)


def _shadow_factor(n_frames: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Brightness (T, H, W): one to three straight bands, darker or brighter, that drift through the window."""
    factor = np.ones((n_frames, height, width), np.float32)
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    for _ in range(rng.integers(1, 4)):
        angle = rng.uniform(0, np.pi)
        place = u * np.cos(angle) + 2.0 * v * np.sin(angle)
        middle, half_px = rng.uniform(place.min(), place.max()), rng.uniform(4, 50)
        drift_px = rng.uniform(-3, 3)
        strength = rng.uniform(0.3, 0.75) if rng.random() < 0.75 else rng.uniform(1.2, 1.7)
        for k in range(n_frames):
            cover = np.clip((half_px - np.abs(place - middle - k * drift_px)) / 2 + 0.5, 0, 1)
            factor[k] *= 1 + (strength - 1) * cover
    return factor


class EpisodeAugmentation:
    """What is done to the pictures of one running episode, frame by frame.

    One look-up table of light for the whole episode; shadows and noise are drawn anew for every window, as for
    recorded ones. Each has a random stream of its own.

    Args:
        augment: what is done; not the viewpoint, as a running world has its camera, and not mirror images
            (``driving.online``).
        seed: of the episode.
        n_frames: of a window.
    """

    def __init__(self, augment: AugmentConfig, seed: Sequence[int], n_frames: int) -> None:
        light_rng, self._shadow_rng, self._noise_rng = (np.random.default_rng([*seed, key]) for key in range(3))
        self._augment, self._n_frames = augment, n_frames
        self._table = _light_table(light_rng, augment.light) if augment.light > 0 else None
        self._shadow: np.ndarray | None = None
        self._noise_level = 0.0

    def begin_window(self, height: int, width: int) -> None:
        """Draw the shadows and the strength of the noise of the next window."""
        is_shadowed = self._shadow_rng.random() < self._augment.shadow
        self._shadow = _shadow_factor(self._n_frames, height, width, self._shadow_rng) if is_shadowed else None
        if self._augment.noise > 0:
            self._noise_level = 255 * self._noise_rng.uniform(0, self._augment.noise)

    def apply(self, frame: np.ndarray, i_frame: int, out: np.ndarray) -> None:
        """Frame ``i_frame`` of the window, uint8 (H, W, 3), changed into ``out`` of the same shape."""
        if self._table is not None:
            cv2.LUT(frame, self._table, out)
        else:
            np.copyto(out, frame)
        if self._shadow is not None:
            shadowed = out * self._shadow[i_frame][..., None]
            np.copyto(out, np.minimum(shadowed, 255, out=shadowed), casting="unsafe")
        if self._augment.noise > 0:
            noisy = out + self._noise_level * self._noise_rng.standard_normal(out.shape, dtype=np.float32)
            np.copyto(out, np.clip(np.rint(noisy), 0, 255), casting="unsafe")
