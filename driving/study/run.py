"""The whole study: every network, on every road, under every condition; rows, and what they say together."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch

from driving.attention import ATTRIBUTIONS
from driving.attention.soundness import passed, soundness, taught_at_random
from driving.harness.figures import kind_of
from driving.harness.statistics import (
    CANNOT_BE_TOLD,
    DOES_NOT_HOLD,
    HOLDS,
    Estimate,
    compare_means,
    holm,
    mean_estimate,
)
from driving.models.policy import Policy, to_tensor
from driving.noise import CLEAN, Noise, condition_of
from driving.rollout import one_thread
from driving.settings import env_maker
from driving.study.looks import (
    ABLATION,
    COMPARED,
    ablation_scores,
    commands,
    effects,
    even_agreement,
    map_scores,
    rms_of,
)
from driving.study.recorded import scenes_of
from driving.study.scenes import Scenes, Stage
from sim.changes import CHANGES, UNCHANGED
from sim.drive import Drive
from sim.processes import spread

REFERENCE, OWN = "reference", "own"
"""Whose drive the scenes are of: the expert's, the same for all networks, or the network's own."""
EVEN = "even"
"""Method that looks everywhere alike: chance."""
SLOW = ("occlusion", "smooth_grad", "integrated_gradients")
N_SOUND, N_SOUND_SLOW = 24, 8
"""Pictures on which soundness is tested."""


@dataclass(frozen=True)
class Study:
    """What is looked at.

    Attributes:
        policies: by name.
        methods: of ``ATTRIBUTIONS``.
        env, env_options: the world; ``recording`` in its place: a drive with road masks, its blocks for roads.
        seeds, seconds, every_s: roads, how long each is driven, time between two scenes.
        noises: conditions; None for the clean picture.
        own: whether each network's own drives are looked at as well.
        sound: whether the soundness of the methods is tested.
    """

    policies: Mapping[str, Policy]
    methods: Sequence[str]
    env: str
    seeds: Sequence[int]
    seconds: float = 10.0
    every_s: float = 1.0
    noises: Sequence[Noise | None] = (None,)
    own: bool = True
    recording: Drive | None = None
    sound: bool = False
    env_options: Mapping[str, Any] = field(default_factory=dict)

    def stage(self) -> Stage:
        """The worlds, with those in which one thing is changed where the world can do that."""
        make = partial(env_maker, self.env, seconds=self.seconds)
        changes = CHANGES if self.env == "lane/Procedural-v0" else {}
        changed = {
            name: make(options={**self.env_options, "change": name}) for name in changes if name != UNCHANGED.name
        }
        return Stage(make(options=self.env_options), changed, self.every_s)


Rows = dict[str, list[dict[str, Any]]]
"""By kind: "scores", "effects", "ablation"."""


def _of_recording(study: Study, noise: Noise | None) -> Rows:
    """All rows of a recorded drive under one condition."""
    one_thread()
    rows: Rows = {"scores": [], "effects": [], "ablation": []}
    assert study.recording is not None
    for name, policy in study.policies.items():
        size = policy.config.height_px, policy.config.width_px
        for scenes in scenes_of(study.recording, *size, noise, study.every_s):
            _add(rows, study, name, policy, scenes, {"drive": REFERENCE, "noise": condition_of(noise)})
    return rows


def _of_road(study: Study, seed: int) -> Rows:
    """All rows of one road."""
    one_thread()
    rows: Rows = {"scores": [], "effects": [], "ablation": []}
    with contextlib.closing(study.stage()) as stage:
        for noise in study.noises:
            reference = stage.play(seed, study.seconds, None, noise)
            for name, policy in study.policies.items():
                _add(rows, study, name, policy, reference, {"drive": REFERENCE, "noise": condition_of(noise)})
                if study.own:
                    own = stage.play(seed, study.seconds, policy, noise)
                    _add(rows, study, name, policy, own, {"drive": OWN, "noise": condition_of(noise)})
    return rows


def _add(rows: Rows, study: Study, name: str, policy: Policy, scenes: Scenes, where: Mapping[str, str]) -> None:
    if not len(scenes.picked):
        return
    key = {"policy": name, "seed": scenes.seed, **where}
    states = scenes.states(policy)
    real = commands(policy, scenes.film[scenes.picked], states[0])
    true_rms = {change: rms_of(values) for change, values in effects(policy, scenes, states[0], real).items()}
    command_rms = rms_of(real)
    for change, rms in true_rms.items():
        rows["effects"].append(
            {**key, "change": change, "rms_per_m": rms, "share": rms / command_rms if command_rms > 0 else None}
        )
    truth = {change: true_rms[change] for change in COMPARED if change in true_rms}
    for method in study.methods:
        rows["scores"].append({**key, "method": method, **map_scores(policy, scenes, states, method, truth)})
    if scenes.class_maps is not None:
        by_class, agrees = ablation_scores(policy, scenes, states[0], truth)
        rows["scores"].append({**key, "method": ABLATION, "agreement": agrees})
        rows["scores"].append({**key, "method": EVEN, "road_gain": 1.0, "agreement": even_agreement(scenes, truth)})
        rows["ablation"] += [{**key, "class": surface, "rms_per_m": rms} for surface, rms in by_class.items()]


SoundJob = tuple[str, str, np.ndarray, torch.Tensor, Policy | None]
"""Policy, method, pictures, states, and the network that was taught at random."""


def _sound(study: Study, job: SoundJob) -> dict[str, Any]:
    one_thread()
    name, method, frames, states, taught = job
    n = min(len(frames), N_SOUND_SLOW if method in SLOW else N_SOUND)
    some = np.linspace(0, len(frames) - 1, n).astype(int)
    pictures, memory = to_tensor(frames[some]), states[some]
    figures = soundness(ATTRIBUTIONS[method], study.policies[name], pictures, memory, taught)
    return {"policy": name, "method": method, "n": n, **figures, "passed": passed(figures)}


def run_study(study: Study, n_workers: int = 1, on_step: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Rows of every road, soundness, and the figures of all together, as strict JSON."""
    by_road: dict[int, Rows] = {}
    jobs: list[Any] = list(study.noises if study.recording else study.seeds)
    work = _of_recording if study.recording else _of_road
    for i, rows in spread(partial(work, study), jobs, n_workers, lambda job: f"road {job}"):
        by_road[i] = rows
        on_step()
    all_rows = {kind: [row for i in sorted(by_road) for row in by_road[i][kind]] for kind in by_road[0]}
    tested: list[dict[str, Any]] = []
    if study.sound:
        tests = _sound_jobs(study)
        found = dict(spread(partial(_sound, study), tests, n_workers, lambda job: f"{job[0]}, {job[1]}"))
        tested = [found[i] for i in range(len(tests))]
        on_step()
    fails: dict[tuple[str, str], list[str]] = {}
    for row in tested:
        failed = fails.setdefault((row["method"], kind_of(row["policy"])), [])
        failed += [test for test, good in row["passed"].items() if not good and test not in failed]
    figures = {
        "table": [row | {"fails": fails.get((row["method"], row["network"]))} for row in table(all_rows["scores"])],
        "comparisons": comparisons(all_rows["scores"]),
        "effects": effect_table(all_rows["effects"]),
        "effect_comparisons": effect_comparisons(all_rows["effects"]),
        "soundness": tested,
        "rows": all_rows,
    }
    return {"findings": findings(figures), **_strict(figures)}


