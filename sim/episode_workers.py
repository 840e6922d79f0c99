"""Many episodes on all cores: each worker process holds its worlds, its actor and its watcher.

Episodes are driven in groups that do not depend on the number of workers, so neither do their results. A worker gets a
group's plans and answers with its logs and what its watcher found: no picture crosses a process border.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from sim.episodes import Actor, EpisodeLog, EpisodePlan, Instant, Run, drive
from sim.errors import BadInputError, WorkerLostError
from sim.injection import MakeInjection
from sim.lane_env import LaneEnv
from sim.processes import begin_work, portable, start, stop

MIN_TOGETHER, MAX_TOGETHER = 2, 16
"""Episodes that one process drives in one batch of its actor."""
N_GROUPS = 4
"""Few episodes are divided into about so many groups, so that the cores have equally much to do."""
REPORT_EVERY_S = 0.2


class Watcher(Protocol):
    """Looks on while one group of episodes is driven."""

    def watch(self, instants: Sequence[Instant]) -> None:
        """See ``sim.episodes.Watch``."""

    def result(self) -> Any:
        """What it found; small, and able to pass through a pipe."""


@dataclass(frozen=True)
class Crew:
    """What a process needs to drive; all of it passes through a pipe where there is more than one process.

    Attributes:
        make_env: makes a world; each process makes its own.
        make_actor: makes who drives, once a process.
        make_watcher: makes who looks on, anew for every group of episodes; None for nobody.
        noise: what is injected into the episodes.
        prepare: called first in every worker process.
    """

    make_env: Callable[[], LaneEnv]
    make_actor: Callable[[], Actor]
    make_watcher: Callable[[], Watcher] | None = None
    noise: MakeInjection | None = None
    prepare: Callable[[], None] | None = None


@dataclass(frozen=True)
class GroupResult:
    """Logs in the order of the plans, and what the watcher found."""

    logs: list[EpisodeLog]
    watched: Any = None


def drive_episodes(
    crew: Crew,
    plans: Sequence[EpisodePlan],
    n_workers: int = 1,
    on_seconds: Callable[[float], None] = lambda seconds: None,
) -> list[GroupResult]:
    """Drive all plans; the results of their groups in the order of the plans, the same for any ``n_workers``.

    Args:
        n_workers: processes; 1 drives in this one.
        on_seconds: called now and then with the episode time that was done since the last call; over all calls that
            is the sum of the plans' seconds, as an episode that ends early is done with all of its time.

    Raises:
        BadInputError: no plan, no positive time, or frames of another size than the actor's.
        WorkerLostError: a worker process ended by itself.
    """
    if not plans or not all(plan.seconds > 0 for plan in plans):
        least = min((plan.seconds for plan in plans), default=0)
        raise BadInputError(f"drive: expected at least one seed and a time above 0 s, got {len(plans)} and {least:g} s")
    with contextlib.closing(_Cockpit(crew)) as cockpit:
        limit = cockpit.n_worlds_allowed()
        n_together = min(max(math.ceil(len(plans) / N_GROUPS), MIN_TOGETHER), limit or MAX_TOGETHER, MAX_TOGETHER)
        groups = [plans[first : first + n_together] for first in range(0, len(plans), n_together)]
        n_workers = min(n_workers, len(groups))
        if n_workers <= 1:
            return [cockpit.drive(group, on_seconds) for group in groups]
    return _drive_in_workers(crew, groups, n_workers, on_seconds)


class _Cockpit:
    """The worlds and the actor of one process; worlds are made as they are needed and used again."""

    def __init__(self, crew: Crew) -> None:
        self._crew, self._envs = crew, list[LaneEnv]()
        self._actor: Actor | None = None

    def n_worlds_allowed(self) -> int | None:
        """How many worlds of this kind may live in one process; None: any number."""
        return type(self._worlds(1)[0]).MAX_PER_PROCESS

    def _worlds(self, n: int) -> list[LaneEnv]:
        while len(self._envs) < n:
            self._envs.append(self._crew.make_env())
        return self._envs[:n]

    def drive(self, plans: Sequence[EpisodePlan], on_seconds: Callable[[float], None]) -> GroupResult:
        crew = self._crew
        self._actor = actor = self._actor or crew.make_actor()
        envs = self._worlds(len(plans))
        check_size(actor, envs[0])
        watcher = crew.make_watcher() if crew.make_watcher else None
        runs = [Run(env, plan, crew.noise, actor.asks_expert) for env, plan in zip(envs, plans, strict=True)]
        report = _Report(runs, on_seconds)

        def watch(instants: Sequence[Instant]) -> None:
            if watcher is not None:
                watcher.watch(instants)
            report.now_and_then()

        drive(runs, actor, watch)
        report.done()
        return GroupResult([run.log for run in runs], watcher.result() if watcher else None)

    def close(self) -> None:
        """Close all worlds."""
        while self._envs:
            self._envs.pop().close()


def check_size(actor: Actor, env: LaneEnv) -> None:
    """``BadInputError`` if the actor takes frames of another size than the world's."""
    if actor.frame_shape not in (None, env.observation_space.shape):
        raise BadInputError(
            f"drive: the policy expects frames {actor.frame_shape}, the environment has {env.observation_space.shape}"
        )


