"""What a network is shown and answers, instant by instant: while it drives, or on a recorded drive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from driving.data import policy_frames
from driving.models.policy import Policy
from driving.noise import Noise
from driving.rollout import NOISE_STREAM, EpisodeLog, drive_steps
from sim.drive import Drive


@dataclass
class Look:
    """One network at one instant: what it was shown, what it answered.

    Attributes:
        frame, clean_frame: uint8 (H, W, 3), with the noise the network saw and without.
        state_before, state: of the core (S,).
        picture: uint8, for people; may be larger than the frame.
        curvature_per_m: the command.
        time_s: since the start.
        road_mask: bool (H, W) where known.
        reference_curvature_per_m: what was steered on a recorded drive.
        lateral_offset_m, lane_half_width_m: where an environment tells them.
    """

    frame: np.ndarray
    clean_frame: np.ndarray
    state_before: torch.Tensor
    state: torch.Tensor
    picture: np.ndarray
    curvature_per_m: float
    time_s: float
    road_mask: np.ndarray | None = None
    reference_curvature_per_m: float | None = None
    lateral_offset_m: float | None = None
    lane_half_width_m: float | None = None


def looks_in_env(
    policy: Policy,
    make_env: Callable[[], Any],
    log: EpisodeLog,
    seconds: float,
    noise: Noise | None,
    show: bool,
) -> Iterator[Look]:
    """The policy drives one episode; ``log`` is filled in. ``show``: render a larger picture for people."""
    env = make_env()
    try:
        for (step,) in drive_steps(policy, [env], [log], seconds, noise):
            picture = env.render() if show else None
            if picture is not None and noise is not None:
                picture = _with_noise_of(picture, step.frame, step.clean_frame)
            yield Look(
                frame=step.frame,
                clean_frame=step.clean_frame,
                state_before=step.state_before,
                state=step.state,
                picture=step.frame if picture is None else picture,
                curvature_per_m=step.curvature_per_m,
                time_s=step.time_s,
                road_mask=step.info.get("road_mask"),
                lateral_offset_m=step.info["lateral_offset_m"],
                lane_half_width_m=step.info.get("lane_half_width_m"),
            )
    finally:
        env.close()


def _with_noise_of(picture: np.ndarray, noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The larger picture with the very noise that the network's small frame got, pixel by pixel."""
    size = (picture.shape[1], picture.shape[0])
    difference = noisy.astype(np.int16) - clean
    return np.clip(picture + cv2.resize(difference, size, interpolation=cv2.INTER_NEAREST), 0, 255).astype(
        np.uint8
    )


@torch.no_grad()
def looks_on_drive(
    policy: Policy, drive: Drive, seconds: float | None, noise: Noise | None, seed: int
) -> Iterator[Look]:
    """The policy sees a recorded drive, open loop; the state is carried along and begins anew at a gap."""
    policy.eval()
    size = (policy.config.height_px, policy.config.width_px)
    frames, dt_s = policy_frames(drive, *size), drive.dt_s()
    rng = np.random.default_rng([seed, NOISE_STREAM])
    known = set(drive.mask_rows().tolist())
    for segment in drive.segments():
        state = policy.initial_state(1)
        for row in range(segment.start, segment.stop):
            time_s = float(drive.timestamps_s[row] - drive.timestamps_s[0])
            if seconds is not None and time_s >= seconds - 1e-6:  # the times are sums of rounded steps
                return
            frame = noise(frames[row], rng) if noise else frames[row]
            before = state
            tensor = torch.from_numpy(frame).movedim(-1, 0)[None]
            curvature, state = policy.step(tensor, before, float(dt_s[row]))
            mask = None
            if row in known and drive.road_masks is not None:
                covered = cv2.resize(
                    drive.road_masks[row].astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA
                )
                mask = covered >= 0.5
            yield Look(
                frame=frame,
                clean_frame=frames[row],
                state_before=before[0],
                state=state[0],
                picture=drive.frames[row] if noise is None else frame,
                curvature_per_m=float(curvature[0]),
                time_s=time_s,
                road_mask=mask,
                reference_curvature_per_m=float(drive.curvature_per_m[row]),
            )
