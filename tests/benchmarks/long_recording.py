"""A recording of many hours, from its video to a training: memory, speed, share of waiting.

    python -m tests.benchmarks.long_recording --video center.mp4 --steering steering.csv --hours 10 --work /tmp/long

The video, with a steering-wheel angle for each of its frames, is repeated to the length that is asked for, and goes
through the commands that a user gives: ``import video``, then ``train --data``. Each is a process of its own, whose
largest memory (resident, with what is mapped from files) is read from the system. The system's cache of files is left
as it is between the two, so frames that are trained on lie there as far as it has room.

Ten hours take more than an hour to import. ``--looped`` imports the video once and repeats the drive and its cache of
frames as they lie on disk, byte for byte what the commands would have made: for the training alone.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX
from sim.drive import load_table
from sim.drive_writer import FACTS, VIDEO, write_table
from sim.frame_cache import cache_path, cached_drive

RATE_HZ = 20
SIZE = FRAME_HEIGHT_PX, FRAME_WIDTH_PX
WIDTH_PX, HEIGHT_PX = 320, 240


def repeat(video: Path, steering: Path, hours: float, out: Path) -> int:
    """Write ``long.mp4`` and ``long.csv``: encoded once, then its packets again and again; the number of frames."""
    with steering.open(newline="") as file:
        angles = [float(row["steering_wheel_rad"]) for row in csv.DictReader(file)]
    once = out / "once.mp4"
    with av.open(str(video)) as source, av.open(str(once), "w") as target:
        stream = target.add_stream("libx264", rate=RATE_HZ, options={"preset": "veryfast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for frame in source.decode(video=0):
            small = cv2.resize(frame.to_ndarray(format="rgb24"), (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
        target.mux(stream.encode())
    n_times = max(-(-round(hours * 3600 * RATE_HZ) // len(angles)), 1)
    loop_video(once, out / "long.mp4", n_times)
    for name, n in (("once", len(angles)), ("long", n_times * len(angles))):
        with (out / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["frame", "steering_wheel_rad"])
            writer.writerows((k, angles[k % len(angles)]) for k in range(n))
    return n_times * len(angles)


def loop_video(once: Path, many: Path, n_times: int) -> None:
    """The packets of a video without B-frames, again and again."""
    with av.open(str(once)) as source, av.open(str(many), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        packets.sort(key=lambda packet: packet.dts)
        step = min(b.dts - a.dts for a, b in itertools.pairwise(packets))
        raw = [(bytes(packet), packet.is_keyframe, packet.pts - packets[0].dts) for packet in packets]
        for i in range(n_times):
            for k, (data, is_key, pts) in enumerate(raw):
                packet = av.Packet(data)
                packet.stream, packet.is_keyframe = stream, is_key
                packet.time_base = source.streams.video[0].time_base
                packet.dts, packet.pts = (i * len(raw) + k) * step, i * len(raw) * step + pts
                target.mux(packet)


def loop_drive(once: Path, many: Path, hours: float) -> int:
    """Repeat a drive's folder and its cache of frames at the policy's size; the number of frames."""
    drive = cached_drive(str(once), *SIZE)
    frames, n_times = np.array(drive.frames), -(-round(hours * 3600 * RATE_HZ) // len(drive))
    many.mkdir(parents=True)
    loop_video(once / VIDEO, many / VIDEO, n_times)
    n = n_times * len(drive)
    facts = json.loads((once / FACTS).read_text()) | {"n_frames": n}
    (many / FACTS).write_text(json.dumps(facts))
    write_table(many, np.arange(n) / RATE_HZ, np.tile(drive.curvature_per_m, n_times), None)
    path = cache_path(load_table(many), *SIZE)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (n, *SIZE, 3)}
        np.lib.format.write_array_header_2_0(file, header)
        for _ in range(n_times):
            file.write(frames.tobytes())
    return n


def run(*words: str) -> dict[str, Any]:
    """Run a command of the project; its seconds and largest memory."""
    started_s = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", "driving", *words])
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: ended with status {os.waitstatus_to_exitcode(status)}")
    seconds = time.monotonic() - started_s
    return {"seconds": round(seconds, 1), "largest_memory_gb": round(usage.ru_maxrss * 1024 / 1e9, 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("video", "steering", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--looped", action="store_true")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    os.environ["LIQUID_LANE_CACHE"] = str(given.work / "cache")
    drive, policy = str(given.work / "drive"), str(given.work / "policy")
    n = repeat(given.video, given.steering, 0.0 if given.looped else given.hours, given.work)
    name, imported = ("once", str(given.work / "once")) if given.looped else ("long", drive)
    figures: dict[str, Any] = {"import": run(
        "import", "video", str(given.work / f"{name}.mp4"), imported, "--table", str(given.work / f"{name}.csv"),
        "--overwrite", "--fov-deg", "20", "--horizon-px", "105",
    )}  # fmt: skip
    if given.looped:
        figures["import"]["frames"] = len(load_table(imported))
        n = loop_drive(Path(imported), Path(drive), given.hours)
    else:
        figures["import"]["frames_per_s"] = round(n / figures["import"]["seconds"])
    figures |= {"frames": n, "hours": round(n / RATE_HZ / 3600, 2)}
    common = ["train", "--data", drive, "--core", "ltc", "--bfloat16", "--threads", "1", "--out", policy]
    figures["first step and cache"] = run(*common, "--steps", "1")
    figures["train"] = run(*common, "--steps", str(given.steps))
    with (given.work / "policy" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    figures["train"]["waiting_share"] = round(float(np.mean([float(row["waiting_share"]) for row in rows])), 4)
    figures["train"]["frames_per_s"] = [float(row["frames_per_s"]) for row in rows]
    figures["cache_gb"] = round(sum(p.stat().st_size for p in (given.work / "cache").rglob("*.npy")) / 1e9, 2)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