def _sound_jobs(study: Study) -> list[SoundJob]:
    if study.recording is not None:
        config = next(iter(study.policies.values())).config
        played = list(scenes_of(study.recording, config.height_px, config.width_px, None, study.every_s))
        return _tests_on(study, played)
    with contextlib.closing(Stage(env_maker(study.env, study.env_options, study.seconds), {}, study.every_s)) as stage:
        played = [stage.play(seed, study.seconds) for seed in study.seeds]
    return _tests_on(study, played)


def _tests_on(study: Study, played: Sequence[Scenes]) -> list[SoundJob]:
    jobs: list[SoundJob] = []
    frames = np.concatenate([scenes.film[scenes.picked] for scenes in played])
    for name, policy in study.policies.items():
        states = torch.cat([scenes.states(policy)[0] for scenes in played])
        taught, _ = taught_at_random(policy, to_tensor(frames), states)
        jobs += [(name, method, frames, states, taught) for method in study.methods]
    return jobs


# What the rows say --------------------------------------------------------------------------------------------


def _matrix(rows: Sequence[Mapping[str, Any]], value: str) -> np.ndarray:
    """Values (trainings, roads) of rows of one kind of network."""
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    seeds = sorted({row["seed"] for row in rows})
    matrix = np.full((len(policies), len(seeds)), np.nan)
    for row in rows:
        known = row.get(value)
        matrix[policies.index(row["policy"]), seeds.index(row["seed"])] = np.nan if known is None else known
    return matrix


def _grouped(rows: Sequence[Mapping[str, Any]], *keys: str) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((*(row[key] for key in keys), kind_of(row["policy"])), []).append(row)
    return groups


