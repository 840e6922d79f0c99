"""Closed loop: the one way in which episodes are driven, whoever acts and whoever watches.

``advance`` takes some episodes one instant further: the actor answers what the cameras show, watchers look on, the
worlds execute. ``sim.episode_workers`` drives many episodes that way, on all cores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from sim.disturbance import Disturbance, Kicks
from sim.injection import Injection, MakeInjection
from sim.lane_env import Info, LaneEnv

BEYOND_SUPPORT = "beyond support"
"""How a world's reason begins that ended an episode because it cannot show where the car went."""


@dataclass(frozen=True)
class EpisodePlan:
    """What is to be driven.

    Attributes:
        seed: of the world's episode, and of the noise.
        seconds: longest duration.
        start: options of ``LaneEnv.reset``.
        disturbance: kicks that are added to every executed command, never to what is recorded as command or label.
        disturbance_key: seed of the kicks.
    """

    seed: int
    seconds: float
    start: Mapping[str, float] = field(default_factory=dict)
    disturbance: Disturbance | None = None
    disturbance_key: tuple[int, ...] = ()


@dataclass(repr=False)
class EpisodeLog:
    """What happened in one episode; the lists have one entry a driven step.

    Attributes:
        seed: of the episode.
        crashed: the world said ``terminated``.
        distance_m: driven until the end.
        lateral_offset_m, curvature_per_m: after each step, and the command given before it.
        lateral_acceleration_mps2: of the car after each step, on the path that it drives.
        time_s: of each entry.
        lane_half_width_m: of the own lane.
        truncation: the world's reason for ending the episode without a crash.
        setting: what the world drew for the episode, such as season and weather.
        planned_s: how long the episode could have lasted; None where nobody planned it.
    """

    seed: int
    crashed: bool = False
    distance_m: float = 0.0
    lateral_offset_m: list[float] = field(default_factory=list)
    curvature_per_m: list[float] = field(default_factory=list)
    lateral_acceleration_mps2: list[float] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)
    lane_half_width_m: float | None = None
    truncation: str | None = None
    setting: dict[str, Any] = field(default_factory=dict)
    planned_s: float | None = None

    def __repr__(self) -> str:
        how = "crashed" if self.crashed else self.truncation or "driving"
        return f"EpisodeLog(seed {self.seed}, {self.seconds:.1f} s, {self.distance_m:.0f} m, {how})"

    @property
    def seconds(self) -> float:
        """Driven so far."""
        return self.time_s[-1] if self.time_s else 0.0

    @property
    def mean_abs_offset_m(self) -> float:
        return float(np.mean(np.abs(self.lateral_offset_m))) if self.lateral_offset_m else 0.0

    @property
    def missing_m(self) -> float:
        """What a perfect driver would have driven in the time that was left when the car was lost.

        Lost: it crashed, or went beyond what its world can show. The time left counts up to ``planned_s``, at the
        mean speed so far. Episodes that ran to the end of their time or of their recording miss nothing.
        """
        lost = self.crashed or (self.truncation or "").startswith(BEYOND_SUPPORT)
        if not lost or self.planned_s is None or not self.seconds > 0:
            return 0.0
        return max(self.planned_s - self.seconds, 0.0) * self.distance_m / self.seconds

    def summary(self) -> dict[str, Any]:
        """The row of this episode in a report."""
        return {
            "seed": self.seed,
            "setting": self.setting,
            "crashed": self.crashed,
            "truncation": self.truncation,
            "distance_m": round(self.distance_m, 3),
            "mean_abs_offset_m": round(self.mean_abs_offset_m, 5),
        }


@dataclass
class Instant:
    """One instant of one episode, or of a recording: what is seen and what is answered, before it is executed.

    Attributes:
        frame: uint8 (H, W, 3) as the actor sees it; ``clean_frame`` as the camera gave it.
        time_s: since the start.
        dt_s: time step, as the actor is told.
        injection: what disturbs the episode, the actor's memory among it.
        info: of the world, belonging to the frame; what is known of it on a recording.
        i_run: place among the episodes that are driven together.
        reference_curvature_per_m: what the expert, or the driver of the recording, steers here; None if nobody asked.
        curvature_per_m: the command; the actor fills it in,
        state_before, state: and what it remembers of this episode before and after the frame, if anything.
        picture: uint8 (h, w, 3) for people, of any size; None if nobody asked for it.
    """

    frame: np.ndarray
    clean_frame: np.ndarray
    time_s: float
    dt_s: float
    info: Info
    injection: Injection | None = None
    i_run: int = 0
    reference_curvature_per_m: float | None = None
    curvature_per_m: float = 0.0
    state_before: Any = None
    state: Any = None
    picture: np.ndarray | None = None


def remembered(instants: Sequence[Instant], states: Any) -> Any:
    """The memories (B, S) of the instants' actor, changed in place where a noise reaches into them."""
    for k, instant in enumerate(instants):
        if instant.injection is not None:
            states[k] = instant.injection.remember(states[k], instant.info["dt_s"])
    return states


class Actor(Protocol):
    """Who drives."""

    @property
    def frame_shape(self) -> tuple[int, ...] | None:
        """(H, W, 3) of the frames it takes; None for any."""

    @property
    def asks_expert(self) -> bool:
        """Whether the instants must say what the expert steers."""

    def begin(self, n_runs: int) -> None:
        """Forget everything; ``n_runs`` episodes begin."""

    def act(self, instants: Sequence[Instant]) -> None:
        """Fill in the commands of the running episodes, one batch."""


