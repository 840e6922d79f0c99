"""Many worlds at once: ``gymnasium.make_vec`` with the worlds split over a few worker processes.

Gymnasium's own ``AsyncVectorEnv`` has a process for each world and sends every mask through a pipe. Here a worker
holds several worlds, gets one short message a step, and writes pictures, masks and numbers into shared memory.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from sim.errors import BadInputError
from sim.processes import CLOSE_SECONDS, context, n_cores, start, stop
from sim.vector_worker import is_numeric, make_env, row_layout, shared_columns, size_bytes, work


def make_procedural(num_envs: int = 1, **options: Any) -> LaneVectorEnv:
    """``vector_entry_point`` of ``lane/Procedural-v0``."""
    return LaneVectorEnv("sim:lane/Procedural-v0", num_envs, **options)


def make_replay(num_envs: int = 1, **options: Any) -> LaneVectorEnv:
    """``vector_entry_point`` of ``lane/Replay-v0``."""
    return LaneVectorEnv("sim:lane/Replay-v0", num_envs, **options)


def make_metadrive(num_envs: int = 1, **options: Any) -> LaneVectorEnv:
    """``vector_entry_point`` of ``lane/MetaDrive-v0``."""
    return LaneVectorEnv("sim:lane/MetaDrive-v0", num_envs, **options)


class LaneVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Worlds of one kind stepped together; world i does exactly what the single environment would do.

    Keeps Gymnasium's vector contract: its three autoreset modes, ``info`` as a dict of arrays over the worlds with a
    mask ``_key`` each. Returned arrays are the caller's own. The worker processes import the program anew, so a
    script makes its worlds below ``if __name__ == "__main__":``. They end with this environment and with its
    process, whichever way that ends.

    An exception in a world is raised here as itself; ``reset`` starts anew after it.

    Args:
        env_id: Gymnasium id, with the module that registers it: ``"sim:lane/Procedural-v0"``.
        num_envs: worlds.
        n_workers: processes; None takes one for each core, never more than worlds. A kind of world of which a
            process holds only a few (``MAX_PER_PROCESS``) gets as many processes as that takes.
        autoreset_mode: when a world that ended begins anew. ``NEXT_STEP``: in the next ``step``, whose action it
            ignores; ``SAME_STEP``: at once, what it ended with is in ``final_obs`` and ``final_info``; ``DISABLED``:
            in ``reset(options={"reset_mask": ...})`` alone.
        options: of every world.

    Raises:
        BadInputError: numbers below 1, or what the world says of its options.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int = 1,
        n_workers: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **options: Any,
    ) -> None:
        if num_envs < 1 or (n_workers is not None and n_workers < 1):
            raise BadInputError(f"expected num_envs and n_workers of at least 1, got {num_envs}, {n_workers}")
        try:
            self._mode = AutoresetMode(autoreset_mode)
        except ValueError:
            known = ", ".join(mode.value for mode in AutoresetMode)
            raise BadInputError(f"autoreset_mode: expected one of {known}, got {autoreset_mode!r}") from None
        env = make_env(env_id, options)  # wrong options fail here, before any process starts
        try:
            info = env.reset(seed=0)[1]
            self.metadata = dict(env.metadata) | {"autoreset_mode": self._mode}
            self.render_mode = env.render_mode
            self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
            limit = type(env).MAX_PER_PROCESS or num_envs
        finally:
            env.close()
        self.num_envs = num_envs
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        numbers = {key: value for key, value in info.items() if is_numeric(value)}
        self._info_keys = list(numbers)
        layout = row_layout(self.single_observation_space, self.single_action_space, numbers)
        memory = context().RawArray("B", size_bytes(layout, num_envs))
        self._columns = shared_columns(memory, layout, num_envs)
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        self._stop = weakref.finalize(self, stop, self._pipes, self._processes)
        n_workers = max(min(n_workers or n_cores(), num_envs), math.ceil(num_envs / limit))
        try:
            for places in np.array_split(np.arange(num_envs), n_workers):
                pipe, process = start(work, memory, layout, num_envs, places.tolist(), env_id, options, self._mode)
                self._pipes.append(pipe)
                self._processes.append(process)
            self._answers()  # worlds are made
        except BaseException:
            self.close()
            raise

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every world; an int seeds world i with ``seed + i``.

        ``options={"reset_mask": mask}``, bool (num_envs,), starts one in those worlds alone.
        """
        if seed is None or isinstance(seed, (int, np.integer)):
            super().reset(seed=None if seed is None else int(seed))
            seeds: list[int | None] = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise BadInputError(f"reset: expected a seed for each of {self.num_envs} worlds, got {len(seeds)}")
        mask = np.ones(self.num_envs, bool)
        if options is not None and "reset_mask" in options:
            options = dict(options)
            mask = np.asarray(options.pop("reset_mask"))
            if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
                raise BadInputError(
                    f"reset: expected a reset_mask of {self.num_envs} bools, not all of them False, got {mask.dtype} "
                    f"{mask.shape}"
                )
        infos = self._ask("reset", seeds, options, mask)
        return self._columns["observation"].copy(), self._batched(infos)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Drive every world one step; one that ended in it, or in the step before, starts anew by ``autoreset_mode``.

        Args:
            actions: float32 (num_envs, 1).

        Returns:
            Observations uint8 (num_envs, H, W, 3), rewards float64, terminations and truncations bool (num_envs,),
            infos.
        """
        shape = self._columns["action"].shape
        if np.shape(actions) != shape:
            raise BadInputError(f"step: expected actions of shape {shape}, got {np.shape(actions)}")
        self._columns["action"][:] = actions
        infos = self._ask("step")
        answers = (self._columns[name].copy() for name in ("observation", "reward", "terminated", "truncated"))
        return *answers, self._batched(infos)  # type: ignore[return-value]

    def render(self) -> tuple[Any, ...]:
        """The pictures of all worlds."""
        return self.call("render")

    def call(self, name: str, *args: Any) -> tuple[Any, ...]:
        """What a method of each world returns, or the value of an attribute: ``call("expert_curvature_per_m")``."""
        return tuple(self._ask("call", name, args))

    def close_extras(self, **kwargs: Any) -> None:
        """End the workers."""
        self._stop()

    def _ask(self, *message: Any) -> list[Any]:
        """Send one message to every worker; what they answer, one entry a world."""
        if self.closed:
            raise gymnasium.error.ClosedEnvironmentError("the worlds are closed; make them again")
        for k, pipe in enumerate(self._pipes):
            try:
                pipe.send(message)
            except OSError:
                self._give_up(k)
        return self._answers()

    def _answers(self) -> list[Any]:
        answers: list[Any] = []
        first_error: BaseException | None = None
        for k, pipe in enumerate(self._pipes):  # all are read, so that a later answer is to a later question
            try:
                worked, answer = pipe.recv()
            except (EOFError, OSError):
                self._give_up(k)
            except KeyboardInterrupt:
                self.close()  # answers left behind would be taken for those to later questions
                raise
            if worked:
                answers += answer
            else:
                first_error = first_error or answer
        if first_error is not None:
            raise first_error
        return answers

    def _give_up(self, k: int) -> None:
        """A worker is gone, and with it its worlds."""
        process = self._processes[k]
        process.join(CLOSE_SECONDS)
        self.close()
        raise RuntimeError(
            f"worker process {k} of {len(self._processes)} ended by itself (exit status {process.exitcode}); "
            "if this is a script, make the worlds below `if __name__ == '__main__':`"
        )

    def _batched(self, rest: list[dict[str, Any]]) -> dict[str, Any]:
        """The infos of all worlds: numbers and arrays from shared memory, the ``rest`` as it was sent."""
        batch: dict[str, Any] = {}
        for key in self._info_keys:
            known = self._columns[f"_{key}"]
            if known.any():
                batch[key], batch[f"_{key}"] = self._columns[f"info {key}"].copy(), known.copy()
        for i, info in enumerate(rest):
            if info:
                batch = self._add_info(batch, info, i)
        return batch
