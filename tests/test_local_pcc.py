"""The correlation in a moving window, against a plain one window at a time."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.evaluation.local_pcc import local_pcc
from napari_cmrcnet.sections import nearby_spots
from napari_cmrcnet.sections.nearby_spots import windows


@pytest.mark.parametrize("reach", [1.5, 2.5, 6.0])
def test_is_the_correlation_of_the_spots_within_reach_that_count(reach: float) -> None:
    rng = np.random.default_rng(0)
    xy = np.stack(np.meshgrid(np.arange(14.0), np.arange(11.0)), -1).reshape(-1, 2)
    xy = xy[rng.random(len(xy)) < 0.8] + 100
    counted = rng.random(len(xy)) < 0.9
    measured = np.where(xy[:, 0] < 106, 0.0, rng.gamma(1.0, 1.0, len(xy))).astype(np.float32)  # one half has none
    predicted = (7 + 1e-3 * (measured + rng.normal(size=len(xy)))).astype(np.float32)
    expected = np.full(len(xy), np.nan)
    for row, place in enumerate(xy):
        inside = (np.hypot(*(xy - place).T) <= reach) & counted
        if inside.sum() >= 10 and np.ptp(measured[inside]) > 0:
            expected[row] = pearsonr(measured[inside], predicted[inside])[0]
    found = local_pcc(measured, predicted, windows(xy, reach), counted)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.isnan(expected).any()
    assert reach < 2 or np.isfinite(expected).any()


def test_a_window_of_too_many_spots_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearby_spots, "MOST_PAIRS", 1000)
    xy = np.random.default_rng(0).random((100, 2))
    assert windows(xy, 0.05).shape == (100, 100)
    with pytest.raises(UserError, match="choose a smaller one"):
        windows(xy, 2.0)


def test_a_constant_gene_and_no_spots_have_none() -> None:
    xy = np.random.default_rng(0).random((30, 2))
    values, all_spots = np.arange(30.0), np.ones(30, bool)
    assert np.isnan(local_pcc(np.full(30, 0.1), values, windows(xy, 2), all_spots)).all()
    assert np.isnan(local_pcc(values, values, windows(xy, 2), ~all_spots)).all()
    np.testing.assert_allclose(local_pcc(values, -values, windows(xy, 2), all_spots), -1, atol=1e-6)
