"""Two networks side by side: where each looks, how much of that is road, how much survives noise; a video."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import dropwhile, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from driving.attention import ATTRIBUTIONS, Attribution, occlusion
from driving.instants import Driven, on_drive, together
from driving.models.policy import Policy, to_tensor
from driving.noise import Noise, noise_title
from driving.onlooker import BLOCK, Onlooker, Seen
from driving.others import OutsideNetwork, driver_of
from driving.video import HEIGHT_PX, MAX_PANELS, WIDTH_PX, Film, Panel, Result, closing_card, compose
from sim.conventions import FRAME_RATE_HZ, MAX_CURVATURE_PER_M
from sim.drive import Drive
from sim.episodes import EpisodeLog, Instant
from sim.errors import BadInputError
from sim.lane_env import LaneEnv

HOLD_FRAMES = 20
"""How often the last picture of a video with a crash is written."""
CLOSING_S = 3.0
"""How long the figures at the end are shown."""


def side_by_side(
    driven: Mapping[str, Driven], onlookers: Mapping[str, Onlooker], make_env: Callable[[], LaneEnv]
) -> dict[str, Iterator[Instant]]:
    """The drives in step, each followed by its onlooker as it goes, even where one is driven after the other."""
    return together({name: onlookers[name].follow(stream) for name, stream in driven.items()}, make_env)


def titles(onlookers: Mapping[str, Onlooker]) -> dict[str, str]:
    """What each network is called over its panel: its kind, and by which method one looks where these differ.

    Its name stands before its kind where two networks are of one kind.
    """
    networks = {name: onlooker.policy for name, onlooker in onlookers.items()}
    kinds = {name: network.title for name, network in networks.items()}
    methods = {name: onlooker.method_name.replace("_", " ") for name, onlooker in onlookers.items()}
    if len({*methods.values()}) > 1:
        if len({id(network) for network in networks.values()}) == 1:  # one network, looked at in several ways
            return {name: method[:1].upper() + method[1:] for name, method in methods.items()}
        kinds = {name: f"{kind}, {methods[name]}" for name, kind in kinds.items()}
    alike = len(set(kinds.values())) < len(kinds)
    return {name: f"{Path(name).name}: {kind}" if alike else kind for name, kind in kinds.items()}


def compare(
    streams: Mapping[str, Iterator[Instant]],
    onlookers: Mapping[str, Onlooker],
    video: Film | None = None,
    heading: str = "",
    subtitle: str = "",
    condition: str = "clean picture",
    noisy: bool = False,
    driven: Mapping[str, Driven] | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> None:
    """Go through the instants of all networks in step, score them, and write the video's frames.

    A network whose episode has ended keeps its last picture while the others go on; where one has crashed, all
    keep theirs for ``HOLD_FRAMES`` frames at the very end, so that it can be read.
    """
    names = titles(onlookers)

    def film(last: Mapping[str, Seen], ended: Collection[str]) -> None:
        if video is None or not last:
            return
        panels = [
            panel_of(names[name], onlookers[name].policy, seen, driven[name].log if driven else None, name in ended)
            for name, seen in last.items()
        ]
        draw = partial(
            compose,
            panels,
            heading=heading,
            subtitle=subtitle,
            condition=condition,
            noisy=noisy,
            time_s=max(seen.instant.time_s for seen in last.values()),
            road_area_share=_area(onlookers),
        )
        video.show(draw, HOLD_FRAMES if len(ended) == len(last) else 1)

    last: dict[str, Seen] = {}
    for instants in _blocks(zip_longest(*streams.values()), BLOCK):
        scored = {}
        for name, column in zip(streams, zip(*instants, strict=True), strict=True):
            present = [instant for instant in column if instant is not None]
            scored[name] = onlookers[name].seen(present) if present else []
        for i in range(len(instants)):
            last |= {name: column[i] for name, column in scored.items() if i < len(column)}
            film(last, [name for name, column in scored.items() if i >= len(column)])
            on_frame()
    if driven and any(drive.log.crashed for drive in driven.values()):
        film(last, list(last))


def close(
    video: Film,
    onlookers: Mapping[str, Onlooker],
    driven: Mapping[str, Driven] | None,
    subtitle: str,
    frame_rate_hz: float,
) -> None:
    """Write the card with the figures, long enough to be read."""
    names, area = titles(onlookers), _area(onlookers)
    results = []
    for name, onlooker in onlookers.items():
        tally, log = onlooker.tally, driven[name].log if driven else None
        low, high = tally.interval(round(frame_rate_hz))
        status = "watched" if log is None else f"{log.seconds:.0f} s in its lane"
        if log is not None and log.crashed:
            status = f"left the lane at {log.seconds:.1f} s"
        results.append(
            Result(
                names[name], tally.on_road.value, low, high, tally.untrained_on_road.value, area,
                tally.similarity.value, log.mean_abs_offset_m if log else None, status, bool(log and log.crashed),
                onlooker.recovery.mean_s() if onlooker.recovery else None,
            )
        )  # fmt: skip
    video.show(partial(closing_card, results, "What came out", subtitle), round(CLOSING_S * frame_rate_hz))


def _blocks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while block := list(islice(items, size)):
        yield block


def _area(onlookers: Mapping[str, Onlooker]) -> float | None:
    """The road's share of the picture over all frames of all networks."""
    areas = [onlooker.tally.area for onlooker in onlookers.values()]
    n = sum(area.n for area in areas)
    return round(sum(area.total for area in areas) / n, 5) if n else None


