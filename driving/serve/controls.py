"""What a viewer may set, and what there is to choose from; whatever a browser sends is checked here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driving.attention import ATTRIBUTIONS
from driving.models import checkpoint
from driving.noise import KINDS, Noise
from driving.settings import World, env_maker
from sim.errors import BadInputError, one_line
from sim.families import FAMILIES
from sim.seasons import SEASONS
from sim.weathers import WEATHERS

PROCEDURAL = "lane/Procedural-v0"
MAX_POLICIES = 2
MAX_SEED = 499_999
"""Seeds beyond are kept for acceptance."""
METHODS = ("visual_backprop", "input_gradient", "grad_cam")
"""Those that are quick enough to be shown while a network drives."""
EPISODE_S = 240.0
"""Length of a road; then the next seed comes."""
AS_IT_COMES = ""
MAX_SEVERITY = 1e9


@dataclass(frozen=True)
class Menu:
    """What there is to choose from.

    Attributes:
        policies: names of policies, shipped ones or folders; only these are loaded.
        drives: folders of recorded drives by the name that viewers see.
    """

    policies: tuple[str, ...]
    drives: Mapping[str, Path] = field(default_factory=dict)

    @property
    def worlds(self) -> tuple[str, ...]:
        """The world of our own, then the recordings."""
        return (PROCEDURAL, *self.drives)

    def to_dict(self) -> dict[str, Any]:
        """For the page: every choice with its title, every noise with its unit, largest severity and three levels."""
        noises = [
            {
                "name": kind.name,
                "title": kind.words or kind.name.replace("_", " ").capitalize(),
                "group": kind.group,
                "unit": kind.unit,
                "levels": kind.levels,
                "most": kind.most if math.isfinite(kind.most) else 2 * kind.levels[-1],
                "text": kind.text.replace("`", ""),
            }
            for kind in KINDS.values()
        ]
        return {
            "policies": self.policies,
            "worlds": self.worlds,
            "families": tuple(FAMILIES),
            "seasons": tuple(SEASONS),
            "weathers": tuple(WEATHERS),
            "methods": METHODS,
            "noises": noises,
            "max_seed": MAX_SEED,
        }


def menu_of(policies: tuple[str, ...], drives: tuple[Path, ...]) -> Menu:
    """The shipped policies, every seed of them, and those that are named; drives by the names of their folders.

    Raises:
        BadInputError: a policy that is none, or two drives of one name.
    """
    names = dict.fromkeys(policies)
    for name in checkpoint.shipped_names():
        names[name] = None
        names |= dict.fromkeys(checkpoint.expand([f"{name}@all"]) if checkpoint.has_seeds(name) else [])
    by_name = {f"recording: {drive.name}": drive for drive in drives}
    if len(by_name) < len(drives):
        raise BadInputError("--data: two drives have the same name; rename a folder")
    return Menu(tuple(names), by_name)


@dataclass(frozen=True)
class Controls:
    """What one viewer sees; every field has a place in the page's address.

    Attributes:
        policies: one or two of the menu, on the same road.
        world: of the menu.
        family, season, weather: of the world of our own; "" takes them as they come.
        seed: of the road.
        noise, severity: the injection; "none" for a clean picture.
        method: of the attention map; "" shows the picture alone.
    """

    policies: tuple[str, ...] = ("ltc19", "lstm64")
    world: str = PROCEDURAL
    family: str = AS_IT_COMES
    season: str = AS_IT_COMES
    weather: str = AS_IT_COMES
    seed: int = 2005
    noise: str = "none"
    severity: float = 0.0
    method: str = METHODS[0]

    def changed(self, values: object, menu: Menu) -> Controls:
        """With what a browser sent in the place of some fields.

        Raises:
            BadInputError: an unknown field, or a value that the menu does not have.
        """
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise BadInputError("controls: expected an object of fields")
        known = {f.name for f in dataclasses.fields(self)}
        if unknown := sorted(values.keys() - known):
            raise BadInputError(f"controls: unknown field {one_line(repr(unknown[0]), 40)}")
        new = dict(values)
        if isinstance(new.get("policies"), list):
            new["policies"] = tuple(str(name) for name in new["policies"])
        for name, choices in {
            "world": menu.worlds,
            "family": (AS_IT_COMES, *FAMILIES),
            "season": (AS_IT_COMES, *SEASONS),
            "weather": (AS_IT_COMES, *WEATHERS),
            "noise": ("none", *KINDS),
            "method": ("", *METHODS),
        }.items():
            if name in new and not (isinstance(new[name], str) and new[name] in choices):
                raise BadInputError(f"controls: no {name} {one_line(repr(new[name]), 40)}")
        if "policies" in new:
            names = new["policies"]
            is_list = isinstance(names, tuple) and 1 <= len(names) <= MAX_POLICIES
            if not is_list or not set(names) <= set(menu.policies):
                raise BadInputError(f"controls: expected one or two policies of the menu, got {one_line(names, 60)}")
        if "seed" in new and not (type(new["seed"]) is int and 0 <= new["seed"] <= MAX_SEED):
            raise BadInputError(f"controls: expected a seed from 0 to {MAX_SEED}")
        if "severity" in new:
            value = new["severity"]
            if type(value) not in (int, float) or not 0 <= value <= MAX_SEVERITY:
                raise BadInputError("controls: expected a number of at least 0 as severity")
            new["severity"] = float(value)
        found = dataclasses.replace(self, **new)
        most = KINDS[found.noise].most if found.noise != "none" else math.inf
        if not 0 <= found.severity <= most:
            raise BadInputError(f"controls: expected a severity from 0 to {most:g}, got {found.severity:g}")
        return found

    def make_noise(self) -> Noise | None:
        """None for a clean picture."""
        return None if self.noise == "none" or self.severity == 0 else Noise(self.noise, self.severity)

    def make_world(self, menu: Menu) -> World:
        """A maker of environments that can be shown."""
        if self.world != PROCEDURAL:
            return env_maker("lane/Replay-v0", {"drive": str(menu.drives[self.world])}, EPISODE_S, render=True)
        chosen = {"family": self.family, "season": self.season, "weather": self.weather}
        return env_maker(PROCEDURAL, {key: value for key, value in chosen.items() if value}, EPISODE_S, render=True)


assert set(METHODS) <= set(ATTRIBUTIONS)
