"""Online training: the policy drives, the privileged expert labels, the state is carried from window to window.

Imitation in closed loop (DAgger; Ross, Gordon and Bagnell 2011) with back-propagation through time truncated at the
window (Williams and Peng 1990): training sees the places and the states of the core that the policy itself runs into.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from driving.data import EpisodeAugmentation
from driving.models.policy import Policy, to_tensor
from driving.train import EncodedWindows, TrainConfig, WindowSource, encode
from sim.checks import NOT_NEGATIVE, SHARE, Number, check_numbers, whole
from sim.disturbance import GENTLE_KICKS, Disturbance
from sim.episodes import EpisodePlan, Instant, Run, advance
from sim.errors import BadInputError
from sim.lane_env import LaneEnv
from sim.record import random_start

# One random stream for each cause, beside the run's and the episode's seed.
_STREAMS = {"kicks": 0, "start": 1, "driver": 2, "augmentation": 3, "length": 4}
_MIRROR = 1000
"""Key of the stream that decides on a mirror; retries share it, so that they see the same place again."""
END_OF_SEEDS = 500_000
"""Training uses no seed from here on: they are kept for the last test."""
N_RECENT = 100
"""Steps over which crashes are counted for ``metrics.json``."""


@dataclass(frozen=True)
class OnlineConfig:
    """Settings of online training, which is a curriculum in three parts.

    First the expert drives, in short episodes: an untrained policy would only show how to leave the road, and many
    different roads teach more than long stretches of few. Then the policy drives more and more of the episodes, and
    they become longer. In the last part the policy drives most of them, for long enough to run into its own faults.

    Attributes:
        episode_seconds: length of an episode of the last part that does not crash.
        first_seconds: length of one of the first part, unless ``episode_seconds`` is shorter.
        expert_share: share of the episodes that the expert drives in the last part.
        first_part: share of the steps in which the expert drives, in short episodes.
        second_part: share of the steps after these in which the policy takes over and the episodes grow.
        first_seed: no episode has a smaller seed; those below are for tests.
        start_offset_m, start_heading_rad: every second episode starts off the middle, this far at most.
        disturbance: kicks, whoever drives; gentler than a recording's, as the policy's own errors are seen as well.
        n_retries: the policy drives a stretch of road on which it crashed so many times again at most, until it
            survives, with other kicks: hard places come more often (compare the prioritised levels of Jiang et al.
            2021).
    """

    episode_seconds: float = 8.0
    first_seconds: float = 1.6
    expert_share: float = 0.2
    first_part: float = 0.12
    second_part: float = 0.2
    first_seed: int = 10_000
    start_offset_m: float = 0.9
    start_heading_rad: float = 0.06
    disturbance: Disturbance = GENTLE_KICKS
    n_retries: int = 2

    def __post_init__(self) -> None:
        check_numbers("training", self, Number(0, 3600, is_above=True), "episode_seconds", "first_seconds")
        check_numbers("training", self, SHARE, "expert_share", "first_part", "second_part")
        check_numbers("training", self, whole(0, END_OF_SEEDS - 1), "first_seed")
        check_numbers("training", self, NOT_NEGATIVE, "start_offset_m", "start_heading_rad")
        check_numbers("training", self, whole(0), "n_retries")

    def stage(self, step: int, n_steps: int) -> float:
        """0 in the first part of ``n_steps``, 1 in the last, rising linearly in between."""
        beyond = step / n_steps - self.first_part
        return min(max(beyond / self.second_part, 0.0), 1.0) if self.second_part > 0 else float(beyond >= 0)

    def expert_probability(self, step: int, n_steps: int) -> float:
        """Probability that the expert drives an episode that begins at ``step`` of ``n_steps``."""
        return 1.0 + (self.expert_share - 1.0) * self.stage(step, n_steps)

    def seconds(self, step: int, n_steps: int) -> float:
        """Length of an episode that begins at ``step`` of ``n_steps`` and does not crash."""
        first_s = min(self.first_seconds, self.episode_seconds)
        return first_s + (self.episode_seconds - first_s) * self.stage(step, n_steps)


class _Episode(Run):
    """One episode in one world, the expert asked at every instant.

    Attributes:
        i_retry: how many earlier episodes on the same road ended in a crash.
        is_driven_by_expert: who drives.
        augmentation: what is done to its pictures.
        side: -1 where the policy sees the world in a mirror, and steers in it; else 1.
    """

    def __init__(
        self,
        env: LaneEnv,
        plan: EpisodePlan,
        i_retry: int,
        is_driven_by_expert: bool,
        augmentation: EpisodeAugmentation,
        side: int,
    ) -> None:
        super().__init__(env, plan, asks_expert=True)
        self.i_retry, self.is_driven_by_expert = i_retry, is_driven_by_expert
        self.augmentation, self.side = augmentation, side

    @property
    def i_frame(self) -> int:
        """Of the frame that is seen now."""
        return len(self.log.time_s)


class _Window:
    """The actor of one window: the policy with gradient, or the expert where it drives; keeps what is learnt from."""

    frame_shape, asks_expert = None, True

    def __init__(
        self, policy: Policy, config: TrainConfig, episodes: Sequence[_Episode], frames: np.ndarray, state: Tensor
    ) -> None:
        self.policy, self.config, self.episodes, self.frames, self.state = (policy, config, episodes, frames, state)
        shape = (config.batch, config.window)
        self.target, self.speed_mps, self.dt_s = (np.zeros(shape, np.float32) for _ in range(3))  # (B, T)
        self.counts = np.zeros(shape, bool)
        self.features: list[Tensor] = []
        self.n_driven, self.acting_s = 0, 0.0

    def begin(self, n_runs: int) -> None:
        """The state was given."""

    def act(self, instants: Sequence[Instant]) -> None:
        started_s = time.perf_counter()
        t, config = len(self.features), self.config
        self.n_driven += len(instants)
        for instant in instants:
            b = instant.i_run
            episode = self.episodes[b]
            expert = instant.reference_curvature_per_m
            assert expert is not None
            frame = instant.frame if episode.side == 1 else cv2.flip(instant.frame, 1)
            episode.augmentation.apply(frame, t, self.frames[b])
            self.target[b, t] = episode.side * expert
            self.speed_mps[b, t] = instant.info["speed_mps"]
            self.dt_s[b, t:] = instant.info["dt_s"]  # and of the repeated frames, should this be the last
            self.counts[b, t] = episode.i_frame >= config.n_warmup
        # No copy: the frames are written anew only once they are encoded.
        self.features.append(encode(self.policy, to_tensor(self.frames), config.bfloat16))  # (B, N)
        with torch.no_grad():
            command, self.state = self.policy.decode(
                self.features[-1].detach().unsqueeze(1), self.state, torch.from_numpy(self.dt_s[:, t : t + 1])
            )
        # Weights that are no numbers show in the loss, where they are reported.
        commands = torch.nan_to_num(command[:, 0]).tolist()
        for instant in instants:
            episode, expert = self.episodes[instant.i_run], instant.reference_curvature_per_m
            assert expert is not None
            own = episode.side * commands[instant.i_run]
            instant.curvature_per_m = expert if episode.is_driven_by_expert else own
        self.acting_s += time.perf_counter() - started_s


class OnlineWindows(WindowSource):
    """Windows of ``config.batch`` worlds that run in lockstep, one stream each.

    A stream's next window goes on where the last one ended: same episode, same state of the core. An episode that
    ends within a window leaves the rest of it without weight; the next one begins, state at zero, with the next
    window. Every ``checkpoint_every`` steps are a round, in which all streams begin anew, so that a run can be
    resumed there. The first episode of a stream in a round has a random length, so that later ends spread.

    The first ``n_warmup`` frames of an episode do not count. No frame is encoded twice: the encoder runs with
    gradient while the worlds run, and the core's steps without gradient give command and state.

    Args:
        make_env: makes a world with a privileged expert for episodes of ``online.episode_seconds``.
        online, config: settings.
        world: what ``make_env`` makes, in words or numbers for json; kept in the metrics.

    Raises:
        BadInputError: a move of the viewpoint, which needs recorded windows, episodes too short, or more worlds than a
            process holds.
    """

    def __init__(
        self,
        make_env: Callable[[], LaneEnv],
        online: OnlineConfig,
        config: TrainConfig,
        world: Mapping[str, Any] | None = None,
    ) -> None:
        for name in ("shift_m", "yaw_rad"):
            if getattr(config.augment, name) > 0:
                raise BadInputError(
                    f"training: {name} is for recorded drives, got {getattr(config.augment, name)} in a running "
                    f"world; leave out --{name.replace('_', '-')}"
                )
        self.online, self.config = online, config
        self.identity = {"online": dataclasses.asdict(online), **(world or {})}
        self._envs: list[LaneEnv] = []
        try:
            self._make_worlds(make_env)
        except BaseException:
            self.close()
            raise
        self._frames = np.zeros((config.batch, *self._envs[0].observation_space.shape), np.uint8)
        self._episodes: list[_Episode | None] = []
        self._n_begun = [0] * config.batch
        self._round, self._state = -1, torch.empty(0)
        self._recent: deque[tuple[int, int]] = deque(maxlen=N_RECENT)
        self._own_crashes, self._own_m, self._world_s = 0, 0.0, 0.0

    def _make_worlds(self, make_env: Callable[[], LaneEnv]) -> None:
        batch = self.config.batch
        for _ in range(batch):
            self._envs.append(make_env())
            limit = type(self._envs[0]).MAX_PER_PROCESS
            if limit is not None and batch > limit:
                raise BadInputError(
                    f"training: a process holds {limit} world(s) of this kind, got {batch} windows a step; "
                    f"use --batch {limit}"
                )
        first_s = self.online.seconds(0, 1)
        n_frames = round(first_s / self._envs[0].dt_s)
        if n_frames <= self.config.n_warmup:
            raise BadInputError(
                f"training: episodes of {first_s:g} s have {n_frames} frames, all within "
                f"the {self.config.n_warmup} of warm-up; use longer ones"
            )

    def windows(self, policy: Policy, step: int) -> EncodedWindows:
        """Drive on for a window and encode what was seen (see ``WindowSource``)."""
        episodes = self._begin_window(policy, step)
        window = _Window(policy, self.config, episodes, self._frames, self._state)
        begin = self._state
        started_s = time.perf_counter()
        for _ in range(self.config.window):
            advance(episodes, window)
        self._world_s += time.perf_counter() - started_s - window.acting_s
        self._state = window.state
        self._count(window.n_driven)
        return EncodedWindows(
            torch.stack(window.features, dim=1),  # (B, T, N)
            begin,
            torch.from_numpy(window.target),
            torch.from_numpy(window.speed_mps),
            torch.from_numpy(window.dt_s),
            torch.from_numpy(window.counts),
        )

    def _begin_window(self, policy: Policy, step: int) -> list[_Episode]:
        """New episodes and zero states where the last ones ended; everywhere at the start of a round."""
        config = self.config
        if step // config.checkpoint_every != self._round:
            self._round = step // config.checkpoint_every
            self._episodes, self._n_begun = [None] * config.batch, [0] * config.batch
            self._state = policy.initial_state(config.batch)
        fresh = [b for b, episode in enumerate(self._episodes) if episode is None or episode.is_over]
        for b in fresh:
            self._episodes[b] = self._next_episode(b, step)
        self._state = self._state.detach().clone()
        self._state[fresh] = policy.initial_state(len(fresh)).detach()
        episodes = [episode for episode in self._episodes if episode is not None]
        for episode in episodes:
            episode.augmentation.begin_window(self._frames.shape[1], self._frames.shape[2])
        return episodes

    def _next_episode(self, b: int, step: int) -> _Episode:
        config, online, i_episode = self.config, self.online, self._n_begun[b]
        self._n_begun[b] += 1
        seed, i_retry = self._seed(b, i_episode), 0
        last = self._episodes[b]
        if last and last.log.crashed and not last.is_driven_by_expert and last.i_retry < online.n_retries:
            seed, i_retry = last.plan.seed, last.i_retry + 1
        # The same place of the road again, else all drawn anew.
        keys = {name: key + len(_STREAMS) * i_retry * (name != "start") for name, key in _STREAMS.items()}
        rngs = {name: np.random.default_rng([config.seed, seed, key]) for name, key in keys.items()}
        n_frames = round(online.seconds(step, config.n_steps) / self._envs[b].dt_s)
        if i_episode == 0:
            n_windows = int(rngs["length"].integers(1, max(n_frames // config.window, 1) + 1))
            n_frames = min(n_frames, n_windows * config.window)
        is_off_middle = (b + i_episode) % 2 == 1
        start = random_start(rngs["start"], is_off_middle, online.start_offset_m, online.start_heading_rad)
        seconds = n_frames * self._envs[b].dt_s
        kick_key = (config.seed, seed, keys["kicks"])
        return _Episode(
            self._envs[b],
            EpisodePlan(seed, seconds, start, online.disturbance, kick_key),
            i_retry,
            i_retry == 0 and rngs["driver"].random() < online.expert_probability(step, config.n_steps),
            EpisodeAugmentation(config.augment, (config.seed, seed, keys["augmentation"]), config.window),
            -1 if np.random.default_rng([config.seed, seed, _MIRROR]).random() < config.augment.mirror else 1,
        )

    def _seed(self, b: int, i_episode: int) -> int:
        """A seed that no other road has, nor one of a run that differs in ``config.seed`` alone.

        A stream begins at most one episode a step, so the indices are digits of one number. It wraps around below
        ``END_OF_SEEDS``: runs of many more steps or of a higher ``config.seed`` come back to roads of others.
        """
        config = self.config
        n_rounds = math.ceil(config.n_steps / config.checkpoint_every)
        i_stream = (config.seed * n_rounds + self._round) * config.batch + b
        number = i_stream * config.checkpoint_every + i_episode
        return self.online.first_seed + number % (END_OF_SEEDS - self.online.first_seed)

    def _count(self, n_driven: int) -> None:
        ended = [episode for episode in self._episodes if episode is not None and episode.is_over]
        n_crashed = sum(episode.log.crashed for episode in ended)
        self._recent.append((n_crashed, n_driven))
        own = [episode.log for episode in ended if not episode.is_driven_by_expert]
        self._own_crashes += sum(log.crashed for log in own)
        self._own_m += sum(log.distance_m for log in own)

    def take_figures(self) -> dict[str, Any]:
        """See ``WindowSource``; the kilometres are of the policy's episodes that ended."""
        crashes, km, waited_s = self._own_crashes, self._own_m / 1000, self._world_s
        self._own_crashes, self._own_m, self._world_s = 0, 0.0, 0.0
        return {"policy_km": km, "policy_crashes_per_km": crashes / km if km > 0 else None, "waited_s": waited_s}

    def metrics(self) -> dict[str, Any]:
        """``n_frames`` encoded, the settings, and the crashes of the last ``N_RECENT`` steps since the start."""
        n_crashed, n_driven = (sum(column) for column in zip(*self._recent, strict=True))
        config = self.config
        return {
            "n_frames": config.n_steps * config.batch * config.window,
            "crashes_per_1000_frames_last_100": round(1000.0 * n_crashed / n_driven, 3),
            **self.identity,
        }

    def close(self) -> None:
        """Close all worlds."""
        while self._envs:
            self._envs.pop().close()
