"""Hostile files and command lines in numbers: ``python -m tests.fuzz --n 20000``.

Each case takes a small recording, drive, checkpoint or command line, spoils it by its own random stream, and reads it.
It must end in a result or in one clear line: no traceback, nothing that a library prints beside it, no more than
``MAX_SECONDS`` and ``MAX_BYTES``. Every failure is listed with what repeats it: ``--only KIND:CASE``.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

MAX_SECONDS = 20.0
MAX_BYTES = 2 << 30
MAX_LINE = 800
FINE, REFUSED = "fine", "refused"
WILD_TEXTS = [
    "", " ", "nan", "-nan", "inf", "-inf", "null", "true", "-1", "0", "1e308", "-1e308", "1e999", "9" * 25, "9" * 6000,
    "[]", "{}", "[" * 2000, '{"a":' * 500, '"\\ud800"', '"\\u0000"', "\x00", "ä", "😀", ",", ";", "\n", "\r\n", "\t",
    '"', "a" * 70000, "../../etc/passwd", "/dev/zero", "%s%n", "{0.__class__}", "1,5", "0x10", "１２",
    "2020-13-45T99:99:99",
]  # fmt: skip
WILD_WORDS = [
    *WILD_TEXTS, "\ud800", "a/" * 2000, "/dev/null", ".", "..", "~", "/proc/self/mem", "0:9999999999999999999999",
    "5:4", "0:" + "9" * 5000, "@all", "@0", "ltc19@", "ltc19@-1", "ltc19@99999999999999999999", "gaussian", "gaussian:",
    "a:b", "gaussian:1e400", "gaussian:-1", "dt_jitter:nan", "x=y", "=", "season=", "season=mars", "a" * 300,
    "lane/Nowhere-v0", "99999999999999999999", "-99999999999999999999", "1e-320",
]  # fmt: skip


def spoil_bytes(data: bytes, rng: random.Random) -> bytes:
    """One of the ways in which files come out wrong."""
    way = rng.randrange(9)
    at = rng.randrange(len(data) + 1)
    end = min(at + rng.choice((1, 2, 8, 64, 1024)), len(data))
    if way == 0:
        return data[:at]
    if way == 1:
        return data[:at] + rng.randbytes(end - at) + data[end:]
    if way == 2:
        return data[:at] + bytes(b ^ (1 << rng.randrange(8)) for b in data[at:end]) + data[end:]
    if way == 3:
        return data[:at] + data[end:]
    if way == 4:
        return data[:end] + data[at:end] * rng.choice((1, 3, 50)) + data[end:]
    if way == 5:
        return b""
    if way == 6:
        return data[:at] + rng.choice((b"\xff" * 4, b"\x00" * 8, b"\x7f\xff\xff\xff", b"\xff" * 8)) + data[end:]
    if way == 7:
        return rng.randbytes(rng.choice((1, 100, 5000)))
    return spoil_bytes(spoil_bytes(data, rng) or b"x", rng)


def spoil_text(text: str, rng: random.Random) -> bytes:
    """A word, a line or a number in the place of another."""
    way = rng.randrange(5)
    if way == 0:
        lines = text.splitlines(keepends=True) or [""]
        k = rng.randrange(len(lines))
        lines[k : k + 1] = rng.choice(([], [lines[k]] * 3, [lines[k][: len(lines[k]) // 2]], [rng.choice(WILD_TEXTS)]))
        return "".join(lines).encode("utf-8", "surrogatepass")
    spans = [k for k, c in enumerate(text) if c.isdigit() or c in '":,{}[]']
    if not spans:
        return rng.choice(WILD_TEXTS).encode("utf-8", "surrogatepass")
    start = rng.choice(spans)
    end = start + 1
    while end < len(text) and text[end].isalnum() and text[start].isalnum():
        end += 1
    changed = text[:start] + rng.choice(WILD_TEXTS) + text[end:]
    if way == 1:
        return changed.encode(rng.choice(("utf-16", "latin-1", "utf-8", "utf-32")), "replace")
    return changed.encode("utf-8", "surrogatepass")


def _spoil_json(value: object, rng: random.Random) -> object:
    """A value of a JSON tree in the place of another; keys go and come."""
    wild = [
        None,
        True,
        -1,
        0,
        2**70,
        1e308,
        [],
        {},
        "",
        "x",
        [[1, 2], {"a": None}],
        "9" * 5000,
        -0.0,
        1e-320,
        ["a"] * 3,
    ]
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if rng.random() < 0.1:
            return value | {rng.choice(WILD_TEXTS): rng.choice(wild)}
        return value | {key: _spoil_json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        k = rng.randrange(len(value))
        return [*value[:k], _spoil_json(value[k], rng), *value[k + 1 :]]
    return rng.choice(wild)


def spoil_folder(folder: Path, rng: random.Random) -> None:
    """Spoil one file of a folder, sometimes two."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            return
        suffixes = sorted({path.suffix for path in files})  # a suffix first: else pictures would be nearly all
        path = rng.choice([path for path in files if path.suffix == rng.choice(suffixes)] or files)
        data = path.read_bytes()
        way = rng.random()
        if way < 0.06:
            path.unlink()
        elif way < 0.1:
            path.write_bytes(rng.choice(files).read_bytes())
        elif way < 0.12:
            path.unlink()
            path.mkdir()
        elif path.suffix in (".json", ".csv", ".txt", ".toml", ".catalog", ".log") and way < 0.85:
            text = data.decode("utf-8", "replace")
            if path.suffix == ".json" and rng.random() < 0.6:
                with contextlib.suppress(ValueError):
                    path.write_bytes(json.dumps(_spoil_json(json.loads(text), rng)).encode())
                    continue
            path.write_bytes(spoil_text(text, rng))
        else:
            path.write_bytes(spoil_bytes(data, rng))


