"""What a network is shown and answers, instant by instant: while it drives, or on a recorded drive."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import cv2
import numpy as np

from driving.data import policy_frames
from driving.noise import Noise
from driving.rollout import PolicyOrActor, actor_maker, shape_of
from sim.drive import Drive
from sim.episode_workers import check_size
from sim.episodes import EpisodeLog, EpisodePlan, Instant, Run, advance
from sim.injection import Injection
from sim.lane_env import Info, LaneEnv


class Driven:
    """The instants of one episode that a policy drives, as it goes.

    Attributes:
        log: of the episode; filled in while one iterates.
    """

    def __init__(
        self,
        policy: PolicyOrActor,
        make_env: Callable[[], LaneEnv],
        seed: int,
        seconds: float,
        noise: Noise | None = None,
        show: bool = False,
    ) -> None:
        self.log = EpisodeLog(seed)
        self._arguments = policy, make_env, EpisodePlan(seed, seconds), noise, show

    def __iter__(self) -> Iterator[Instant]:
        """``show``: with a larger picture for people."""
        policy, make_env, plan, noise, show = self._arguments
        actor = actor_maker(policy)()
        with contextlib.closing(make_env()) as env:
            check_size(actor.frame_shape, env)

            def render(instants: Sequence[Instant]) -> None:
                for instant in instants if show else ():
                    picture = env.render()
                    if picture is not None and noise is not None:
                        picture = with_noise_of(picture, instant.frame, instant.clean_frame)
                    instant.picture = picture

            run = Run(env, plan, noise)
            self.log = run.log
            actor.begin(1)
            while not run.is_over:
                yield from advance([run], actor, render)


def together(streams: Mapping[str, Iterable[Instant]], make_env: Callable[[], LaneEnv]) -> dict[str, Iterator[Instant]]:
    """The streams side by side; one after the other, kept in memory, if a process may hold too few such worlds."""
    with contextlib.closing(make_env()) as env:
        limit = type(env).MAX_PER_PROCESS
    if limit is not None and len(streams) > limit:
        return {name: iter(list(stream)) for name, stream in streams.items()}
    return {name: iter(stream) for name, stream in streams.items()}


def with_noise_of(picture: np.ndarray, noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The larger picture with the very noise that the network's small frame got, pixel by pixel."""
    size = (picture.shape[1], picture.shape[0])
    difference = noisy.astype(np.int16) - clean
    larger = cv2.resize(difference, size, interpolation=cv2.INTER_NEAREST)
    return np.clip(picture + larger, 0, 255).astype(np.uint8)


def on_drive(
    policy: PolicyOrActor, drive: Drive, seconds: float | None, noise: Noise | None, seed: int
) -> Iterator[Instant]:
    """The policy sees a recorded drive, open loop; the state is carried along and begins anew at a gap."""
    actor = actor_maker(policy)()
    size = shape_of(actor)[:2]
    frames, dt_s = policy_frames(drive, *size), drive.dt_s()
    injection = noise(seed) if noise else Injection()
    known = set(drive.mask_rows().tolist())
    for segment in drive.segments():
        actor.begin(1)
        since_last_s = 0.0
        for row in range(segment.start, segment.stop):
            time_s = float(drive.timestamps_s[row] - drive.timestamps_s[0])
            if seconds is not None and time_s >= seconds - 1e-6:  # the times are sums of rounded steps
                return
            info: Info = {"dt_s": float(dt_s[row])}  # type: ignore[typeddict-item]  # nothing else is known
            if row in known and drive.road_masks is not None:
                info["road_mask"] = resized_mask(drive.road_masks[row], size)
            since_last_s += info["dt_s"]
            if not injection.arrives(info["dt_s"]):
                continue
            told_s, since_last_s = injection.told_dt_s(info["dt_s"], since_last_s), 0.0
            frame = injection.see(frames[row])
            instant = Instant(frame, frames[row], time_s, told_s, info, injection)
            instant.reference_curvature_per_m = float(drive.curvature_per_m[row])
            instant.picture = drive.frames[row] if noise is None else frame
            actor.act([instant])
            yield instant


def resized_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A road mask at another (height, width): road where it covers half of a pixel."""
    covered = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return covered >= 0.5
