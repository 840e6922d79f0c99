"""Windows of running worlds: the policy drives, the privileged expert labels, the state is carried along.

Imitation in closed loop (DAgger; Ross, Gordon and Bagnell 2011) with back-propagation through time truncated at the
window (Williams and Peng 1990): training sees the places and the states of the core that the policy itself runs into.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from driving.data import LiveLook
from driving.models.policy import Policy
from driving.train import EncodedWindows, TrainConfig, WindowSource, encode, to_tensor
from sim.errors import BadInputError
from sim.record import Disturbance, Kicks, draw_start, with_expert

# One random stream for each cause, beside the run's and the episode's seed.
_STREAMS = {"kicks": 0, "start": 1, "driver": 2, "look": 3, "length": 4}
GENTLE_KICKS = Disturbance(max_lateral_acceleration_mps2=2.5, mean_interval_s=3.0)
N_RECENT = 100
"""Steps over which crashes are counted for ``metrics.json``."""


@dataclass(frozen=True)
class LiveConfig:
    """Settings of the running worlds.

    Attributes:
        episode_seconds: length of an episode that does not crash.
        expert_share: share of the episodes that the expert itself drives, once the ramp is over.
        expert_ramp: share of the steps in which the expert's share falls linearly from 1 to ``expert_share``; an
            untrained policy would only show how to leave the road.
        first_seed: no episode has a smaller seed; those below are for tests.
        start_offset_m, start_heading_rad: every second episode starts off the middle, this far at most.
        disturbance: kicks, whoever drives; gentler than a recording's, as the policy's own errors are seen as well.
        n_retries: the policy drives a stretch of road on which it crashed so many times again at most, until it
            survives, with other kicks: hard places come more often (compare the prioritised levels of Jiang et al.
            2021).
    """

    episode_seconds: float = 8.0
    expert_share: float = 0.25
    expert_ramp: float = 0.3
    first_seed: int = 10_000
    start_offset_m: float = 0.9
    start_heading_rad: float = 0.06
    disturbance: Disturbance = GENTLE_KICKS
    n_retries: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.episode_seconds <= 3600:
            raise BadInputError(
                f"training: expected episode_seconds above 0, up to 3600, got {self.episode_seconds}"
            )
        for name in ("expert_share", "expert_ramp"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInputError(f"training: {name} must be from 0 to 1, got {getattr(self, name)}")
        for name in ("first_seed", "start_offset_m", "start_heading_rad", "n_retries"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise BadInputError(f"training: {name} must be at least 0, got {getattr(self, name)}")

    def expert_probability(self, step: int, n_steps: int) -> float:
        """Probability that the expert drives an episode that begins at ``step`` of ``n_steps``."""
        n_ramp = self.expert_ramp * n_steps
        return 1.0 + (self.expert_share - 1.0) * (min(step / n_ramp, 1.0) if n_ramp > 0 else 1.0)


class _Episode:
    """One episode in one world: who drives, what disturbs, and how it looks; ``is_over`` once it has ended.

    ``i_retry`` counts the earlier episodes on the same road that ended in a crash.
    """

    def __init__(
        self,
        env: Any,
        seed: int,
        i_retry: int,
        start: dict[str, float],
        n_frames: int,
        is_driven_by_expert: bool,
        kicks: Kicks,
        look: LiveLook,
    ) -> None:
        self.env, self.seed, self.i_retry = env, seed, i_retry
        self.n_frames, self.is_driven_by_expert = n_frames, is_driven_by_expert
        self.kicks, self.look = kicks, look
        self.i_frame, self.is_over, self.has_crashed = 0, False, False
        self.frame, self.info = env.reset(seed=seed, options=start)
        self.label_per_m = env.expert_curvature_per_m()

    def drive(self, command_per_m: float) -> None:
        """One step with the policy's command, or the expert's where it drives."""
        executed = self.label_per_m if self.is_driven_by_expert else command_per_m
        executed += self.kicks.step(self.env.dt_s, self.info["speed_mps"])
        self.i_frame += 1
        if self.i_frame == self.n_frames:  # nobody would look at the next frame
            self.is_over = True
            return
        self.frame, _, self.has_crashed, truncated, self.info = self.env.step(
            np.array([executed], np.float32)
        )
        self.is_over = self.has_crashed or truncated
        if not self.is_over:
            self.label_per_m = self.env.expert_curvature_per_m()


class LiveWindows(WindowSource):
    """Windows of ``config.batch`` worlds that run in lockstep, one stream each.

    A stream's next window goes on where the last one ended: same episode, same state of the core. An episode that
    ends within a window leaves the rest of it without weight; the next one begins, state at zero, with the next
    window. Every ``checkpoint_every`` steps are a round, in which all streams begin anew, so that a run can be
    resumed there. The first episode of a stream in a round has a random length, so that later ends spread.

    The first ``n_warmup`` frames of an episode do not count. No frame is encoded twice: the encoder runs with
    gradient while the worlds run, and the core's steps without gradient give command and state.

    Args:
        make_env: makes a world with a privileged expert for episodes of ``live.episode_seconds``.
        live, config: settings.
        world: what ``make_env`` makes, in words or numbers for json; kept in the metrics.

    Raises:
        BadInputError: no expert, an augmentation that needs recorded windows, episodes too short, or more worlds
            than a process holds.
    """

    def __init__(
        self,
        make_env: Callable[[], Any],
        live: LiveConfig,
        config: TrainConfig,
        world: Mapping[str, Any] | None = None,
    ) -> None:
        for name in ("mirror", "shift_m", "yaw_rad"):
            if getattr(config.augment, name) > 0:
                raise BadInputError(
                    f"training: {name} is for recorded drives, got {getattr(config.augment, name)} in a running "
                    f"world; leave out --{name.replace('_', '-')}"
                )
        self.live, self.config = live, config
        self.identity = {"live": dataclasses.asdict(live), **(world or {})}
        self._envs: list[Any] = []
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
        self._n_ended = self._n_crashed = 0

    def _make_worlds(self, make_env: Callable[[], Any]) -> None:
        batch = self.config.batch
        for _ in range(batch):
            self._envs.append(with_expert(make_env(), "train"))
            limit = getattr(type(self._envs[0]), "MAX_PER_PROCESS", batch)
            if batch > limit:
                raise BadInputError(
                    f"training: a process holds {limit} world(s) of this kind, got {batch} windows a step; "
                    f"use --batch {limit}"
                )
        self._n_frames = round(self.live.episode_seconds / self._envs[0].dt_s)
        if self._n_frames <= self.config.n_warmup:
            raise BadInputError(
                f"training: episodes of {self.live.episode_seconds:g} s have {self._n_frames} frames, all within "
                f"the {self.config.n_warmup} of warm-up; use longer ones"
            )

    def windows(self, policy: Policy, step: int) -> EncodedWindows:
        """Drive on for a window and encode what was seen (see ``WindowSource``)."""
        self._begin_window(policy, step)
        config = self.config
        shape = (config.batch, config.window)
        target, speed_mps, dt_s = (np.zeros(shape, np.float32) for _ in range(3))  # (B, T)
        counts = np.zeros(shape, bool)
        n_driven = 0
        features: list[Tensor] = []
        state = self._state
        for t in range(config.window):
            running = [(b, e) for b, e in enumerate(self._episodes) if e is not None and not e.is_over]
            n_driven += len(running)
            for b, episode in running:
                episode.look.apply(episode.frame, t, self._frames[b])
                target[b, t], speed_mps[b, t] = episode.label_per_m, episode.info["speed_mps"]
                dt_s[b, t:] = episode.info["dt_s"]  # and of the repeated frames, should this be the last
                counts[b, t] = episode.i_frame >= config.n_warmup
            features.append(encode(policy, to_tensor(self._frames), config.bfloat16))  # (B, N)
            with torch.no_grad():
                command, state = policy.decode(
                    features[-1].detach().unsqueeze(1), state, torch.from_numpy(dt_s[:, t : t + 1])
                )
            # Weights that are no numbers show in the loss, where they are reported.
            commands = torch.nan_to_num(command[:, 0]).tolist()
            for b, episode in running:
                episode.drive(commands[b])
        self._count(n_driven)
        begin, self._state = self._state, state
        return EncodedWindows(
            torch.stack(features, dim=1),  # (B, T, N)
            begin,
            torch.from_numpy(target),
            torch.from_numpy(speed_mps),
            torch.from_numpy(dt_s),
            torch.from_numpy(counts),
        )

    def _begin_window(self, policy: Policy, step: int) -> None:
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
        for episode in self._episodes:
            if episode is not None:
                episode.look.begin_window(*self._frames.shape[1:3])

    def _next_episode(self, b: int, step: int) -> _Episode:
        config, live, i_episode = self.config, self.live, self._n_begun[b]
        self._n_begun[b] += 1
        seed, i_retry = self._seed(b, i_episode), 0
        last = self._episodes[b]
        if last and last.has_crashed and not last.is_driven_by_expert and last.i_retry < live.n_retries:
            seed, i_retry = last.seed, last.i_retry + 1
        # The same place of the road again, else all drawn anew.
        keys = {name: key + len(_STREAMS) * i_retry * (name != "start") for name, key in _STREAMS.items()}
        rngs = {name: np.random.default_rng([config.seed, seed, key]) for name, key in keys.items()}
        n_frames = self._n_frames
        if i_episode == 0:
            n_windows = int(rngs["length"].integers(1, max(n_frames // config.window, 1) + 1))
            n_frames = min(n_frames, n_windows * config.window)
        is_off_middle = (b + i_episode) % 2 == 1
        return _Episode(
            self._envs[b],
            seed,
            i_retry,
            draw_start(rngs["start"], is_off_middle, live.start_offset_m, live.start_heading_rad),
            n_frames,
            i_retry == 0 and rngs["driver"].random() < live.expert_probability(step, config.n_steps),
            Kicks(live.disturbance, rngs["kicks"]),
            LiveLook(config.augment, (config.seed, seed, keys["look"]), config.window),
        )

    def _seed(self, b: int, i_episode: int) -> int:
        """A seed that no other road has, nor one of a run that differs in ``config.seed`` alone.

        A stream begins at most one episode a step, so the indices are digits of one number.
        """
        config = self.config
        n_rounds = math.ceil(config.n_steps / config.checkpoint_every)
        i_stream = (config.seed * n_rounds + self._round) * config.batch + b
        return self.live.first_seed + i_stream * config.checkpoint_every + i_episode

    def _count(self, n_driven: int) -> None:
        ended = [episode for episode in self._episodes if episode is not None and episode.is_over]
        n_crashed = sum(bool(episode.has_crashed) for episode in ended)
        self._recent.append((n_crashed, n_driven))
        self._n_ended += len(ended)
        self._n_crashed += n_crashed

    def take_counts(self) -> tuple[int, int]:
        """Episodes that crashed, and all that ended, since the last call."""
        counts = self._n_crashed, self._n_ended
        self._n_crashed = self._n_ended = 0
        return counts

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