def _estimate(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means with 95 % intervals over roads and trainings, by drive, noise, method and kind of network."""
    found = []
    for (drive, noise, method, kind), some in _grouped(rows, "drive", "noise", "method").items():
        line: dict[str, Any] = {"drive": drive, "noise": noise, "method": method, "network": kind}
        names = dict.fromkeys(name for row in some for name in row if name not in (*line, "policy", "seed"))
        line |= {"n_trainings": len({row["policy"] for row in some}), "n_roads": len({row["seed"] for row in some})}
        for name in names:
            line |= _estimate(name, mean_estimate(_matrix(some, name)))
        found.append(line)
    return found


def comparisons(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each pair of kinds: does the first one's map score more on the road, or agree more with the truth?"""
    return _compared([row for row in rows if row["method"] != EVEN], "method", ("road_gain", "agreement"))


def effect_comparisons(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each pair of kinds: do the first one's commands hang on a thing more than the other's?

    ``verdict`` is that of all changes of a pair taken together (Holm); ``p`` is of the one.
    """
    found = _compared(rows, "change", ("share",))
    pairs: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in found:
        pairs.setdefault((row["drive"], row["noise"], row["network"], row["than"]), []).append(row)
    for some in pairs.values():
        stands = holm({row["change"]: row["p"] for row in some})
        for row in some:
            row["verdict"] = row["verdict"] if stands[row["change"]] else CANNOT_BE_TOLD
    return found


def _compared(rows: Sequence[Mapping[str, Any]], key: str, values: Sequence[str]) -> list[dict[str, Any]]:
    """Paired differences of each pair of kinds, by drive, noise and ``key``."""
    groups, found = _grouped(rows, "drive", "noise", key), []
    kinds = list(dict.fromkeys(kind_of(row["policy"]) for row in rows))
    for drive, noise, which in dict.fromkeys(group[:3] for group in groups):
        for one, other in combinations(kinds, 2):
            pair = [groups.get((drive, noise, which, kind)) for kind in (one, other)]
            if not (pair[0] and pair[1]):
                continue
            for what in values:
                known = [_matrix(some, what) for some in pair if some]
                if any(np.isnan(v).all() for v in known) or known[0].shape[1] != known[1].shape[1]:
                    continue
                difference = compare_means(known[0], known[1])
                found.append(
                    {
                        "drive": drive, "noise": noise, key: which, "network": one, "than": other, "what": what,
                        **_estimate("difference", difference.gap), "p": difference.p, "verdict": difference.verdict,
                        "n_trainings": min(len(v) for v in known),
                    }
                )  # fmt: skip
    return found


def effect_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Change of the command for each thing taken away or moved, in 1/m and as a share of the commands."""
    found = []
    for (drive, noise, change, kind), some in _grouped(rows, "drive", "noise", "change").items():
        line = {"drive": drive, "noise": noise, "change": change, "network": kind, "text": CHANGES[change].text}
        for name in ("rms_per_m", "share"):
            line |= _estimate(name, mean_estimate(_matrix(some, name)))
        found.append(line)
    return found


def findings(figures: Mapping[str, Any]) -> list[str]:
    """The answers in sentences that claim no more than the intervals show."""
    lines = []
    same = [row for row in figures["comparisons"] if row["drive"] == REFERENCE and row["noise"] == CLEAN]
    for one, other in dict.fromkeys((row["network"], row["than"]) for row in same):
        told = [r for r in same if (r["network"], r["than"], r["what"]) == (one, other, "road_gain")]
        by_verdict = {
            v: [r["method"] for r in told if r["verdict"] == v] for v in (HOLDS, DOES_NOT_HOLD, CANNOT_BE_TOLD)
        }
        for verdict, word in ((HOLDS, "more"), (DOES_NOT_HOLD, "less")):
            if by_verdict[verdict]:
                lines.append(
                    f"On the same pictures {one} attends to the road {word} than {other}, by "
                    f"{', '.join(by_verdict[verdict])}."
                )
        if by_verdict[CANNOT_BE_TOLD]:
            lines.append(
                f"By {', '.join(by_verdict[CANNOT_BE_TOLD])} these roads and trainings cannot tell which of {one} and "
                f"{other} attends to the road more."
            )
        if any(row["n_trainings"] == 1 for row in told):
            lines.append(f"There is one training of {one} or {other}: this is about networks, not their kinds.")
    effects = [r for r in figures["effect_comparisons"] if r["drive"] == REFERENCE and r["noise"] == CLEAN]
    for one, other in dict.fromkeys((row["network"], row["than"]) for row in effects):
        some = [row for row in effects if (row["network"], row["than"]) == (one, other)]
        n_less = sum(row["difference"] < 0 for row in some)
        told = [
            f"{CHANGES[row['change']].text} ({'more' if row['verdict'] == HOLDS else 'less'})"
            for row in some
            if row["verdict"] != CANNOT_BE_TOLD
        ]
        lines.append(
            f"Of {len(some)} changes of the world {n_less} change the commands of {one} less than those of {other}; "
            f"told apart, all taken together: {', '.join(told) or 'none'}."
        )
    rows = [r for r in figures["table"] if r["drive"] == REFERENCE and r["noise"] == CLEAN]
    chance = [r["agreement"] for r in rows if r["method"] == EVEN and not math.isnan(r["agreement"])]
    by_method: dict[str, list[float]] = {}
    for row in rows:
        if row["method"] != EVEN and not math.isnan(row.get("agreement", math.nan)):
            by_method.setdefault(row["method"], []).append(row["agreement"])
    if chance and by_method:
        best = sorted(by_method, key=lambda method: -float(np.mean(by_method[method])))
        shown = ", ".join(f"{method} {np.mean(by_method[method]):.2f}" for method in best)
        lines.append(
            f"What a map shows and what the command really hangs on, thing by thing, rank alike with {shown}; a map "
            f"that looks everywhere alike has {np.mean(chance):.2f}."
        )
    return lines


def _strict(value: Any) -> Any:
    """For JSON: neither NaN nor infinity, and no more digits than mean anything."""
    if isinstance(value, dict):
        return {key: _strict(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_strict(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
