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
        prepare: called before every task in a worker process.
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
    with contextlib.closing(Cockpit()) as cockpit:
        limit = cockpit.n_worlds_allowed(crew)
        n_together = min(max(math.ceil(len(plans) / N_GROUPS), MIN_TOGETHER), limit or MAX_TOGETHER, MAX_TOGETHER)
        groups = [plans[first : first + n_together] for first in range(0, len(plans), n_together)]
        if min(n_workers, len(groups)) <= 1:
            return [cockpit.drive(crew, group, on_seconds) for group in groups]
    results: dict[int, GroupResult] = {}
    tasks = [Task(crew, group) for group in groups]
    for i_task, result in drive_tasks(tasks, n_workers, on_seconds):
        if isinstance(result, BaseException):
            raise result
        results[i_task] = result
    return [results[i] for i in range(len(groups))]


@dataclass(frozen=True)
class Task:
    """Episodes that one process drives together, and with whom."""

    crew: Crew
    plans: Sequence[EpisodePlan]


def drive_tasks(
    tasks: Sequence[Task], n_workers: int = 1, on_seconds: Callable[[float], None] = lambda seconds: None
) -> Iterator[tuple[int, GroupResult | BaseException]]:
    """Drive tasks of any crews: the place of each and its result, or the error that ended it, as they come.

    A process keeps its worlds from one task to the next where they are the same. Whoever stops asking ends the work.

    Raises:
        WorkerLostError: a worker process ended by itself.
    """
    if min(n_workers, len(tasks)) > 1:
        yield from _in_workers(tasks, min(n_workers, len(tasks)), on_seconds)
        return
    with contextlib.closing(Cockpit()) as cockpit:
        for i, task in enumerate(tasks):
            try:
                result: GroupResult | BaseException = cockpit.drive(task.crew, task.plans, on_seconds)
            except Exception as error:
                result = error
            yield i, result


class Cockpit:
    """The worlds and the actor of one process, made as they are needed and used again by the next of their kind."""

    def __init__(self) -> None:
        self._envs: list[LaneEnv] = []
        self._world: Callable[[], LaneEnv] | None = None
        self._actor: tuple[Callable[[], Actor], Actor] | None = None

    def n_worlds_allowed(self, crew: Crew) -> int | None:
        """How many worlds of this kind may live in one process; None: any number."""
        return type(self._worlds(crew, 1)[0]).MAX_PER_PROCESS

    def _worlds(self, crew: Crew, n: int) -> list[LaneEnv]:
        if self._world != crew.make_env:
            self.close()
            self._world = crew.make_env
        while len(self._envs) < n:
            self._envs.append(crew.make_env())
        return self._envs[:n]

    def _who_acts(self, crew: Crew) -> Actor:
        if self._actor is None or self._actor[0] is not crew.make_actor:
            self._actor = crew.make_actor, crew.make_actor()
        return self._actor[1]

    def drive(self, crew: Crew, plans: Sequence[EpisodePlan], on_seconds: Callable[[float], None]) -> GroupResult:
        actor, envs = self._who_acts(crew), self._worlds(crew, len(plans))
        check_size(actor.frame_shape, envs[0])
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


def check_size(frame_shape: tuple[int, ...] | None, env: LaneEnv) -> None:
    """``BadInputError`` if an actor takes frames (H, W, 3) of another size than the world's; None takes any."""
    if frame_shape not in (None, env.observation_space.shape):
        raise BadInputError(
            f"drive: the policy expects frames {frame_shape}, the environment has {env.observation_space.shape}"
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


def _in_workers(
    tasks: Sequence[Task], n_workers: int, on_seconds: Callable[[float], None]
) -> Iterator[tuple[int, GroupResult | BaseException]]:
    for crew in {id(task.crew): task.crew for task in tasks}.values():
        _check_portable(crew)
    waiting = iter(range(len(tasks)))
    workers: dict[Connection, _Worker] = {}
    at_work: dict[Connection, int] = {}
    try:
        for _ in range(n_workers):
            worker = _Worker(*start(_work))
            workers[worker.pipe] = worker
            at_work[worker.pipe] = next(waiting)
            worker.give(tasks[at_work[worker.pipe]])
        while at_work:
            for pipe in wait(list(at_work)):
                assert isinstance(pipe, Connection)
                what, answer = _said(pipe, tasks[at_work[pipe]])
                if what == "seconds":
                    on_seconds(answer)
                    continue
                i_task = at_work.pop(pipe)
                if (i_next := next(waiting, None)) is not None:
                    at_work[pipe] = i_next
                    workers[pipe].give(tasks[i_next])
                yield i_task, answer
    finally:
        stop(workers, [worker.process for worker in workers.values()], at_once=bool(at_work))


def _check_portable(crew: Crew) -> None:
    try:
        pickle.dumps(crew)
    except Exception as error:  # whatever the parts of the crew raise
        raise BadInputError(
            f"drive: expected a world, an actor and a watcher that pass to another process, got {error}; drive in "
            "this one, with 1 worker"
        ) from None


class _Worker:
    """This end of a worker process. It is sent a crew only where that changes."""

    def __init__(self, pipe: Connection, process: Any) -> None:
        self.pipe, self.process = pipe, process
        self._crew: Crew | None = None

    def give(self, task: Task) -> None:
        """Have it drive a task."""
        try:
            if self._crew is not task.crew:
                self.pipe.send(("crew", task.crew))
                self._crew = task.crew
            self.pipe.send(("plans", list(task.plans)))
        except OSError:
            raise _lost(task) from None


def _said(pipe: Connection, task: Task) -> tuple[str, Any]:
    try:
        what, answer = pipe.recv()
    except (EOFError, OSError):
        raise _lost(task) from None
    return what, answer


def _lost(task: Task) -> WorkerLostError:
    seeds = ", ".join(str(plan.seed) for plan in task.plans)
    return WorkerLostError(
        f"drive: a worker process ended by itself while it drove seeds {seeds}; was it killed, or out of memory? "
        "Drive again, with fewer --workers if memory is short"
    )


def _work(pipe: Connection) -> None:
    """A worker's life: drive what comes, until the pipe is closed."""
    begin_work()
    crew: Crew | None = None
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), contextlib.closing(Cockpit()) as cockpit:
        while True:
            what, given = pipe.recv()
            if what == "crew":
                crew = given
                continue
            assert crew is not None
            try:
                if crew.prepare is not None:
                    crew.prepare()
                result: Any = cockpit.drive(crew, given, lambda seconds: pipe.send(("seconds", seconds)))
            except (BrokenPipeError, ConnectionResetError):
                raise  # the parent is gone
            except BaseException as error:
                result = portable(error)
            pipe.send(("done", result))