# Kinds of cases ----------------------------------------------------------------------------------------------


def make_recordings(base: Path) -> list[tuple[str, Path]]:
    from tests.test_importers import MAKE

    return [(name, make(base / name)) for name, make in MAKE.items()]


def read_recording(name: str, folder: Path) -> None:
    from sim.importers import IMPORTERS
    from sim.recording import Asked

    IMPORTERS[name](folder, Asked(39, 100)).drive()


def make_drives(base: Path) -> list[tuple[str, Path]]:
    from sim import drive as drive_io
    from tests.conftest import _make_drive

    drive_io.save(_make_drive(12, gaps=(6,), known_masks=[2, 5, 9]), base / "drive")
    return [("drive", base / "drive")]


def read_drive(name: str, folder: Path) -> None:
    from sim import drive as drive_io

    drive_io.load(folder)


def make_checkpoints(base: Path) -> list[tuple[str, Path]]:
    from driving.models import checkpoint
    from driving.models.policy import CORES, PolicyConfig, build_policy

    for core in CORES:
        checkpoint.save(build_policy(PolicyConfig(core=core, height_px=39, width_px=100), 0), base / core)
    return [(core, base / core) for core in CORES]


def read_checkpoint(name: str, folder: Path) -> None:
    from driving.models import checkpoint

    checkpoint.load(folder)


