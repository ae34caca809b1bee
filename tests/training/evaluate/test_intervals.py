"""Intervals against values from tables."""

from __future__ import annotations

import math

import pytest

from training.evaluate.intervals import clopper_pearson, hours_for, poisson_rate, rate_bound, wilson


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (10, 4.795, 18.390), (100, 81.36, 121.63)],
)
def test_garwoods_interval_of_a_count(count: int, low: float, high: float) -> None:
    assert poisson_rate(count, 1.0) == pytest.approx((low, high), rel=1e-3)
    assert poisson_rate(count, 10.0) == pytest.approx((low / 10, high / 10), rel=1e-3)


def test_nothing_in_so_many_hours_is_under_three_over_them() -> None:
    assert rate_bound(0, 1.0) == pytest.approx(2.996, abs=1e-3)
    assert rate_bound(0, 30.0) == pytest.approx(0.0999, abs=1e-4)
    assert hours_for(0.1) == pytest.approx(29.96, abs=0.01)
    assert rate_bound(2, hours_for(0.1, 2)) == pytest.approx(0.1)


def test_no_hours_say_nothing() -> None:
    assert poisson_rate(0, 0.0) == (0.0, math.inf)
    assert rate_bound(0, 0.0) == math.inf


@pytest.mark.parametrize(
    ("count", "total", "interval"),
    [(0, 10, (0.0, 0.2775)), (5, 10, (0.2366, 0.7634)), (8, 10, (0.4902, 0.9433)), (0, 0, (0.0, 1.0))],
)
def test_wilson(count: int, total: int, interval: tuple[float, float]) -> None:
    assert wilson(count, total) == pytest.approx(interval, abs=1e-4)


@pytest.mark.parametrize(
    ("count", "total", "interval"),
    [(0, 10, (0.0, 0.3085)), (5, 10, (0.1871, 0.8129)), (1, 20, (0.0013, 0.2487)), (10, 10, (0.6915, 1.0))],
)
def test_clopper_pearson(count: int, total: int, interval: tuple[float, float]) -> None:
    assert clopper_pearson(count, total) == pytest.approx(interval, abs=1e-4)
