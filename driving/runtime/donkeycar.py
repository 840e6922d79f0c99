"""A Donkeycar part: drive the small car with an exported policy."""

from __future__ import annotations

import math
import os

import numpy as np

from .driver import Driver


class DonkeycarPilot:
    """Camera picture in, angle and throttle out, by Donkeycar's protocol of parts (``run``, ``shutdown``).

    In ``manage.py``, in place of the Keras pilot::

        from driving.runtime import DonkeycarPilot

        pilot = DonkeycarPilot("exported/mine", throttle=0.2)
        V.add(pilot, inputs=["cam/image_array"], outputs=["pilot/angle", "pilot/throttle"],
              run_condition="run_pilot")

    Donkeycar's cameras give RGB and its angle runs from -1 (full left) to 1 (full right). The command becomes the
    angle of the front wheel of a kinematic bicycle, atan(curvature x wheelbase), over its angle at full lock. A
    command beyond full lock is cut. The time between calls is measured, so the loop may run at any rate.

    When the driver is not ``healthy`` (no usable picture for ``HOLD_S``) the throttle is 0.

    Args:
        path: of the exported policy, file or folder.
        throttle: given while all is well, 0 to 1.
        wheelbase_m: between the axles of the car. None takes what the policy was trained for, else 0.25 m.
        max_steering_angle_rad: of the front wheels at full lock. None takes what the policy was trained for, else
            25 degrees.
        scale: how many times smaller car and road are than those that the policy knows. None is 1 for a policy that
            was trained on recordings of one car, this one, and 10 for any other on a 1:10 car.
        horizon: see ``Driver``.

    Raises:
        ValueError: a number out of its range, or what ``Driver`` raises.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        throttle: float = 0.2,
        wheelbase_m: float | None = None,
        max_steering_angle_rad: float | None = None,
        scale: float | None = None,
        horizon: float | None = None,
    ) -> None:
        if not 0 <= throttle <= 1:
            raise ValueError(f"donkeycar: throttle must be from 0 to 1, got {throttle!r}")
        driver = Driver(path, horizon=horizon)
        meta = driver.meta
        if wheelbase_m is None:
            wheelbase_m = float(meta.get("wheelbase_m", 0.25))
        if max_steering_angle_rad is None:
            max_steering_angle_rad = float(meta.get("full_lock_rad", math.radians(25.0)))
        if scale is None:
            scale = 1.0 if "full_lock_rad" in meta else 10.0
        if not 0 < max_steering_angle_rad < math.pi / 2:
            raise ValueError(
                f"donkeycar: max_steering_angle_rad must be between 0 and pi / 2, got {max_steering_angle_rad!r}"
            )
        for name, value in (("wheelbase_m", wheelbase_m), ("scale", scale)):
            if not 0 < value < math.inf:
                raise ValueError(f"donkeycar: {name} must be a positive number, got {value!r}")
        self.driver = driver
        self.throttle = throttle
        self._wheelbase_m, self._max_angle_rad, self._scale = wheelbase_m, max_steering_angle_rad, scale

    def run(self, image_array: np.ndarray | None) -> tuple[float, float]:
        """(angle in -1 to 1, right positive; throttle) for a picture, uint8 RGB (H, W, 3) or None."""
        curvature_per_m = self.driver.step(image_array) * self._scale
        angle = -math.atan(curvature_per_m * self._wheelbase_m) / self._max_angle_rad
        return min(max(angle, -1.0), 1.0), self.throttle if self.driver.healthy else 0.0

    def shutdown(self) -> None:
        """Called when the car stops: says how long the steps took."""
        n, median_ms, p99_ms = self.driver.latency
        if n:
            print(f"pilot: {n} steps, median {median_ms:.2f} ms, 99 % under {p99_ms:.2f} ms")