def panel_of(title: str, policy: Policy | OutsideNetwork, seen: Seen, log: EpisodeLog | None, ended: bool) -> Panel:
    """What a video shows of one network at an instant; its neurons where they are known."""
    instant = seen.instant
    crashed = bool(ended and log is not None and log.crashed)
    status, is_shaken = "driving" if log is not None else "watching", False
    if seen.burst is not None:
        is_shaken, after_s = seen.burst
        status = "shaken" if is_shaken else f"recovered in {after_s:.2f} s"
    if crashed and log is not None:
        status = f"left the lane at {log.seconds:.1f} s"
    return Panel(
        title=title,
        picture=instant.frame if instant.picture is None else instant.picture,
        attention=seen.attention,
        curvature_per_m=instant.curvature_per_m,
        max_curvature_per_m=min(policy.max_curvature_per_m, MAX_CURVATURE_PER_M / 2),
        reference_curvature_per_m=instant.reference_curvature_per_m,
        on_road_share=seen.on_road_share,
        untrained_on_road_share=seen.untrained_on_road_share,
        lateral_offset_m=instant.info.get("lateral_offset_m"),
        lane_half_width_m=instant.info.get("lane_half_width_m"),
        status=status,
        crashed=crashed,
        shaken=is_shaken,
        road_mask=instant.info.get("road_mask"),
        **(_inside(policy, instant) if isinstance(policy, Policy) else {}),
    )


def _inside(policy: Policy, instant: Instant) -> dict[str, Any]:
    """The fields of a panel that show what goes on in a policy's core."""
    core = policy.core
    strengths = core.synapse_strengths
    with torch.no_grad():
        frame = to_tensor(instant.frame[None])
        trace = core.synapse_trace(policy.encode(frame), instant.state.unsqueeze(0)) if core.wiring else None
    return {
        "neurons": core.shown_state(instant.state).numpy(),
        "units_note": core.units_note,
        "wiring": core.wiring,
        "strengths": None if strengths is None else strengths.detach().numpy(),
        "time_constants_s": None if trace is None else trace.time_constant_s[0].numpy(),
    }


def heading_for(onlookers: Mapping[str, Onlooker]) -> str:
    """The line over the video."""
    networks = [onlooker.policy for onlooker in onlookers.values()]
    number = {2: "two", 3: "three", 4: "four"}.get(len(networks))
    if number is None:
        return "Bright = where it looks"
    if len({id(network) for network in networks}) == 1:
        return f"{networks[0].title}: where it looks, by {number} methods"
    return f"Same road, {number} networks. Bright = where each looks"


