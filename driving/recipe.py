"""From the settings of a training to a policy: one run, or one for each of several seeds side by side."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from driving.car import car_of, check_limit
from driving.learning_curve import CURVE_NAME, LOG_NAME, Validation, badness
from driving.model_card import CARD_NAME, model_card
from driving.models import checkpoint
from driving.models.device import AUTO, pick_device
from driving.models.policy import CORES, ENCODERS, Policy, PolicyConfig, build_policy
from driving.models.resume import PRETRAIN_RESUME_NAME, RESUME_NAME
from driving.models.wiring import KINDS, WiringConfig
from driving.online import END_OF_SEEDS, OnlineConfig, OnlineWindows
from driving.pretraining import Places, PretrainConfig, pretrain_encoder
from driving.response import response
from driving.rollout import one_thread, rollout, totals
from driving.settings import World, env_maker
from driving.train import LR_PRETRAINED_ENCODER, TrainConfig, train
from sim.drive import Drive, find_drives
from sim.errors import BadInputError, WorkerLostError
from sim.files import write_json, write_text
from sim.frame_cache import cached_drive
from sim.processes import begin_work, portable, start, stop

DEFAULT_WORLD = "lane/Procedural-v0"
PLACES_ROAD_S = 30.0
"""The roads whose places are seen before anything drives are as long as a car drives in this time."""
Row = dict[str, Any]


@dataclass(frozen=True)
class NewPolicy:
    """What a training starts from: a new network, or a policy that is there.

    Attributes:
        core, encoder, wiring: kinds; None for the default, and with ``init``.
        initial_c: of core ltc, initial C / sub-step.
        init: folder or name of a policy to start from.
        max_curvature: limit of a new policy's command in 1/m; None: what the drives ask for (``car_of``).
    """

    core: str | None = None
    encoder: str | None = None
    wiring: str | None = None
    initial_c: float | None = None
    init: str | None = None
    max_curvature: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the policy's pictures."""
        config = PolicyConfig() if self.init is None else checkpoint.load(self.init).config
        return config.height_px, config.width_px

    def build(self, seed: int, drives: Sequence[Drive] = ()) -> Policy:
        """The policy; the same seed gives the same weights.

        Args:
            seed: of the weights.
            drives: to learn from; a new policy gets the limit and the camera of their car.

        Raises:
            BadInputError: kinds that do not exist or fit, or drives that bend beyond the limit of ``init``.
        """
        core, encoder, wiring, initial_c = self.core, self.encoder, self.wiring, self.initial_c
        if core is not None and core not in CORES:
            raise BadInputError(f"core: expected one of {', '.join(CORES)}, got {core!r}")
        if self.init is not None:
            policy = checkpoint.load(self.init)
            check_limit(policy, drives, self.init)
            if self.max_curvature is not None:
                raise BadInputError("--max-curvature: is for new policies; leave it out with --init")
            if core not in (None, policy.config.core) or not (initial_c is encoder is wiring is None):
                raise BadInputError(
                    f"--init: {self.init} has core {policy.config.core}; leave out --core, --initial-c, --encoder "
                    "and --wiring"
                )
            return policy
        core, encoder = core or "ltc", encoder or "shared"
        fields_of = {name: {f.name for f in dataclasses.fields(config)} for name, (config, _) in CORES.items()}
        if encoder not in ENCODERS:
            raise BadInputError(f"--encoder: expected one of {', '.join(ENCODERS)}, got {encoder!r}")
        if encoder != "shared" and "n_inputs" not in fields_of[core]:
            able = ", ".join(name for name, fields in fields_of.items() if "n_inputs" in fields)
            raise BadInputError(
                f"--encoder: core {core} takes the 32 features of shared only, got {encoder}; cores for any of "
                f"{', '.join(ENCODERS)}: {able}"
            )
        settings: dict[str, Any] = {}
        if initial_c is not None:
            if "initial_c" not in fields_of[core]:
                raise BadInputError(f"--initial-c: only core ltc has it, got core {core}")
            settings["initial_c"] = initial_c
        if wiring is not None:
            if wiring not in KINDS:
                raise BadInputError(f"--wiring: expected one of {', '.join(KINDS)}, got {wiring!r}")
            if "wiring" not in fields_of[core]:
                able = ", ".join(name for name, fields in fields_of.items() if "wiring" in fields)
                raise BadInputError(f"--wiring: only cores {able} have one ({', '.join(KINDS)}), got core {core}")
            settings["wiring"] = WiringConfig(wiring)
        core_config = CORES[core][0](**settings) if settings else None
        car = car_of(drives, self.max_curvature)
        return build_policy(PolicyConfig(core, core_config, encoder=encoder, **car), seed)