Watch = Callable[[Sequence[Instant]], None]
"""Looks at the instants of the running episodes once they are answered, before the worlds go on: so it may render."""


class ExpertActor:
    """The world's own privileged expert drives."""

    frame_shape: tuple[int, ...] | None = None
    asks_expert = True

    def begin(self, n_runs: int) -> None:
        """It remembers nothing."""

    def act(self, instants: Sequence[Instant]) -> None:
        for instant in instants:
            assert instant.reference_curvature_per_m is not None
            instant.curvature_per_m = instant.reference_curvature_per_m


class Run:
    """One episode in one world as it is driven.

    Attributes:
        plan, log: what was to be driven, and what happened so far.
        is_over: crashed, truncated, or at the end of its time.
    """

    def __init__(
        self, env: LaneEnv, plan: EpisodePlan, noise: MakeInjection | None = None, asks_expert: bool = False
    ) -> None:
        self.env, self.plan, self.log, self.is_over = env, plan, EpisodeLog(plan.seed), False
        self._injection, self._asks_expert = noise(plan.seed) if noise else Injection(), asks_expert
        self._since_last_s, self._command_per_m = 0.0, 0.0
        kick_rng = np.random.default_rng(plan.disturbance_key)
        self._kicks = Kicks(plan.disturbance, kick_rng) if plan.disturbance else None
        self._frame, self._info = env.reset(seed=plan.seed, options=dict(plan.start))
        self.log.setting = dict(self._info["setting"])
        self.log.planned_s = min(plan.seconds, self._info.get("episode_seconds_available", plan.seconds))

    @property
    def info(self) -> Info:
        """Of the world, as it is now."""
        return self._info

    def inject(self, injection: Injection) -> None:
        """Disturb the episode otherwise from now on."""
        self._injection = injection

    def put(self, along_road_m: float, lateral_offset_m: float = 0.0, heading_error_rad: float = 0.0) -> None:
        """Go on from another place of the same world (``LaneEnv.place``); an episode that was over goes on too."""
        self._frame, self._info = self.env.place(along_road_m, lateral_offset_m, heading_error_rad)
        self.is_over, self.log.crashed, self.log.truncation = False, False, None

    def instant(self, i_run: int = 0) -> Instant | None:
        """What is seen now; None where the picture does not come through to the actor."""
        clean, injection, dt_s = self._frame, self._injection, self._info["dt_s"]
        self._since_last_s += dt_s
        if not injection.arrives(dt_s):
            return None
        since_last_s, self._since_last_s = self._since_last_s, 0.0
        return Instant(
            frame=injection.see(clean),
            clean_frame=clean,
            time_s=self.log.seconds,
            dt_s=injection.told_dt_s(dt_s, since_last_s),
            injection=injection,
            info=self._info,
            i_run=i_run,
            reference_curvature_per_m=self.env.expert_curvature_per_m() if self._asks_expert else None,
        )

    def execute(self, curvature_per_m: float | None = None) -> None:
        """Drive one step with a command (1/m), the last one again without; kicked if the plan says so."""
        if curvature_per_m is None:
            curvature_per_m = self._command_per_m
        self._command_per_m = curvature_per_m
        executed = self._injection.execute(curvature_per_m, self.env.dt_s)
        if self._kicks is not None:
            executed += self._kicks.step(self.env.dt_s, self._info["speed_mps"])
        self._frame, _, terminated, truncated, info = self.env.step(
            np.array([executed / self.env.curvature_per_action], np.float32)
        )
        self._info, log, dt_s = info, self.log, float(info["dt_s"])
        log.time_s.append(log.seconds + dt_s)
        log.lateral_offset_m.append(float(info["lateral_offset_m"]))
        log.curvature_per_m.append(float(curvature_per_m))
        log.lateral_acceleration_mps2.append(float(info["curvature_per_m"]) * float(info["speed_mps"]) ** 2)
        log.distance_m = float(info["distance_m"])
        log.lane_half_width_m = float(info["lane_half_width_m"])
        log.crashed = bool(terminated)
        log.truncation = info.get("truncation") if truncated and not terminated else None
        self.is_over = terminated or truncated or log.seconds > self.plan.seconds - 0.5 * dt_s


def advance(runs: Sequence[Run], actor: Actor, watch: Watch = lambda instants: None) -> Sequence[Instant]:
    """Take all runs that are not over one instant further; what was seen and answered.

    A run whose picture does not come through goes on with its last command.
    """
    running = [(i, run, run.instant(i)) for i, run in enumerate(runs) if not run.is_over]
    instants = [instant for _, _, instant in running if instant is not None]
    if instants:
        actor.act(instants)
        watch(instants)
    for _, run, instant in running:
        run.execute(instant.curvature_per_m if instant else None)
    return instants


def drive(runs: Sequence[Run], actor: Actor, watch: Watch = lambda instants: None) -> None:
    """Drive the runs together to their ends, all in one batch of the actor; episodes do not touch one another."""
    actor.begin(len(runs))
    while not all(run.is_over for run in runs):
        advance(runs, actor, watch)
