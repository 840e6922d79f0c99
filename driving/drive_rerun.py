"""A drive for Rerun's viewer: pictures, labels and masks to scrub through, where a policy looks, and its neurons."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from driving.attention import Attribution
from driving.instants import on_drive
from driving.models.policy import Policy
from driving.onlooker import BLOCK, Onlooker
from driving.video.overlay import camera_view
from sim.drive import Drive
from sim.errors import BadInputError
from sim.files import new_file

CLOCK = "drive"
JPEG_QUALITY = 90


def _rerun() -> ModuleType:
    try:
        import rerun
    except ImportError as error:
        raise BadInputError("--rrd needs Rerun: pip install 'liquid-lane[rerun]'") from error
    return rerun


def write_rerun(
    drive: Drive,
    path: Path,
    policies: Mapping[str, Policy],
    method: Attribution,
    on_frame: Callable[[], None] = lambda: None,
) -> None:
    """Write an ``.rrd`` file: everything on the drive's own clock.

    Entities: ``camera``, ``camera/road`` (mask where it is known), ``label/curvature``, ``label/speed``; for each
    policy ``NAME/curvature``, ``NAME/attention`` (over the picture) and ``NAME/neurons`` (one value a neuron or unit).

    Args:
        drive: in memory.
        path: of the file.
        policies: that see the drive, open loop; any number.
        method: of their attention maps.
        on_frame: called after every frame of the drive and of each policy.

    Raises:
        BadInputError: Rerun is not installed, or a place that cannot be written.
    """
    rr = _rerun()
    known = set(drive.mask_rows().tolist())
    with new_file(path) as unfinished:
        stream = rr.RecordingStream("liquid-lane", recording_id=path.stem, make_default=False)
        stream.save(str(unfinished))
        time_s = drive.timestamps_s - drive.timestamps_s[0]
        if known:
            road = rr.AnnotationContext([(0, "elsewhere", (0, 0, 0, 0)), (1, "road", (110, 214, 150, 110))])
            stream.log("camera/road", road, static=True)
        for row, frame in enumerate(drive.frames):
            stream.set_time(CLOCK, duration=float(time_s[row]))
            stream.log("camera", _jpeg(rr, frame))
            stream.log("label/curvature", rr.Scalars(float(drive.curvature_per_m[row])))
            if drive.speed_mps is not None:
                stream.log("label/speed", rr.Scalars(float(drive.speed_mps[row])))
            if row in known and drive.road_masks is not None:
                stream.log("camera/road", rr.SegmentationImage(drive.road_masks[row].astype(np.uint8)))
            on_frame()
        short = {name: Path(name).name for name in policies}
        alike = len(set(short.values())) < len(short)
        for name, policy in policies.items():
            _log_policy(
                rr, stream, name.strip("/").replace("/", "_") if alike else short[name], policy, drive, method, on_frame
            )
        stream.disconnect()


def _log_policy(
    rr: ModuleType,
    stream: Any,
    name: str,
    policy: Policy,
    drive: Drive,
    method: Attribution,
    on_frame: Callable[[], None],
) -> None:
    onlooker = Onlooker(policy, method)
    instants = on_drive(policy, drive, None, None, 0)
    while block := list(itertools.islice(instants, BLOCK)):
        for seen in onlooker.seen(block):
            instant = seen.instant
            stream.set_time(CLOCK, duration=instant.time_s)
            stream.log(f"{name}/curvature", rr.Scalars(instant.curvature_per_m))
            stream.log(f"{name}/neurons", rr.Scalars(policy.core.shown_state(instant.state).numpy()))
            height_px, width_px = instant.frame.shape[:2]
            view = np.empty_like(instant.frame)
            camera_view(view, (0, 0, width_px, height_px), instant.frame, seen.attention)
            stream.log(f"{name}/attention", _jpeg(rr, view))
            on_frame()


def _jpeg(rr: ModuleType, frame: np.ndarray) -> Any:
    return rr.Image(frame).compress(jpeg_quality=JPEG_QUALITY)