@dataclass(frozen=True)
class Training:
    """Everything that decides the result of a training; passes through a pipe.

    Attributes:
        out: folder of the policy to make.
        config: of the loop, its seed among it.
        start: what it starts from.
        data: drives, ``FOLDER`` or ``FOLDER@A:B``; or else
        env, env_options, online: the world to train in, and how;
        pretrain: and the part before it, of new policies.
        validate: drives for open-loop figures at the end.
        validate_every: steps between two closed-loop validations; 0 for none.
        device: that trains (``driving.models.device``); the bits of a result are those of one kind of processor.
        command: line that made it, for the model card.
        validation_seeds, validation_seconds: the roads of these, neither those of tests nor those of trainings.
    """

    out: Path
    config: TrainConfig
    start: NewPolicy = NewPolicy()
    data: tuple[str, ...] = ()
    env: str | None = None
    env_options: Mapping[str, Any] = field(default_factory=dict)
    online: OnlineConfig = field(default_factory=OnlineConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    validate: tuple[str, ...] = ()
    validate_every: int = 0
    device: str = AUTO
    command: str = ""
    validation_seeds: range = range(3000, 3024)
    validation_seconds: float = 30.0

    def run(
        self,
        resume: bool = False,
        on_step: Callable[[int, float], None] = lambda step, loss: None,
        on_row: Callable[[Row], None] = lambda row: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> dict[str, Any]:
        """Train and save; see ``driving.train.train``. ``on_note`` is told what is made on disk for the drives."""
        device = pick_device(self.device)
        keep_freed_memory()
        drives, validation = self.load_drives(on_note)
        policy = self.start.build(self.config.seed, drives)
        closed_loop = None
        if self.validate_every:
            world = env_maker(self.env or DEFAULT_WORLD, self.env_options, self.validation_seconds)
            closed_loop = Validation(self.validate_every, partial(self._validated, world))
        with contextlib.ExitStack() as stack:
            source: Any = drives
            if self.env is not None:
                make_env = env_maker(self.env, self.env_options, self.online.episode_seconds)
                source = stack.enter_context(
                    contextlib.closing(OnlineWindows(make_env, self.online, self.config, self._world))
                )
            rows_before = self.see_places(policy, resume, on_row, device)
            config = self.config
            has_seen = rows_before is not None
            if has_seen and config.lr_encoder is None:
                config = dataclasses.replace(config, lr_encoder=LR_PRETRAINED_ENCODER)
            goes_on = resume and ((self.out / RESUME_NAME).is_file() or not has_seen)
            metrics = train(
                policy, source, config, self.out, validation, goes_on, on_step, closed_loop, on_row, device,
                rows_before or (),
            )  # fmt: skip
        if self.env is not None:
            world = env_maker(self.env, self.env_options, self.validation_seconds)
            metrics["response"] = response(policy, world, self.validation_seeds)
            write_json(self.out / checkpoint.METRICS, metrics)
        (self.out / PRETRAIN_RESUME_NAME).unlink(missing_ok=True)
        write_text(self.out / CARD_NAME, model_card(policy, metrics, self.out.name, self.command))
        return metrics

    def load_drives(self, on_note: Callable[[str], None] = lambda text: None) -> tuple[list[Drive], list[Drive]]:
        """Those to learn from and those of the figures at the end, their frames mapped from the cache."""
        size = self.start.size
        data, validate = (
            [cached_drive(spec, *size, on_new=on_note) for spec in find_drives(specs)]
            for specs in (self.data, self.validate)
        )
        return data, validate

    def see_places(
        self, policy: Policy, resume: bool, on_row: Callable[[Row], None], device: torch.device
    ) -> list[Row] | None:
        """The part before anything drives, by which the policy's encoder learns; its rows of the log, None if there is
        no such part."""
        if self.env is None or self.start.init is not None or self.pretrain.n_steps == 0:
            return None
        if resume and not self.is_begun:
            return None  # there is nothing to go on with, as the next part will say
        make_env = env_maker(self.env, self.env_options, PLACES_ROAD_S)
        seeds = range(self.online.first_seed, END_OF_SEEDS)
        with contextlib.closing(Places(make_env, self.pretrain, self.config, seeds)) as places:
            # Not the core's kind: one encoder and one seed give one first part, whatever comes behind it.
            config = policy.config
            run = self._world | {"encoder": config.encoder, "size_px": [config.height_px, config.width_px]}
            return pretrain_encoder(policy, places, self.pretrain, self.config, self.out, run, resume, on_row, device)

    @property
    def _world(self) -> dict[str, Any]:
        """The world in words, for resume points and metrics."""
        pretraining = None if self.start.init is not None else dataclasses.asdict(self.pretrain)
        return {"env": self.env, "env_options": dict(self.env_options), "pretraining": pretraining}

    def _validated(self, make_env: World, policy: Policy) -> dict[str, Any]:
        return totals(rollout(policy, make_env, self.validation_seeds, self.validation_seconds))

    @property
    def is_done(self) -> bool:
        """Whether its policy is there."""
        return (self.out / checkpoint.CONFIG).is_file()

    @property
    def is_begun(self) -> bool:
        """Whether there is a resume point."""
        return any((self.out / name).is_file() for name in (RESUME_NAME, PRETRAIN_RESUME_NAME))


# Several seeds -----------------------------------------------------------------------------------------------


def of_seeds(training: Training, seeds: Iterable[int]) -> list[Training]:
    """The same training with each seed, in folders of their own below ``out``."""
    return [
        dataclasses.replace(
            training, out=training.out / str(seed), config=dataclasses.replace(training.config, seed=seed)
        )
        for seed in seeds
    ]


def run_side_by_side(
    trainings: Sequence[Training],
    n_workers: int,
    resume: bool = False,
    on_row: Callable[[int, Row], None] = lambda i, row: None,
) -> None:
    """Run trainings in processes of one thread each, ``n_workers`` at a time.

    With ``resume`` those that are done are left alone, and those that were begun go on.

    Raises:
        WorkerLostError: a process ended by itself; the others are stopped, and can be resumed.
    """
    waiting = [i for i, training in enumerate(trainings) if not (resume and training.is_done)]
    at_work: dict[Connection, tuple[int, Any]] = {}
    try:
        while waiting or at_work:
            while waiting and len(at_work) < n_workers:
                i = waiting.pop(0)
                here, process = start(_work, trainings[i], resume)
                at_work[here] = i, process
            for pipe in wait(list(at_work)):
                assert isinstance(pipe, Connection)
                i, process = at_work[pipe]
                try:
                    what, answer = pipe.recv()
                except (EOFError, OSError):
                    raise WorkerLostError(
                        f"train: the process of {trainings[i].out} ended by itself; was it killed, or out of memory? "
                        "Go on with --resume, with fewer --workers if memory is short"
                    ) from None
                if what == "error":
                    raise answer
                if what == "row":
                    on_row(i, answer)
                else:
                    del at_work[pipe]
                    stop([pipe], [process])
    finally:
        stop(at_work, [process for _, process in at_work.values()], at_once=True)


def _work(pipe: Any, training: Training, resume: bool) -> None:
    begin_work()
    one_thread()
    try:
        training.run(resume and training.is_begun, on_row=lambda row: pipe.send(("row", row)))
        pipe.send(("done", None))
    except BrokenPipeError:
        return  # the parent is gone
    except BaseException as error:
        with contextlib.suppress(OSError):
            pipe.send(("error", portable(error)))


def figures_of(trainings: Sequence[Training]) -> list[dict[str, Any]]:
    """What ``metrics.json`` holds of each, when it is done."""
    return [json.loads((training.out / checkpoint.METRICS).read_text()) for training in trainings]


def take_median(trainings: Sequence[Training], out: Path) -> int:
    """Copy the policy that is in the middle by its validation to ``out``; its place among ``trainings``.

    Of an even number the better one of the two in the middle.
    """
    figures = figures_of(trainings)
    if not all("closed_loop_validation" in row for row in figures):
        raise BadInputError("train: expected figures of a validation; choose a median with --validate-every")
    order = sorted(range(len(figures)), key=lambda i: badness(figures[i]["closed_loop_validation"]))
    median = order[(len(order) - 1) // 2]
    chosen = trainings[median]
    policy, metrics = checkpoint.load(chosen.out), figures[median] | {"seed": chosen.config.seed}
    checkpoint.save(policy, out, metrics)
    write_text(out / CARD_NAME, model_card(policy, metrics, out.name, chosen.command))
    for name in (LOG_NAME, CURVE_NAME):
        shutil.copyfile(chosen.out / name, out / name)
    return median


def keep_freed_memory() -> None:
    """Let glibc keep what is freed instead of returning it to the system.

    A training step frees and takes the same large arrays again and again; mapping them anew costs up to a third
    of its time. Where the C library is another one, nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    m_trim_threshold, m_mmap_max = -1, -4  # names and numbers of <malloc.h>
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)