class _Report:
    """Says how much episode time is done, now and then."""

    def __init__(self, runs: Sequence[Run], on_seconds: Callable[[float], None]) -> None:
        self._runs, self._on_seconds = runs, on_seconds
        self._said_s, self._last = 0.0, time.monotonic()

    def now_and_then(self) -> None:
        if time.monotonic() - self._last > REPORT_EVERY_S:
            self.done()

    def done(self) -> None:
        done_s = sum(r.plan.seconds if r.is_over else min(r.log.seconds, r.plan.seconds) for r in self._runs)
        self._on_seconds(done_s - self._said_s)
        self._said_s, self._last = done_s, time.monotonic()


# Worker processes --------------------------------------------------------------------------------------------


def _drive_in_workers(
    crew: Crew, groups: Sequence[Sequence[EpisodePlan]], n_workers: int, on_seconds: Callable[[float], None]
) -> list[GroupResult]:
    try:
        pickle.dumps(crew)
    except Exception as error:  # whatever the parts of the crew raise
        raise BadInputError(
            f"drive: expected a world, an actor and a watcher that pass to another process, got {error}; drive in "
            "this one, with 1 worker"
        ) from None
    results: list[GroupResult | None] = [None] * len(groups)
    pipes: list[Connection] = []
    processes: list[Any] = []
    waiting = iter(range(len(groups)))
    at_work: dict[Connection, int] = {}
    try:
        for _ in range(n_workers):
            here, process = start(_work, crew)
            pipes.append(here)
            processes.append(process)
            at_work[here] = next(waiting)
            _send(here, groups[at_work[here]], groups, at_work)
        for pipe, (what, answer) in _answers(at_work, groups):
            if what == "seconds":
                on_seconds(answer)
                continue
            if what == "error":
                raise answer
            results[at_work.pop(pipe)] = answer
            if (i_group := next(waiting, None)) is not None:
                at_work[pipe] = i_group
                _send(pipe, groups[i_group], groups, at_work)
    finally:
        stop(pipes, processes, at_once=bool(at_work))
    return [result for result in results if result is not None]


def _send(
    pipe: Connection,
    plans: Sequence[EpisodePlan],
    groups: Sequence[Sequence[EpisodePlan]],
    at_work: dict[Connection, int],
) -> None:
    try:
        pipe.send(list(plans))
    except OSError:
        raise _lost(pipe, groups, at_work) from None


def _answers(
    at_work: dict[Connection, int], groups: Sequence[Sequence[EpisodePlan]]
) -> Iterator[tuple[Connection, tuple[str, Any]]]:
    """What the workers say, as it comes, until none has a group."""
    while at_work:
        for ready in wait(list(at_work)):
            assert isinstance(ready, Connection)
            try:
                answer = ready.recv()
            except (EOFError, OSError):
                raise _lost(ready, groups, at_work) from None
            yield ready, answer


def _lost(pipe: Connection, groups: Sequence[Sequence[EpisodePlan]], at_work: dict[Connection, int]) -> WorkerLostError:
    seeds = ", ".join(str(plan.seed) for plan in groups[at_work[pipe]])
    return WorkerLostError(
        f"drive: a worker process ended by itself while it drove seeds {seeds}; was it killed, or out of memory? "
        "Drive again, with fewer --workers if memory is short"
    )


def _work(pipe: Connection, crew: Crew) -> None:
    """A worker's life: drive what comes, until the pipe is closed."""
    begin_work()
    try:
        if crew.prepare is not None:
            crew.prepare()
        with contextlib.closing(_Cockpit(crew)) as cockpit:
            while True:
                plans = pipe.recv()
                pipe.send(("done", cockpit.drive(plans, lambda seconds: pipe.send(("seconds", seconds)))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has what it wanted, or is gone
    except BaseException as error:
        with contextlib.suppress(OSError):
            pipe.send(("error", portable(error)))
