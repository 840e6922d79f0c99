"""A printed picture that pushes the steering: one, for all places and moments, on boards beside the road.

Optimised for one network, in white box, over pictures of its own drives (expectation over transformation, Athalye et
al. 2018; Brown et al. 2017); then printed (``poster=FILE`` of the procedural world) and tried on others by ``stress``:

    python -m driving.poster --policy ltc19 --out poster.png
    liquid-lane stress --policies ltc19 lstm64 --noises none --env-option poster=poster.png --out sweeps/poster
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from driving.models import checkpoint
from driving.models.policy import Policy, to_tensor
from driving.rollout import PolicyActor
from driving.settings import env_maker
from sim.conventions import FRAME_RATE_HZ
from sim.episodes import EpisodePlan, Instant, Run, advance
from sim.files import new_file
from sim.poster import HEIGHT_PX, WIDTH_PX, boards_in_view, printed, seen_light
from sim.procedural_env import ProceduralEnv
from sim.render import lens_of

SEEDS, SECONDS, EVERY = range(10_000, 10_016), 20.0, 4
N_STEPS, BATCH, RATE = 200, 16, 0.05
LEFT, RIGHT = 1.0, -1.0


@dataclass(frozen=True)
class Place:
    """One moment of a drive with boards in view.

    Attributes:
        frame: uint8 (H, W, 3), without the picture.
        state: (S,) before it.
        boards: far to near, how each sees the printed picture: (3, 3) from the camera's pixels to the printed ones,
            and (3,) gain and (3,) offset of its colours.
    """

    frame: np.ndarray
    state: Tensor
    boards: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]


def places_of(policy: Policy, seeds: Sequence[int] = SEEDS, seconds: float = SECONDS) -> list[Place]:
    """Every fourth moment with a board in view, of drives of the policy in the procedural world."""
    found: list[Place] = []
    with contextlib.closing(env_maker("lane/Procedural-v0", {}, seconds)()) as env:
        assert isinstance(env, ProceduralEnv)

        def watch(instants: Sequence[Instant]) -> None:
            (one,) = instants
            if round(one.time_s * FRAME_RATE_HZ) % EVERY == 0 and (boards := _boards(env)):
                found.append(Place(one.frame.copy(), one.state_before.clone(), boards))

        for seed in seeds:
            actor = PolicyActor(policy)
            actor.begin(1)
            run = Run(env, EpisodePlan(seed, seconds))
            while not run.is_over:
                advance([run], actor, watch)
    return found


def _boards(env: ProceduralEnv) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]:
    road, s_m, _ = env._road_here()
    x_m, y_m, heading_rad = env._pose()
    lens = lens_of(x_m, y_m, heading_rad)
    edge_m, camera = env.scene.section.right_edge_m, env.camera
    corners = printed((HEIGHT_PX, WIDTH_PX))
    return tuple(
        (cv2.getPerspectiveTransform(board.corners_px, corners), *seen_light(env.scene.atmosphere, board.depth_m))
        for board in boards_in_view(road, edge_m, camera, s_m, *lens, heading_rad)
    )


def printed_into(picture: Tensor, places: Sequence[Place]) -> Tensor:
    """Frames (B, 3, H, W) in [0, 1] with ``picture`` (3, h, w) in [0, 1] on their boards; gradients flow into it."""
    frames = []
    for place in places:
        frame = to_tensor(place.frame).float() / 255.0
        height, width = frame.shape[-2:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        pixels = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).float()
        for matrix, gain, offset in place.boards:
            at = pixels @ torch.from_numpy(matrix).float().T
            at = at[..., :2] / at[..., 2:].clamp(min=1e-6)
            size = torch.tensor([picture.shape[2], picture.shape[1]])
            grid = (2 * at + 1) / size - 1  # pixel areas, as grid_sample has them
            inside = ((grid.abs() <= 1).all(dim=-1)).float()[None]
            # Far boards: as many texels as pixels, or single texels would decide.
            scale = float(np.sqrt(max(inside.sum().item(), 1.0) / (picture.shape[1] * picture.shape[2])))
            small = picture[None]
            if scale < 1:
                fewer = max(round(picture.shape[1] * scale), 1), max(round(picture.shape[2] * scale), 1)
                small = F.adaptive_avg_pool2d(small, fewer)
            seen = F.grid_sample(small, grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
            light, haze = (torch.from_numpy(np.asarray(x)).float()[:, None, None] for x in (gain, offset))
            frame = frame * (1 - inside) + (seen * light + haze).clamp(0, 1) * inside
        frames.append(frame)
    return torch.stack(frames)


def optimise(
    policy: Policy, places: Sequence[Place], direction: float = LEFT, n_steps: int = N_STEPS, seed: int = 0
) -> tuple[np.ndarray, list[float]]:
    """The picture uint8 (52, 80, 3) RGB that steers most to one side, and the mean push (1/m) of every step."""
    rng = np.random.default_rng(seed)
    policy = policy.eval().requires_grad_(False)
    ink = torch.zeros(3, HEIGHT_PX, WIDTH_PX, requires_grad=True)
    optimizer, pushes = torch.optim.Adam([ink], lr=RATE), []
    for _ in range(n_steps):
        some = [places[i] for i in rng.choice(len(places), min(BATCH, len(places)), replace=False)]
        states = torch.stack([place.state for place in some])
        clean = to_tensor(np.stack([place.frame for place in some]))
        with torch.no_grad():
            before = policy.step(clean, states, 1 / FRAME_RATE_HZ)[0]
        after = policy.step(printed_into(torch.sigmoid(ink), some), states, 1 / FRAME_RATE_HZ)[0]
        push = direction * (after - before).mean()
        optimizer.zero_grad()
        (-push).backward()
        if ink.grad is not None:
            ink.grad /= ink.grad.norm().clamp_min(1e-12) / np.sqrt(ink.numel())  # the size of a push is tiny
        optimizer.step()
        pushes.append(float(push.detach()))
    picture: Any = (torch.sigmoid(ink).detach() * 255).round().to(torch.uint8).movedim(0, -1).contiguous().numpy()
    return picture, pushes


def main() -> None:
    """Optimise and write one picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="ltc19")
    parser.add_argument("--out", type=Path, default=Path("poster.png"))
    parser.add_argument("--side", choices=("left", "right"), default="left", help="where it steers to")
    parser.add_argument("--steps", type=int, default=N_STEPS)
    given = parser.parse_args()
    policy = checkpoint.load(given.policy)
    places = places_of(policy)
    picture, pushes = optimise(policy, places, LEFT if given.side == "left" else RIGHT, given.steps)
    with new_file(given.out) as unfinished:
        unfinished.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    first, last = pushes[0], float(np.mean(pushes[-20:]))
    print(f"{given.out}: {len(places)} moments; steers {last:.5f} 1/m to the {given.side} (at first {first:.5f})")


if __name__ == "__main__":
    main()
