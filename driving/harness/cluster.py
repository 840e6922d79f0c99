"""The same episodes on a Ray cluster (extra ``ray``): each of its processes keeps its worlds and its policy.

Ray gives a task again to another process where one was lost, so a machine that goes down costs what it was driving.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from driving.rollout import one_thread
from sim.episode_workers import Cockpit, Crew, GroupResult, Task
from sim.episodes import EpisodePlan
from sim.errors import BadInputError, WorkerLostError

N_TRIES, N_WAITING = 4, 4
"""How often a task is given again, and how many wait for each processor of the cluster."""
_cockpit: Cockpit | None = None  # of a process of the cluster


def _drive(crew: Crew, plans: Sequence[EpisodePlan]) -> GroupResult | BaseException:
    """In a process of the cluster: drive, and keep the worlds for the next task."""
    global _cockpit
    one_thread()
    _cockpit = _cockpit or Cockpit()
    try:
        return _cockpit.drive(crew, plans, lambda seconds: None)
    except Exception as error:
        return error


def connect(address: str) -> Any:
    """The module ``ray``, connected to a cluster: ``auto`` or ``HOST:PORT``; ``local`` begins one on this machine.

    Raises:
        BadInputError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise BadInputError('stress: --ray needs Ray, got none; pip install "liquid-lane[ray]"') from None
    if not ray.is_initialized():
        try:
            ray.init(address=None if address == "local" else address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # whatever Ray raises
            reason = str(error).partition("\n")[0][:200]
            raise BadInputError(f"stress: --ray: expected a cluster at {address}, got {reason}") from None
    return ray


def drive_tasks_on(ray: Any, tasks: Sequence[Task]) -> Iterator[tuple[int, GroupResult | BaseException]]:
    """As ``sim.episode_workers.drive_tasks``, on the cluster that ``ray`` is connected to.

    Raises:
        WorkerLostError: a task was lost with its process ``N_TRIES`` times.
    """
    remote = ray.remote(num_cpus=1, max_retries=N_TRIES)(_drive)
    sent: dict[int, Any] = {}
    pending: dict[Any, int] = {}
    waiting = iter(range(len(tasks)))
    n_at_once = N_WAITING * max(1, int(ray.cluster_resources().get("CPU", 1)))
    try:
        while True:
            while len(pending) < n_at_once and (i := next(waiting, None)) is not None:
                crew = tasks[i].crew
                if id(crew) not in sent:
                    sent[id(crew)] = ray.put(crew)  # once, whatever number of tasks
                pending[remote.remote(sent[id(crew)], list(tasks[i].plans))] = i
            if not pending:
                return
            (done, *_), _ = ray.wait(list(pending), num_returns=1)
            i = pending.pop(done)
            try:
                result = ray.get(done)
            except ray.exceptions.RayError as error:
                seeds = ", ".join(str(plan.seed) for plan in tasks[i].plans)
                raise WorkerLostError(
                    f"stress: the cluster lost seeds {seeds} {N_TRIES} times ({type(error).__name__}); give the same "
                    "command again to go on"
                ) from None
            yield i, result
    finally:
        for task in pending:
            ray.cancel(task, force=True)
