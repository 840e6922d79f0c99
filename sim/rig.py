"""What a recording does not say itself: its camera's geometry, and the car's."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

from sim.camera import Camera, focal_of
from sim.drive import VehicleFacts
from sim.errors import BadInputError, foreign_errors

RIG_FILE = "camera.toml"
"""Read from a recording's folder when it lies there."""


@dataclass(frozen=True)
class Rig:
    """What is known of the camera and the car of a recording; None where the format's own guess holds.

    Attributes:
        fov_deg: field of view from the left to the right border of the picture.
        focal_px: focal length in pixels of the picture as it was recorded; in the place of ``fov_deg``.
        camera_height_m: of the lens above the ground.
        horizon_px: row of the horizon in the picture as it was recorded, counted from the top.
        vanishing_px: column in which a straight road vanishes, counted from the left; default: the middle.
        wheelbase_m: front to rear axle.
        steering_ratio: angle of the steering wheel / angle of the road wheels.
        full_lock_deg: angle of the road wheels at the stop of the steering.
    """

    fov_deg: float | None = None
    focal_px: float | None = None
    camera_height_m: float | None = None
    horizon_px: float | None = None
    vanishing_px: float | None = None
    wheelbase_m: float | None = None
    steering_ratio: float | None = None
    full_lock_deg: float | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_place = field.name in ("horizon_px", "vanishing_px")
            if value is None:
                continue
            if type(value) not in (int, float) or not math.isfinite(value) or (value <= 0 and not is_place):
                raise BadInputError(f"{field.name}: expected a {'' if is_place else 'positive '}number, got {value!r}")
        for name, limit in (("fov_deg", 180.0), ("full_lock_deg", 90.0)):
            if (getattr(self, name) or 0.0) >= limit:
                raise BadInputError(f"{name}: expected less than {limit:g}, got {getattr(self, name):g}")
        if self.fov_deg is not None and self.focal_px is not None:
            raise BadInputError("fov_deg and focal_px say the same thing; give one of them")

    def or_else(self, other: Rig) -> Rig:
        """This, and what only ``other`` knows."""
        both = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in both:
            is_known_otherwise = name in ("fov_deg", "focal_px") and (self.fov_deg or self.focal_px)
            if both[name] is None and not is_known_otherwise:
                both[name] = getattr(other, name)
        return Rig(**both)

    def camera(self, guess: Camera, height_px: int, width_px: int) -> Camera:
        """The camera of pictures of that size: what is known, else what ``guess`` has.

        A guess at another size keeps its field of view from left to right and the horizon's share of the height.
        """
        scaled = guess.resized(height_px, width_px)
        focal_px = self.focal_px or scaled.focal_u_px
        if self.fov_deg is not None:
            focal_px = focal_of(self.fov_deg, width_px)
        squeeze = guess.focal_v_px / guess.focal_u_px
        return Camera(
            height_px,
            width_px,
            focal_px,
            focal_px * squeeze,
            scaled.horizon_u_px if self.vanishing_px is None else float(self.vanishing_px),
            scaled.horizon_v_px if self.horizon_px is None else float(self.horizon_px),
            guess.height_m if self.camera_height_m is None else float(self.camera_height_m),
        )

    def vehicle(self, guess: VehicleFacts) -> VehicleFacts:
        """The car: what is known, else what ``guess`` has."""
        lock_rad = None if self.full_lock_deg is None else math.radians(self.full_lock_deg)
        known = {"wheelbase_m": self.wheelbase_m, "steering_ratio": self.steering_ratio, "full_lock_rad": lock_rad}
        return dataclasses.replace(guess, **{name: value for name, value in known.items() if value is not None})  # type: ignore[arg-type]

    def assumed(self, guess: VehicleFacts) -> str:
        """A sentence that names what rests on the format's guess; empty where all is known."""
        parts = []
        if self.fov_deg is None and self.focal_px is None:
            parts.append("focal length")
        parts += [
            text
            for text, value in (("camera height", self.camera_height_m), ("horizon", self.horizon_px))
            if value is None
        ]
        if self.wheelbase_m is None and guess.wheelbase_m is not None:
            parts.append(f"wheelbase {guess.wheelbase_m:g} m")
        if self.steering_ratio is None and guess.steering_ratio is not None:
            parts.append(f"steering ratio {guess.steering_ratio:g}")
        if self.full_lock_deg is None and guess.full_lock_rad is not None:
            parts.append(f"full lock {math.degrees(guess.full_lock_rad):.3g} degrees")
        return f"Estimated: {', '.join(parts)}." if parts else ""


def load_rig(path: Path) -> Rig:
    """A rig from a TOML file whose keys are the fields of ``Rig``.

    Raises:
        BadInputError: it cannot be read, or has a key that is none.
    """
    with foreign_errors(path, "expected a TOML file such as: fov_deg = 65.0"):
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    known = [field.name for field in dataclasses.fields(Rig)]
    strange = sorted(set(values) - set(known))
    if strange:
        raise BadInputError(f"{path}: unknown key {strange[0]!r}; known: {', '.join(known)}")
    try:
        return Rig(**values)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error
