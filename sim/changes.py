"""The counterfactual world: the same episode with one thing changed, and everything else as it was.

Road, car, weather and every object keep their places to the last bit, since each cause of an episode has a random
stream of its own. What a driver does differently is the effect of that thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.errors import BadInputError
from sim.surface_class import SurfaceClass

_OBJECTS = frozenset(surface for surface in SurfaceClass if surface > SurfaceClass.MARKING)


@dataclass(frozen=True)
class Change:
    """One thing that is changed.

    Attributes:
        name: key in ``CHANGES``.
        text: what it does, in words.
        concerns: classes of pixels whose effect it shows.
        without: objects that are left out.
        other: streams of the appearance that are drawn anew (``sim.appearance.scene``).
        has_shadows, has_markings: whether these are painted.
        nearest_vehicle: "gone", or "aside" by ``ASIDE_M``, away from the lane; that of each picture.
    """

    name: str
    text: str
    concerns: frozenset[SurfaceClass] = frozenset()
    without: frozenset[SurfaceClass] = frozenset()
    other: tuple[str, ...] = ()
    has_shadows: bool = True
    has_markings: bool = True
    nearest_vehicle: str = ""


ASIDE_M = 1.0
UNCHANGED = Change("none", "nothing")
_PAVEMENT = frozenset({SurfaceClass.ROAD, SurfaceClass.OWN_LANE})
_SKY = frozenset({SurfaceClass.SKY, SurfaceClass.HILLS})


def _without(name: str, text: str, *classes: SurfaceClass) -> Change:
    return Change(name, text, frozenset(classes), frozenset(classes))


_ALL = (
    UNCHANGED,
    Change("no_objects", "nothing stands or drives beside the road", _OBJECTS, _OBJECTS),
    _without("no_vegetation", "no trees and bushes", SurfaceClass.VEGETATION),
    _without("no_buildings", "no houses", SurfaceClass.BUILDING),
    _without("no_vehicles", "no other cars", SurfaceClass.VEHICLE),
    _without("no_signs", "no signs", SurfaceClass.SIGN),
    _without("no_posts", "no delineators, lamp posts and poles", SurfaceClass.POST),
    _without("no_barriers", "no guard rails, walls and fences", SurfaceClass.BARRIER),
    Change("no_markings", "nothing painted on the road", frozenset({SurfaceClass.MARKING}), has_markings=False),
    Change("no_shadows", "no hard shadows on the ground", has_shadows=False),
    Change("other_sky", "other hills and clouds", _SKY, other=("skyline", "clouds")),
    Change("other_verge", "other ground beside the road", frozenset({SurfaceClass.VERGE}), other=("verge",)),
    Change("other_pavement", "other asphalt: its grain and patches", _PAVEMENT, other=("pavement",)),
    Change("no_nearest_vehicle", "the nearest other car is gone", nearest_vehicle="gone"),
    Change("nearest_vehicle_aside", f"the nearest other car is {ASIDE_M:g} m further aside", nearest_vehicle="aside"),
)
CHANGES: Mapping[str, Change] = {change.name: change for change in _ALL}
"""Every change by its name."""


def change_of(name: str) -> Change:
    """By its name.

    Raises:
        BadInputError: there is none of that name.
    """
    if name not in CHANGES:
        raise BadInputError(f"change: expected one of {', '.join(CHANGES)}, got {name!r}")
    return CHANGES[name]
