"""How far a count can be trusted: intervals for rates and shares."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, gammaincinv, ndtri

Interval = tuple[float, float]


def poisson_rate(count: int, hours: float, confidence: float = 0.95) -> Interval:
    """Exact (Garwood) interval of a rate an hour; without hours nothing is known."""
    if hours <= 0:
        return 0.0, float("inf")
    tail = (1 - confidence) / 2
    low = float(gammaincinv(count, tail)) if count else 0.0
    return low / hours, float(gammaincinv(count + 1, 1 - tail)) / hours


def rate_bound(count: int, hours: float, confidence: float = 0.95) -> float:
    """One-sided upper bound of a rate an hour: 3 / hours where nothing was counted, at 95 %."""
    return float(gammaincinv(count + 1, confidence)) / hours if hours > 0 else float("inf")


def hours_for(rate: float, count: int = 0, confidence: float = 0.95) -> float:
    """How many hours with no more than so many counts would support a rate."""
    return float(gammaincinv(count + 1, confidence)) / rate


def wilson(count: int, total: int, confidence: float = 0.95) -> Interval:
    """Interval of a share; near the truth on average, also for shares near 0 and 1."""
    if total == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + confidence / 2))
    share, spread = count / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def clopper_pearson(count: int, total: int, confidence: float = 0.95) -> Interval:
    """Interval of a share that never promises too much; wider than Wilson's."""
    if total == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return low, high