COMMAND_LINES = (
    "drive --policy {policy} --seeds 1:2 --seconds 0.2 --workers 1 --noise gaussian:0.1 --env lane/Procedural-v0",
    "drive --policy {policy} --seeds 1:2 --seconds 0.1 --workers 1 --env-option weather=clear --vary season=summer",
    "test --policy {policy} --data {drive}@0:4",
    "record --out {out}/r --seeds 10000:10001 --seconds 0.1 --seed 1 --kick-mps2 1 --workers 1",
    "import video {video} {out}/i --height 39 --width 100 --rate-hz 20 --fov-deg 60 --positive left",
    "show {drive} --out {out}/s.png",
    "attend --policies {policy} --source {drive}@0:3 --method input_gradient --noise gaussian:0.1",
    "circuit --policy {policy} --out {out}/c.svg",
    "stress --policies {policy} --noises gaussian:0.1 --seeds 1:2 --seconds 0.1 --workers 1 --out {out}/st",
    "train --data {drive} --out {out}/t --steps 1 --batch 1 --window 4 --seed 1 --threads 1",
    "export --data {drive} --out {out}/e --format lerobot",
)


def make_command_lines(base: Path) -> list[tuple[str, Path]]:
    from driving.cli import main as main_of_program
    from tests.test_importers import MAKE

    base.mkdir(parents=True, exist_ok=True)
    make_drives(base)
    make_checkpoints(base)
    MAKE["video"](base / "video")
    main_of_program(f"record --out {base / 'world'} --seeds 1:2 --seconds 0.1 --workers 1".split())  # fills caches
    return [(str(k), base) for k in range(len(COMMAND_LINES))]


def run_command_line(name: str, folder: Path, rng: random.Random) -> None:
    """One word of a working command line becomes a wild one."""
    from driving.cli import main
    from sim.errors import BadInputError

    places = {"policy": folder / "ltc", "drive": folder / "drive", "video": folder / "video", "out": folder / "out"}
    words = [word.format(**places) for word in COMMAND_LINES[int(name)].split()]
    values = [k for k in range(1, len(words)) if not words[k].startswith("--")]
    words[rng.choice(values) if rng.random() < 0.85 else rng.randrange(len(words))] = rng.choice(WILD_WORDS)
    if rng.random() < 0.15:
        words.insert(rng.randrange(1, len(words)), rng.choice(WILD_WORDS))
    said = Path("said")
    with (
        said.open("w", encoding="utf-8", errors="backslashreplace") as file,
        contextlib.redirect_stderr(file),
        contextlib.redirect_stdout(file),
    ):
        status = main(words)
    text = said.read_text(encoding="utf-8")
    if status == 2:
        raise BadInputError(text.splitlines()[-1] if text.strip() else "")
    if status != 0:
        raise RuntimeError(f"status {status}: {text[-300:]}")


KINDS = {
    "recordings": (make_recordings, read_recording),
    "drives": (make_drives, read_drive),
    "checkpoints": (make_checkpoints, read_checkpoint),
    "commands": (make_command_lines, None),
}
SHARES = {"recordings": 0.5, "drives": 0.25, "checkpoints": 0.2, "commands": 0.05}


# Running them ------------------------------------------------------------------------------------------------


def run_case(kind: str, case: int, bases: list[tuple[str, Path]], place: Path) -> str:
    """What came of one case: fine, refused, or what is wrong."""
    from sim.errors import BadInputError

    rng = random.Random(f"{kind}:{case}")
    name, base = bases[case % len(bases)]
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    os.chdir(place)
    try:
        reader = KINDS[kind][1]
        if reader is None:
            run_command_line(name, base, rng)
        else:
            shutil.copytree(base, place / "spoilt")
            spoil_folder(place / "spoilt", rng)
            reader(name, place / "spoilt")
    except BadInputError as error:
        line = str(error)
        if "\n" in line.strip() or len(line) > MAX_LINE or not line.strip():
            return f"no clear line: {line[:200]!r} ({len(line)} characters)"
        return REFUSED
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:120]!r} ({Path(where.filename).name}:{where.lineno})"
    return FINE


