"""Worlds by name and option, and closed-loop figures for each of their settings."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

import sim  # noqa: F401  (registers the environments)
from driving.rollout import PolicyOrActor, rollout, summarise, totals
from sim.episodes import EpisodeLog
from sim.errors import BadInputError
from sim.injection import MakeInjection
from sim.lane_env import LaneEnv
from sim.vector_worker import make_env


def parse_env_options(options: Sequence[str] | None) -> dict[str, Any]:
    """``NAME=VALUE`` each; numbers become numbers, true and false become booleans.

    >>> parse_env_options(["min_radius_m=50", "season=winter", "drive=recordings/b@0:921"])
    {'min_radius_m': 50.0, 'season': 'winter', 'drive': 'recordings/b@0:921'}
    """
    parsed: dict[str, Any] = {}
    for option in options or []:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise BadInputError(f"env-option: expected NAME=VALUE, got {option!r}")
        parsed[name] = _parse_value(value)
    return parsed


def parse_vary(options: Sequence[str] | None) -> list[dict[str, Any]]:
    """``NAME=V1,V2`` each -> all combinations, the last name running fastest; one empty one without options.

    >>> parse_vary(["season=summer,winter", "max_speed_mps=9"])
    [{'season': 'summer', 'max_speed_mps': 9.0}, {'season': 'winter', 'max_speed_mps': 9.0}]
    """
    values_of: dict[str, list[Any]] = {}
    for option in options or []:
        name, equals, text = option.partition("=")
        values = [_parse_value(value) for value in text.split(",")]
        if not equals or not name or "" in values or len(set(values)) < len(values) or name in values_of:
            raise BadInputError(f"vary: expected NAME=V1,V2 with different values, each name once, got {option!r}")
        values_of[name] = values
    return [dict(zip(values_of, values, strict=True)) for values in itertools.product(*values_of.values())]


def _parse_value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def known_envs() -> list[str]:
    """Ids of the environments that come with the project, or are registered beside them."""
    return sorted(env_id for env_id in gymnasium.registry if env_id.startswith("lane/"))


def find_env(env_id: str) -> EnvSpec | None:
    """The registered ``LaneEnv`` of a Gymnasium id; ``MODULE:ID`` imports the module that registers it."""
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(name)
        entry: Any = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    except (ImportError, ValueError, gymnasium.error.Error):
        return None
    return spec if isinstance(entry, type) and issubclass(entry, LaneEnv) else None


@dataclass(frozen=True)
class World:
    """Makes environments of one kind; passes through a pipe, so that worker processes make their own.

    Attributes:
        env: Gymnasium id or specification; a worker process may not have registered what this one has.
        options: of the environment.
        render: whether it can be shown to people.
    """

    env: str | EnvSpec
    options: Mapping[str, Any]
    render: bool = False

    def __call__(self) -> LaneEnv:
        mode = "rgb_array" if self.render else None
        return make_env(self.env, {"render_mode": mode, **self.options})


def env_maker(env_id: str, options: Mapping[str, Any], seconds: float, render: bool = False) -> World:
    """A maker of environments for episodes of ``seconds``; wrong ids and options fail at once.

    Args:
        env_id: see ``find_env``.
    """
    spec = find_env(env_id)
    if spec is None:
        raise BadInputError(
            f"environment: expected one of {', '.join(known_envs())} or MODULE:ID of a subclass of LaneEnv, got "
            f"{env_id!r}"
        )
    world = World(spec, {"episode_seconds": seconds} | dict(options), render)
    try:
        world().close()
    except (TypeError, gymnasium.error.Error) as error:
        raise BadInputError(f"environment {env_id}: options {dict(world.options)}: {error}") from None
    return world


def drive_settings(
    policy: PolicyOrActor,
    env_id: str,
    options: Mapping[str, Any],
    variations: Sequence[Mapping[str, Any]],
    seeds: Sequence[int],
    seconds: float,
    noise: MakeInjection | None = None,
    n_workers: int = 1,
    on_seconds: Callable[[float], None] = lambda seconds: None,
) -> dict[str, Any]:
    """Drive the same seeds at each variation of the options: ``summarise`` over everything, and ``settings``.

    Args:
        variations: of ``options``, as ``parse_vary`` gives them; all are tried before anything is driven.

    Returns:
        The keys of ``summarise``, and ``settings``: a row of ``totals`` for each variation or, where only one was
        driven, for each value that the env itself drew for some of its episodes but not for all.

    Raises:
        BadInputError: as ``env_maker`` and ``rollout`` do, or an option is given and varied.
    """
    if twice := {name for variation in variations for name in variation} & options.keys():
        raise BadInputError(f"vary: expected names that no --env-option sets, got {', '.join(sorted(twice))}")
    makers = [env_maker(env_id, {**options, **variation}, seconds) for variation in variations]
    started_s = time.perf_counter()
    groups: list[tuple[dict[str, Any], list[EpisodeLog]]] = []
    for variation, maker in zip(variations, makers, strict=True):
        logs = rollout(policy, maker, seeds, seconds, noise, n_workers=n_workers, on_seconds=on_seconds)
        for log in logs:
            log.setting = {**variation, **log.setting}  # what was drawn says more than "any"
        groups.append((dict(variation), logs))
    everything = [log for _, logs in groups for log in logs]
    figures = summarise(everything, time.perf_counter() - started_s)
    groups = groups if len(groups) > 1 else drawn_groups(everything)
    return figures | {"settings": [{"setting": setting, **totals(logs)} for setting, logs in groups]}


def drawn_groups(logs: Sequence[EpisodeLog]) -> list[tuple[dict[str, Any], list[EpisodeLog]]]:
    """The episodes of each value of each key of their settings; keys that are the same for all are left out.

    One key at a time: a group for every combination would hold hardly an episode each.
    """
    groups = []
    for key in dict.fromkeys(key for log in logs for key in log.setting):
        values = sorted({log.setting[key] for log in logs if key in log.setting}, key=str)
        by_value = [(v, [log for log in logs if log.setting.get(key) == v]) for v in values]
        if any(len(members) < len(logs) for _, members in by_value):
            groups += [({key: value}, members) for value, members in by_value]
    return groups
