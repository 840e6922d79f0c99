"""What the figures say, in words that claim no more than they show."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

from driving.noise import noise_title
from driving.report.words import Figures, number

CHANCE_LEVEL = 0.05


def finding(figures: Figures) -> str:
    """One sentence a noise: how often each network left its lane, and whether the gap may be chance.

    Two networks are told apart only where the split of their crashes over their kilometres is unlikely
    (below ``CHANCE_LEVEL``, exact two-sided binomial test) had both the same rate.
    """
    sentences = []
    for noise in dict.fromkeys(entry["noise"] for entry in figures["drive"]):
        entries = [entry for entry in figures["drive"] if entry["noise"] == noise]
        if not any(entry["crashes"] for entry in entries):
            who = " and ".join(f"{e['title']} over {number(e['km'], '{:.1f}')} km" for e in entries)
            sentences.append(f"{noise_title(noise)}: no crash, {who}.")
            continue
        rates = " and ".join(
            f"{entry['title']} left the lane {number(entry['crashes_per_km'], '{:.1f}')} times a km"
            for entry in entries
        )
        sentences.append(f"{noise_title(noise)}: {rates}{_verdict(entries)}.")
    return " ".join(sentences)


def _verdict(entries: Sequence[Figures]) -> str:
    if len(entries) != 2 or not all(entry["km"] and entry["km"] > 0 for entry in entries):
        return ""
    first, second = entries
    n = first["crashes"] + second["crashes"]
    chance = _two_sided_binomial(first["crashes"], n, first["km"] / (first["km"] + second["km"]))
    if chance >= CHANCE_LEVEL:
        return f"; with {n} crash{'es' if n != 1 else ''} in all, a gap of this size may be chance"
    better = min(entries, key=lambda entry: entry["crashes"] / entry["km"])
    return f"; on these roads {better['title']} was the steadier, by more than chance"


def _two_sided_binomial(k: int, n: int, share: float) -> float:
    """Probability of a count as unlikely as ``k`` of ``n``, each counted with probability ``share``."""
    mass = [comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(n + 1)]
    return sum(p for p in mass if p <= mass[k] * (1 + 1e-9))