def work(kind: str, base: Path, place: Path, pipe: Connection, printed: Path) -> None:
    """A worker: cases in, results out; what libraries print goes to a file, whose growth is a failure."""
    with printed.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    bases = [(name, Path(path)) for name, path in json.loads((base / "bases.json").read_text())]
    size = 0
    while True:
        case = pipe.recv()
        started_s = time.monotonic()
        result = run_case(kind, case, bases, place)
        seconds = time.monotonic() - started_s
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        now = printed.stat().st_size
        if now != size and result in (FINE, REFUSED) and kind != "commands":
            with printed.open("rb") as file:
                file.seek(size)
                result = f"printed: {file.read(160)!r}"
        size = now
        if peak > MAX_BYTES:
            result = f"memory of {peak >> 20} MiB"
        if seconds > MAX_SECONDS:
            result = f"took {seconds:.0f} s"
        pipe.send(result)
        if peak > MAX_BYTES:
            return


class Worker:
    """A process that is begun anew where it hangs or dies."""

    def __init__(self, kind: str, base: Path, place: Path) -> None:
        self.arguments = kind, base, place
        self.case: int | None = None
        self.since_s = 0.0
        self.begin()

    def begin(self) -> None:
        kind, base, place = self.arguments
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(kind, base, place, theirs, place.with_suffix(".printed")))
        self.process.start()
        theirs.close()

    def give(self, case: int) -> None:
        if not self.process.is_alive():
            self.begin()
        self.case, self.since_s = case, time.monotonic()
        self.pipe.send(case)

    def result(self) -> str | None:
        """None while it works."""
        if self.pipe.poll(0):
            try:
                return self.pipe.recv()
            except EOFError:
                self.process.join()
                code = self.process.exitcode
                self.begin()
                return f"died with exit code {code}"
        if time.monotonic() - self.since_s > MAX_SECONDS + 5:
            self.process.kill()
            self.process.join()
            self.begin()
            return f"hangs for more than {MAX_SECONDS:.0f} s"
        return None

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def run_kind(kind: str, cases: list[int], n_workers: int, folder: Path) -> collections.Counter[str]:
    """Counts by result; every failure is printed."""
    base = folder / kind
    base.mkdir()
    bases = KINDS[kind][0](base / "bases")
    (base / "bases.json").write_text(json.dumps([(name, str(path)) for name, path in bases]))
    workers = [Worker(kind, base, folder / f"{kind}-{k}") for k in range(min(n_workers, len(cases)))]
    waiting, counts = list(reversed(cases)), collections.Counter[str]()
    while waiting or any(worker.case is not None for worker in workers):
        for worker in workers:
            result = worker.result() if worker.case is not None else None
            if result is not None:
                counts[result if result in (FINE, REFUSED) else "failed"] += 1
                if result not in (FINE, REFUSED):
                    print(f"{kind}:{worker.case} {bases[worker.case % len(bases)][0]}: {result}", flush=True)
                worker.case = None
            if worker.case is None and waiting:
                worker.give(waiting.pop())
        time.sleep(0.0005)
    for worker in workers:
        worker.end()
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000, help="cases of all kinds together")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--kind", choices=list(KINDS), help="one kind alone")
    parser.add_argument("--only", help="KIND:CASE of one failure")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    wanted = {kind: round(given.n * share) for kind, share in SHARES.items()}
    if given.kind:
        wanted = {given.kind: given.n}
    cases = {kind: list(range(given.first, given.first + n)) for kind, n in wanted.items()}
    if given.only:
        kind, _, case = given.only.partition(":")
        cases = {kind: [int(case)]}
    import torch

    import driving.commands.training  # noqa: F401 - loaded once, so that a new worker costs nothing

    torch.set_num_threads(1)
    total = collections.Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        os.environ["LIQUID_LANE_CACHE"] = str(Path(name) / "cache")
        for kind, numbers in cases.items():
            started_s = time.monotonic()
            counts = run_kind(kind, numbers, given.workers, Path(name))
            total += counts
            print(f"{kind}: {dict(counts)} in {time.monotonic() - started_s:.0f} s", flush=True)
            os.chdir("/")
    print(f"all: {dict(total)}")
    return int(total["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
