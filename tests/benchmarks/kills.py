"""A sweep that is killed again and again must end in the rows of one that was never stopped, byte for byte.

    python -m tests.benchmarks.kills --times 100

SIGKILL to the whole group of processes, as a machine that goes down, at a random moment of the driving.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from driving.harness.store import CSV_NAME, STORE_NAME

FILES = (CSV_NAME, "figures.json")
ROOT = Path(__file__).parents[2]
LONGEST_S = 2.5
"""From a run's first row to its kill."""


def _start(policies: Sequence[str], n_seeds: int, out: Path, workers: int) -> subprocess.Popen[bytes]:
    words = [
        sys.executable, "-m", "driving", "stress", "--policies", *policies,
        "--noises", "none", "gaussian:0.2", "late:mild", "--seeds", f"0:{n_seeds}", "--seconds", "1",
        "--env-option", "roadside=false", "hills=false", "family=urban",
        "--out", str(out), "--workers", str(workers),
    ]  # fmt: skip
    return subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)


def _finish(process: subprocess.Popen[bytes], limit_s: float) -> None:
    _, errors = process.communicate(timeout=limit_s)
    if process.returncode != 0:
        raise RuntimeError(errors.decode()[-500:])


def _n_rows(out: Path) -> int:
    """Read beside whoever writes; 0 as long as there is no table."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{out / STORE_NAME}?mode=ro", uri=True)) as store:
            return int(store.execute("SELECT COUNT(*) FROM episodes").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def killed_sweep(
    policies: Sequence[str], n_seeds: int, n_kills: int, folder: Path, limit_s: float = 120.0
) -> tuple[list[int], bool]:
    """Rows in the store after each kill, and whether all files are those of a sweep that was never stopped.

    The first run is killed soon after its first row, which tells how long a run needs to begin; the others at any
    moment up to ``LONGEST_S`` after that.
    """
    rng, out, begins_s = np.random.default_rng(0), folder / "killed", limit_s
    n_rows: list[int] = []
    for i in range(n_kills):
        process, started_s = _start(policies, n_seeds, out, 2), time.monotonic()
        if i == 0:
            while process.poll() is None and time.monotonic() < started_s + limit_s and not _n_rows(out):
                time.sleep(0.1)
            begins_s = time.monotonic() - started_s
        else:
            time.sleep(rng.uniform(0.0, begins_s + LONGEST_S))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        n_rows.append(_n_rows(out))
    _finish(_start(policies, n_seeds, out, 1), limit_s)
    _finish(_start(policies, n_seeds, folder / "whole", 2), limit_s)
    return n_rows, all((out / name).read_bytes() == (folder / "whole" / name).read_bytes() for name in FILES)


def main() -> None:
    """Kill, compare, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=400, help="Roads of the sweep.")
    parser.add_argument("--policies", nargs="+", default=["ltc19", "lstm64"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        n_rows, same = killed_sweep(given.policies, given.seeds, given.times, Path(folder), 1800.0)
    print(f"{given.times} kills, rows after each: {n_rows}")
    print("the same files, byte for byte" if same else "OTHER FILES")


if __name__ == "__main__":
    main()
