"""A recording as a phone makes it, of one of Udacity's challenge 2: to try the way from such a file to a policy.

    python -m tests.benchmarks.phone --video center.mp4 --steering steering.csv --out phone

writes ``phone.mp4``, 960 x 720 at the variable rate of the recording, and ``phone.csv``: milliseconds since the first
frame, and the steering wheel in degrees, positive to the right.
"""

from __future__ import annotations

import argparse
import csv
import math
from fractions import Fraction
from pathlib import Path

import av

SIZE = {"width": 960, "height": 720}
MS = Fraction(1, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--steering", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="without an ending")
    asked = parser.parse_args()
    with asked.steering.open(newline="") as file:
        rows = list(csv.DictReader(file))
    times_ns = [int(row["timestamp_ns"]) for row in rows]
    times_ms = [round((time_ns - times_ns[0]) / 1e6) for time_ns in times_ns]
    with av.open(str(asked.video)) as source, av.open(str(asked.out.with_suffix(".mp4")), "w") as video:
        stream = video.add_stream("libx264", rate=30, options={"crf": "18", "preset": "superfast"})
        stream.width, stream.height, stream.pix_fmt = SIZE["width"], SIZE["height"], "yuv420p"
        stream.time_base = stream.codec_context.time_base = MS
        for time_ms, frame in zip(times_ms, source.decode(video=0), strict=True):
            larger = frame.reformat(**SIZE, format="yuv420p", interpolation="BICUBIC")
            larger.pts, larger.time_base = time_ms, MS
            video.mux(stream.encode(larger))
        video.mux(stream.encode())
    with asked.out.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time_ms", "steering_wheel_deg"])
        writer.writerows(
            [time_ms, f"{-math.degrees(float(row['steering_wheel_rad'])):.2f}"]
            for time_ms, row in zip(times_ms, rows, strict=True)
        )


if __name__ == "__main__":
    main()
