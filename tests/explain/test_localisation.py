"""Measures of how maps lie on findings: known answers, and what no measure may depend on."""

import numpy as np
import pytest

from chexlib import stats
from chexlib.explain import localisation as lo

MEASURES = (lo.hit_rate, lo.energy_inside, lo.pixel_auroc, lambda m, k: lo.iou_curve(m, k, [0.5])[:, 0])


def mask(*points, side=10):
    found = np.zeros((1, side, side), dtype=bool)
    for y, x in points:
        found[0, y, x] = True
    return found


def spots(side=10, **values):
    """One map, 0 but for y, x given as a1b2=0.5."""
    found = np.zeros((1, side, side))
    for place, value in values.items():
        found[0, int(place[1]), int(place[3])] = value
    return found


def draw(seed, n=6, side=12):
    rng = np.random.default_rng(seed)
    masks = rng.random((n, side, side)) < 0.3
    masks[:, 0, 0], masks[:, 1, 1] = True, False
    return rng.integers(0, 8, (n, side, side)) / 7, masks  # many ties


def test_a_peak_on_the_finding_is_a_hit_and_of_equal_peaks_each_counts_alike():
    one, two = spots(a2b3=1.0, a5b5=0.9), spots(a2b3=1.0, a5b5=1.0)
    found = [lo.hit_rate(*pair)[0] for pair in ((one, mask((2, 3))), (one, mask((5, 5))), (two, mask((5, 5))))]
    assert found == [1, 0, 0.5]


def test_energy_is_the_share_of_the_sum_on_the_finding():
    assert lo.energy_inside(spots(a1b1=0.3, a4b4=0.1), mask((1, 1), (2, 2)))[0] == pytest.approx(0.75)


def test_iou_of_known_parts():
    maps = spots(a0b0=1.0, a0b1=0.6, a0b2=0.4)
    masks = mask((0, 1), (0, 2), (0, 3))
    assert lo.iou_curve(maps, masks, [0.4, 0.5, 0.7])[0] == pytest.approx([2 / 4, 1 / 4, 0])
    assert lo.iou_curve(2 * maps, masks, [0.5])[0] == pytest.approx([1 / 4])  # of the map's own maximum


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_of_ious_is_the_iou_at_each_threshold(seed):
    maps, masks = draw(seed)
    maps[0] = 0
    curve = lo.iou_curve(maps, masks)
    for t, found in zip(lo.THRESHOLDS, curve.T, strict=True):
        kept = maps >= t * maps.max(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(found, (kept & masks).sum(axis=(1, 2)) / (kept | masks).sum(axis=(1, 2)))


def test_pixel_auroc_is_that_of_the_statistics():
    maps, masks = draw(1)
    expected = [stats.auroc(k.ravel().astype(float), m.ravel()) for m, k in zip(maps, masks)]
    np.testing.assert_allclose(lo.pixel_auroc(maps, masks), expected)
    assert np.isnan(lo.pixel_auroc(maps[:1], np.ones_like(masks[:1])))[0]


@pytest.mark.parametrize("measure", MEASURES)
def test_a_perfect_map_scores_one_and_a_scale_changes_nothing(measure):
    maps, masks = draw(2)
    np.testing.assert_allclose(measure(masks.astype(float), masks), 1)
    np.testing.assert_allclose(measure(maps, masks), measure(0.125 * maps, masks))


@pytest.mark.parametrize("measure", MEASURES)
def test_a_blank_map_scores_what_a_point_anywhere_does(measure):
    _, masks = draw(3)
    expected = 0.5 if measure is lo.pixel_auroc else masks.mean(axis=(1, 2))
    np.testing.assert_allclose(measure(np.zeros(masks.shape), masks), expected)
    np.testing.assert_allclose(measure(lo.anywhere(masks), masks), expected)


def test_a_threshold_is_tuned_to_what_overlaps_most_and_the_lowest_of_equals_is_taken():
    maps, masks = np.zeros((2, 4, 4)), np.zeros((2, 4, 4), dtype=bool)
    maps[:, 0], maps[:, 1], maps[:, 2] = 1, 0.62, 0.3
    masks[:, :2] = True
    assert lo.best_threshold(lo.iou_curve(maps, masks)) == 0.35  # 0.35 to 0.6 keep the two brighter rows
    with pytest.raises(ValueError, match="give some"):
        lo.best_threshold(np.empty((0, 19)))


def test_the_usual_place_never_holds_a_patients_own_marks():
    masks = np.concatenate([mask((1, 1)), mask((1, 1), (2, 2)), mask((5, 5))])
    found = lo.usual_place(masks, ["a", "a", "b"])
    assert found[0].sum() == 1 and found[0][5, 5] == 1  # nothing of the patient's other image either
    assert found[2][1, 1] == 2 and found[2][2, 2] == 1 and found[2][5, 5] == 0


def test_the_centre_is_brightest_in_the_middle_and_half_so_a_quarter_away():
    bell = lo.centre(mask((0, 0), side=101))[0]
    assert bell.argmax() == 50 * 101 + 50 and bell[50, 75] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("maps", "masks", "words"),
    [
        (np.ones((1, 4, 4)), np.ones((1, 4, 5), dtype=bool), r"both are \(N, H, W\)"),
        (np.ones((1, 4, 4)), np.ones((1, 4, 4)), "masks bool"),
        (-np.ones((1, 4, 4)), np.ones((1, 4, 4), dtype=bool), "below 0"),
        (np.full((1, 4, 4), np.nan), np.ones((1, 4, 4), dtype=bool), "not finite"),
        (np.ones((2, 4, 4)), np.stack([np.ones((4, 4)), np.zeros((4, 4))]).astype(bool), "mask 1 marks nothing"),
    ],
)
def test_what_cannot_be_measured_is_refused(maps, masks, words):
    for measure in MEASURES:
        with pytest.raises(ValueError, match=words):
            measure(maps, masks)
