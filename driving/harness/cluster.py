"""The same episodes and trainings on a Ray cluster (extra ``ray``); its processes keep their worlds and policies.

What a lost process was doing is given to another one: a machine that goes down costs the episodes it was driving, and
of a training what came after its last resume point.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from driving.learning_curve import LOG_NAME, read_log
from driving.recipe import Training
from driving.rollout import one_thread
from sim.episode_workers import Cockpit, Crew, GroupResult, Task
from sim.episodes import EpisodePlan
from sim.errors import BadInputError, WorkerLostError
from sim.files import make_folder

N_TRIES, N_WAITING = 4, 4
"""How often a task is given again, and how many wait for each processor of the cluster."""
LOOK_EVERY_S = 1.0
Row = dict[str, Any]
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
        raise BadInputError('--ray needs Ray, got none; pip install "liquid-lane[ray]"') from None
    if not ray.is_initialized():
        try:
            ray.init(address=None if address == "local" else address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # whatever Ray raises
            reason = str(error).partition("\n")[0][:200]
            raise BadInputError(f"--ray: expected a cluster at {address}, got {reason}") from None
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


def _train(training: Training, resume: bool) -> BaseException | None:
    """In a process of the cluster: one whole training, in its folder."""
    one_thread()
    try:
        make_folder(training.out)
        training.run(resume and training.is_begun)
    except Exception as error:
        return error
    return None


def train_on(
    ray: Any,
    trainings: Sequence[Training],
    resume: bool = False,
    on_row: Callable[[int, Row], None] = lambda i, row: None,
) -> None:
    """As ``driving.recipe.run_side_by_side``, on the cluster that ``ray`` is connected to.

    The folders lie where every machine of the cluster sees them under the same path: the rows of the logs are read
    there, and another machine goes on from the resume point of a lost one.

    Raises:
        WorkerLostError: a training was lost with its process ``N_TRIES`` times.
    """
    remote = ray.remote(num_cpus=1, max_retries=0)(_train)
    trainings = [dataclasses.replace(training, out=training.out.resolve()) for training in trainings]
    waiting = [i for i, training in enumerate(trainings) if not (resume and training.is_done)]
    for i in [] if resume else waiting:
        (trainings[i].out / LOG_NAME).unlink(missing_ok=True)  # its rows would be told as those of this run
    tries = dict.fromkeys(waiting, 1)
    pending = {remote.remote(trainings[i], resume): i for i in waiting}
    told = dict.fromkeys(waiting, 0)

    def tell() -> None:
        for i in waiting:
            for row in read_log(trainings[i].out)[told[i] :]:
                told[i] += 1
                on_row(i, row)

    try:
        while pending:
            done, _ = ray.wait(list(pending), num_returns=1, timeout=LOOK_EVERY_S)
            tell()
            for task in done:
                i = pending.pop(task)
                try:
                    error = ray.get(task)
                except ray.exceptions.RayError as lost:
                    if tries[i] == N_TRIES:
                        raise WorkerLostError(
                            f"train: the cluster lost {trainings[i].out} {N_TRIES} times ({type(lost).__name__}); go "
                            "on with --resume"
                        ) from None
                    tries[i] += 1
                    pending[remote.remote(trainings[i], True)] = i
                    continue
                if error is not None:
                    raise error
    finally:
        for task in pending:
            ray.cancel(task, force=True)