def attend(
    policies: Mapping[str, Policy | OutsideNetwork],
    source: Drive | Callable[[], LaneEnv],
    method: Attribution | Mapping[str, str],
    noise: Noise | None = None,
    seconds: float | None = None,
    seed: int = 0,
    video_path: Path | None = None,
    frame_rate_hz: float | None = None,
    source_name: str = "",
    on_frame: Callable[[], None] = lambda: None,
    from_s: float = 0.0,
    with_card: bool = True,
    n_workers: int = 1,
) -> dict[str, Any]:
    """Figures of where the policies look on a recorded drive or in an environment, and the video of it.

    Args:
        policies: by name; one to four for a video. What is known from outside only can be looked at by ``occlusion``.
        source: a drive, or a maker of environments (``render_mode="rgb_array"`` for the video).
        method: attribution, the same for every policy; or the name of one (``ATTRIBUTIONS``) for each.
        noise: what the policies see; the similarity compares each map with that of the clean frame.
        seconds: how much at most; None takes all of a drive.
        seed: episode and noise.
        video_path: mp4 to write.
        frame_rate_hz: of the video; None takes the source's, so that it plays as fast as it was driven.
        from_s: what comes before is driven, but neither scored nor shown.
        with_card: the video ends with the figures.
        n_workers: as in ``Film``.

    Returns:
        The keys of ``liquid-lane attend --json``.

    Raises:
        BadInputError: no policy, more than four for a video, no positive time, or a method that needs to look into
            a network that is known from outside only.
    """
    if not policies:
        raise BadInputError("attend: expected at least one policy, got none; name them with --policies")
    if video_path is not None and len(policies) > MAX_PANELS:
        raise BadInputError(f"attend: a video shows up to {MAX_PANELS} policies, got {len(policies)}")
    given = method if isinstance(method, Mapping) else {}
    methods: dict[str, Any] = {name: ATTRIBUTIONS[given[name]] if given else method for name in policies}
    hidden = [name for name, p in policies.items() if not isinstance(p, Policy) and methods[name] is not occlusion]
    if hidden:
        raise BadInputError(f"attend: {hidden[0]} can be looked at from outside only; use --method occlusion")
    if seconds is not None and not seconds > 0:
        raise BadInputError(f"attend: expected a time above 0 s, got {seconds}")
    if frame_rate_hz is None:
        frame_rate_hz = 1.0 / float(np.median(source.dt_s())) if isinstance(source, Drive) else FRAME_RATE_HZ
    onlookers = {name: Onlooker(policy, methods[name], noise, given.get(name, "")) for name, policy in policies.items()}
    driven: dict[str, Driven] | None = None
    if isinstance(source, Drive):
        streams = {
            name: onlookers[name].follow(on_drive(driver_of(policy), source, seconds, noise, seed))
            for name, policy in policies.items()
        }
    else:
        show, limit_s = video_path is not None, seconds or 60.0
        driven = {
            name: Driven(driver_of(policy), source, seed, limit_s, noise, show) for name, policy in policies.items()
        }
        streams = side_by_side(driven, onlookers, source)
    if from_s > 0:
        streams = {name: dropwhile(lambda i: i.time_s < from_s - 1e-6, stream) for name, stream in streams.items()}
    words: dict[str, Any] = {
        "heading": heading_for(onlookers),
        "subtitle": source_name,
        "condition": noise_title(noise),
        "noisy": noise is not None,
    }
    if video_path is None:
        compare(streams, onlookers, None, **words, driven=driven, on_frame=on_frame)
    else:
        with Film(video_path, frame_rate_hz, HEIGHT_PX, WIDTH_PX, n_workers) as video:
            compare(streams, onlookers, video, **words, driven=driven, on_frame=on_frame)
            if with_card:
                close(video, onlookers, driven, f"{noise_title(noise)}, {source_name}", frame_rate_hz)
    rows = {name: onlooker.tally.figures() for name, onlooker in onlookers.items()}
    return {"road_area_share": _area(onlookers), "policies": rows}
