"""A recording of many hours, from its video to a training: memory, speed, share of waiting.

    python -m tests.benchmarks.long_recording --video center.mp4 --steering steering.csv --hours 10 --work /tmp/long

The video, with a steering-wheel angle for each of its frames, is repeated to the length that is asked for, and goes
through the commands that a user gives: ``import video``, then ``train --data``. Each is a process of its own, whose
largest memory (resident, with what is mapped from files) is read from the system. The system's cache of files is left
as it is between the two, so frames that are trained on lie there as far as it has room.
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

RATE_HZ = 20
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
    n_times = -(-round(hours * 3600 * RATE_HZ) // len(angles))
    with av.open(str(once)) as source, av.open(str(out / "long.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        step = min(b.pts - a.pts for a, b in itertools.pairwise(packets))
        raw = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for k in range(n_times * len(raw)):
            data, is_key = raw[k % len(raw)]
            packet = av.Packet(data)
            packet.stream, packet.is_keyframe = stream, is_key
            packet.time_base = source.streams.video[0].time_base
            packet.pts = packet.dts = k * step
            target.mux(packet)
    n = n_times * len(raw)
    with (out / "long.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "steering_wheel_rad"])
        writer.writerows((k, angles[k % len(raw)]) for k in range(n))
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
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    os.environ["LIQUID_LANE_CACHE"] = str(given.work / "cache")
    n = repeat(given.video, given.steering, given.hours, given.work)
    figures: dict[str, Any] = {"frames": n, "hours": round(n / RATE_HZ / 3600, 2)}
    drive, policy = str(given.work / "drive"), str(given.work / "policy")
    figures["import"] = run(
        "import", "video", str(given.work / "long.mp4"), drive, "--table", str(given.work / "long.csv"), "--overwrite",
        "--fov-deg", "20", "--horizon-px", "105",
    )  # fmt: skip
    figures["import"]["frames_per_s"] = round(n / figures["import"]["seconds"])
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
