"""Options of the closed loop on a recorded drive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sim.checks import POSITIVE, Number, check_numbers
from sim.drive import Drive
from sim.errors import BadInputError
from sim.lane_env import LaneConfig


@dataclass(frozen=True)
class ReplayConfig(LaneConfig):
    """Options of ``gymnasium.make("lane/Replay-v0", drive=..., ...)`` beside those of ``LaneConfig``.

    Attributes:
        drive: ``FOLDER`` or ``FOLDER@A:B`` (rows, B not included) of a recorded drive, or a ``sim.drive.Drive``.
        lane_width_m: half of it is how far the car may leave the recorded path before that is a crash.
        start_every_s: 0 draws the place of the start from the seed; above 0, seed k starts k times as many seconds
            into the recording (from its beginning again after the last one), so that seeds 0:n cover it evenly.
        max_unseen_share: the deviation to a side and in heading each end where, alone, they would leave this share
            of the picture without a recorded pixel.
        max_shift_m, max_yaw_rad: the same limits said outright; None derives them.
        speed_mps: of a drive whose speed was not recorded; None estimates it from the pictures.
        camera_forward_m: from the rear axle to the lens.
        steering_delay_s, steering_lag_s: of the car. 0 because a recorded curvature is one that was driven, so
            what the steering took to get there is in the recording already.
    """

    drive: str | Path | Drive | None = None
    lane_width_m: float = 3.66
    start_every_s: float = 0.0
    max_unseen_share: float = 0.25
    max_shift_m: float | None = None
    max_yaw_rad: float | None = None
    speed_mps: float | None = None
    camera_forward_m: float = 1.5
    steering_delay_s: float = 0.0
    steering_lag_s: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.drive, (str, Path, Drive)) or self.drive == "":
            raise BadInputError(
                f"lane/Replay-v0: expected a recorded drive, got {self.drive!r}; name one with "
                "--env-option drive=FOLDER or gymnasium.make(..., drive=FOLDER)"
            )
        super().__post_init__()
        check_numbers("world", self, POSITIVE, "lane_width_m", "max_shift_m", "speed_mps")
        check_numbers("world", self, Number(0, 1, is_above=True, is_below=True), "max_unseen_share")
        check_numbers("world", self, Number(0, 1.2, is_above=True), "max_yaw_rad")
