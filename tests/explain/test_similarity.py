"""CCA, SVCCA, PWCCA, CKA: known answers, laws, the algorithms as published, intervals that cover, verdicts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from chexlib.errors import UserError
from chexlib.explain.similarity import (
    FEWEST,
    MEASURES,
    Moments,
    Pair,
    Similarity,
    biased_cka,
    canonical_correlations,
    cca,
    cka,
    similarity,
)

CANONICAL = ["cca", "svcca", "pwcca"]


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    """The sums, plainly, of features (n, p) and (n, q)."""
    of_x, of_y = (np.column_stack([f, (f**2).sum(axis=1), np.ones(len(f))]) for f in (x, y))
    return Moments(of_x.T @ of_x, of_x.T @ of_y, of_y.T @ of_y, len(x))


def gaussian(n: int, *widths: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, width)) for width in widths]


def related(n: int, p: int, q: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of four common factors, of neurons of quite different scales, and noise."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 4))
    x, y = (factors @ rng.normal(size=(4, width)) + rng.normal(size=(n, width)) for width in (p, q))
    return x * rng.uniform(0.2, 5, size=p), np.maximum(y, 0)


# Known answers


def test_cca_of_independent_features_is_what_the_formula_says():
    """The sum of squared correlations has the mean p q / (n - 1)."""
    sums = [(canonical_correlations(moments(*gaussian(100, 12, 5, seed=seed))) ** 2).sum() for seed in range(200)]
    assert np.mean(sums) == pytest.approx(12 * 5 / 99, rel=0.02)


def test_some_correlations_are_one_where_examples_are_fewer_than_neurons():
    correlations = canonical_correlations(moments(*gaussian(50, 30, 35)))
    assert len(correlations) == 30
    np.testing.assert_allclose(correlations[: 30 + 35 - 49], 1, atol=1e-9)
    assert correlations[30 + 35 - 49] < 0.999


def test_cka_of_independent_features_is_zero_and_the_biased_one_is_not():
    """At n = 100 and 410 neurons each, as at 500 and 2,048: 0.80."""
    found = [moments(*gaussian(100, 410, 410, seed=seed)) for seed in range(20)]
    debiased, biased = [cka(m) for m in found], [biased_cka(m) for m in found]
    assert np.mean(biased) == pytest.approx(410 / 510, abs=0.01)
    assert abs(np.mean(debiased)) < 3 * 1.4 / 100 / np.sqrt(20)
    assert np.std(debiased) == pytest.approx(1.4 / 100, rel=0.5)


@pytest.mark.parametrize("measure", MEASURES)
def test_features_are_the_same_as_themselves_in_another_order_of_neurons(measure):
    [x] = gaussian(200, 10)
    found = similarity(x, x[:, ::-1].copy(), measure)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1), abs=1e-9)
    assert found.enough


def test_cka_is_songs_over_gram_matrices_to_the_last_digits():
    x, y = related(60, 7, 9)

    def hsic(x, y):
        n, one = len(x), np.ones(len(x))
        k, l = x @ x.T, y @ y.T  # noqa: E741
        np.fill_diagonal(k, 0), np.fill_diagonal(l, 0)
        middle = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
        return (np.trace(k @ l) + middle - 2 / (n - 2) * one @ k @ l @ one) / (n * (n - 3))

    assert similarity(x, y, "cka").value == pytest.approx(hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y)), abs=1e-12)


def test_biased_cka_is_that_of_centred_gram_matrices():
    x, y = related(60, 7, 9)
    centre = np.eye(60) - 1 / 60
    k, l = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre  # noqa: E741
    expected = np.sum(k * l) / np.linalg.norm(k) / np.linalg.norm(l)
    assert similarity(x, y, "biased cka").value == pytest.approx(expected, abs=1e-12)


# google/svcca's algorithm, written plainly


def google_cca(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`get_cca_similarity` with epsilon 0: correlations (k,), and both layers' directions (., n)."""
    covariance = np.cov(x.T, y.T)
    p = x.shape[1]
    xx, xy, yy = covariance[:p, :p], covariance[:p, p:], covariance[p:, p:]
    x_max, y_max = np.abs(xx).max(), np.abs(yy).max()
    root_x, root_y = (_root(np.linalg.pinv(s)) for s in (xx / x_max, yy / y_max))
    u, s, v = np.linalg.svd(root_x @ (xy / np.sqrt(x_max * y_max)) @ root_y)
    return np.abs(s), u.T @ root_x @ (x - x.mean(axis=0)).T, v @ root_y @ (y - y.mean(axis=0)).T


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.sqrt(values)) @ vectors.T


def google_pwcca(x: np.ndarray, y: np.ndarray) -> float:
    """`compute_pwcca`, of the layer with fewer neurons, with the directions that `get_cca_similarity` itself gives.

    Theirs leaves the whitening out of them, and reads the first layer where the second is narrower.
    """
    correlations, of_x, of_y = google_cca(x, y)
    directions, neurons = (of_x, x) if x.shape[1] <= y.shape[1] else (of_y, y)
    orthonormal, _ = np.linalg.qr(directions.T)
    weights = np.abs(orthonormal.T @ (neurons - neurons.mean(axis=0))).sum(axis=1)
    return float(weights @ correlations / weights.sum())


def components(x: np.ndarray, share: float = 0.99) -> np.ndarray:
    """The fewest principal components that hold this share of the variance."""
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    k = int(np.searchsorted(np.cumsum(s**2) / np.sum(s**2), share)) + 1
    return u[:, :k] * s[:k]


@pytest.mark.parametrize(("p", "q"), [(12, 12), (9, 14), (14, 9)])
def test_cca_svcca_and_pwcca_are_googles(p, q):
    x, y = related(150, p, q)
    assert similarity(x, y, "cca").value == pytest.approx(google_cca(x, y)[0].mean(), abs=1e-10)
    assert similarity(x, y, "pwcca").value == pytest.approx(google_pwcca(x, y), abs=1e-10)
    x_kept, y_kept = components(x), components(y)
    assert x_kept.shape[1] < p or y_kept.shape[1] < q
    assert similarity(x, y, "svcca").value == pytest.approx(google_cca(x_kept, y_kept)[0].mean(), abs=1e-10)


# Laws


def orthogonal(width: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


def invertible(width: int, rng: np.random.Generator) -> np.ndarray:
    return orthogonal(width, rng) @ np.diag(rng.uniform(0.1, 10, size=width)) @ orthogonal(width, rng)


LAWS = {
    "orthogonal": (orthogonal, ["cka", "biased cka", "cca", "svcca"]),
    "scale": (lambda width, rng: 10 ** rng.uniform(-12, 12) * np.eye(width), [*MEASURES]),
    "invertible": (invertible, ["cca"]),
}


@pytest.mark.parametrize("law", LAWS)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), p=st.integers(1, 8), q=st.integers(1, 8))
def test_invariances(law, seed, p, q):
    change, measures = LAWS[law]
    rng = np.random.default_rng(seed)
    x, y = related(50, p, q, seed=seed)
    moved = x @ change(p, rng), y @ change(q, rng)
    moved = moved[0] + 3 * moved[0].std() * rng.normal(size=p), moved[1]
    for measure in measures:
        of = MEASURES[measure]
        assert of(moments(*moved)) == pytest.approx(of(moments(x, y)), abs=1e-7), measure


# Where public code fails


@pytest.mark.parametrize("measure", MEASURES)
def test_a_mean_of_ten_in_single_precision_costs_nothing(measure):
    x, y = related(200, 8, 6)
    x, y = x / x.std(axis=0), y / y.std(axis=0)
    expected = similarity(x, y, measure).value
    assert similarity(np.float32(x + 10), np.float32(y + 10), measure).value == pytest.approx(expected, abs=1e-6)
    assert similarity(torch.tensor(x + 1e4), torch.tensor(y - 1e4), measure).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_constant_neurons_are_counted_and_change_nothing(measure):
    x, y = related(200, 8, 6)
    with_constants = np.float32(np.column_stack([x[:, :3], np.full(200, 7.3), x[:, 3:], np.zeros(200)]))
    found, expected = (
        similarity(with_constants, np.float32(y), measure),
        similarity(np.float32(x), np.float32(y), measure),
    )
    assert (found.neurons, found.constant) == ((10, 6), (2, 0)) and expected.constant == (0, 0)
    assert (found.value, found.low, found.null) == pytest.approx(
        (expected.value, expected.low, expected.null), abs=1e-9
    )


def test_duplicate_neurons_and_sums_of_neurons_change_no_canonical_correlation():
    x, y = related(200, 8, 6)
    dependent = np.float32(np.column_stack([x, x[:, :5], x[:, 0] + 2 * x[:, 1]]))
    correlations = canonical_correlations(moments(dependent.astype(float), y))
    np.testing.assert_allclose(correlations, canonical_correlations(moments(x, y)), atol=1e-6)
    found = similarity(dependent, y, "cca")
    assert found.value == pytest.approx(similarity(x, y, "cca").value, abs=1e-6) and found.high - found.low < 0.3


def test_a_neuron_of_a_millionth_the_scale_of_others_counts_as_any_other():
    x, y = related(200, 8, 6)
    tiny = x * np.array([1e-6, *[1] * 6, 1e6])
    assert similarity(tiny, y, "cca").value == pytest.approx(similarity(x, y, "cca").value, abs=1e-9)


def test_more_neurons_than_images_are_no_matter_to_cka_and_svcca():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(100, 5))
    x, y = (factors @ rng.normal(size=(5, 300)) + 0.01 * rng.normal(size=(100, 300)) for _ in range(2))
    for measure in ("cka", "svcca"):
        found = similarity(x, y, measure)
        assert found.low > 0.9 and found.null < 0.5, found


@pytest.mark.parametrize("measure", CANONICAL)
def test_too_few_images_for_cca_are_refused_with_how_many_it_takes(measure):
    x, y = gaussian(400, 60, 50)
    with pytest.raises(UserError, match=r"100 images .* at least 111 images"):
        similarity(x[:100], y[:100], "cca")
    with pytest.raises(UserError, match="at least 111 images"):
        similarity(x[:40], y[:40], "cca")  # fewer than neurons
    narrow = similarity(x[:111], y[:111], "cca")
    assert np.isnan(narrow.low) and not narrow.enough
    assert not np.isnan(similarity(x[:130], y[:130], measure).low)


@pytest.mark.parametrize(("p", "q"), [(5, 9), (9, 5)])
def test_pwcca_of_a_wider_first_layer_is_that_of_the_wider_as_second(p, q):
    x, y = related(200, p, q)
    assert similarity(x, y, "pwcca").value == pytest.approx(similarity(y, x, "pwcca").value, abs=1e-12)


def test_pwcca_does_not_ask_how_the_wider_layers_neurons_are_mixed():
    x, y = related(200, 5, 9)
    mixed = y @ invertible(9, np.random.default_rng(1))
    assert similarity(x, mixed, "pwcca").value == pytest.approx(similarity(x, y, "pwcca").value, abs=1e-9)
    assert similarity(x, y, "pwcca").value != pytest.approx(similarity(x, y, "cca").value, abs=0.01)


# Batches, positions, patients


def streamed(x, y, cuts, **options) -> Pair:
    pair = Pair(**options)
    for first, last in zip([0, *cuts], [*cuts, len(x)], strict=True):
        pair.add(x[first:last], y[first:last])
    return pair


@settings(max_examples=15)
@given(cuts=st.sets(st.integers(1, 69), max_size=8).map(sorted), positions=st.sampled_from([None, 1, 5]))
def test_batches_give_what_the_whole_gives(cuts, positions):
    x, y = (torch.randn(70, c, 4, 3, generator=torch.Generator().manual_seed(c)) for c in (5, 4))
    y = y + x[:, :4]
    whole, parts = (streamed(x, y, some, positions=positions, seed=3) for some in ([], cuts))
    for measure in MEASURES if positions != 5 else CANONICAL:
        one, other = whole.similarity(measure), parts.similarity(measure)
        for name in ("value", "low", "high", "null"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-9), (measure, name)


def test_what_is_kept_does_not_grow_with_the_images():
    def kept(n: int) -> int:
        pair = streamed(*(torch.zeros(n, c, 9, 9) for c in (6, 5)), range(50, n, 50), positions=4)
        return sum(value.nbytes for value in vars(pair).values() if isinstance(value, np.ndarray))

    assert kept(50) == kept(500)


def test_positions_are_places_of_one_image_in_both_networks_whatever_the_size_of_the_maps():
    x = torch.randn(80, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    larger = F.interpolate(x, scale_factor=3)
    for one, other in ((x, larger), (larger, x)):
        found = similarity(one, other, "cca", positions=4)
        assert found.value == pytest.approx(1) and found.null < 0.4
    assert similarity(x, larger, "cka", positions=1).value == pytest.approx(1)


def test_all_positions_are_taken_once_where_a_map_has_no_more():
    x = torch.randn(60, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    y = torch.randn(60, 5, 3, 3, generator=torch.Generator().manual_seed(1)) + x.mean(dim=1, keepdim=True)
    x_rows, y_rows = (f.double().permute(0, 2, 3, 1).flatten(0, 2).numpy() for f in (x, y))
    assert similarity(x, y, "cca", positions=50).value == pytest.approx(cca(moments(x_rows, y_rows)))


def test_maps_are_averaged_unless_positions_are_asked_for():
    x, y = (torch.randn(60, c, 3, 3, generator=torch.Generator().manual_seed(c)) for c in (4, 5))
    for measure in MEASURES:
        assert similarity(x, y, measure).value == pytest.approx(
            similarity(x.mean(dim=(2, 3)), y.mean(dim=(2, 3)), measure).value, abs=1e-6
        )


def test_positions_that_repeat_an_image_make_no_more_of_it():
    """One image's positions hold the same: the interval and the null stay those of the images."""
    x, y = (torch.tensor(f) for f in related(120, 5, 4))
    repeated = [f[:, :, None, None].expand(-1, -1, 4, 4) for f in (x, y)]
    once, often = similarity(x, y, "cca"), similarity(*repeated, "cca", positions=9)
    for name in ("value", "low", "high", "null", "needed"):
        assert getattr(once, name) == pytest.approx(getattr(often, name), abs=1e-9)


def test_a_patients_images_are_left_out_together():
    x, y = related(150, 5, 4)
    twice = np.tile(np.arange(150), 2)
    once, both = similarity(x, y, "cca"), similarity(x[twice], y[twice], "cca", patients=twice)
    as_others = similarity(x[twice], y[twice], "cca")
    width, width_both, width_others = (s.high - s.low for s in (once, both, as_others))
    assert width_both == pytest.approx(width, rel=0.5) and width_others < 0.8 * width_both


# Nulls, intervals, verdicts


@pytest.mark.parametrize("measure", MEASURES)
def test_the_null_is_what_independent_features_give(measure):
    x, y = related(300, 20, 15)
    other = np.random.default_rng(5).permutation(300)
    expected = np.mean([MEASURES[measure](moments(x, np.roll(y[other], k, axis=0))) for k in range(20)])
    found = similarity(x, y, measure)
    assert found.null == pytest.approx(expected, abs=0.03) and found.low > found.null + 0.1


MIX = np.random.default_rng(1).normal(size=(2, 3, 5))


def test_intervals_cover():
    """In 200 draws of 80 images: CKA's the true one, the others' the mean of what they give for so many images."""

    def drawn(seed: int) -> dict[str, Similarity]:
        rng, pair = np.random.default_rng(seed), Pair()
        factors = rng.normal(size=(80, 3))
        pair.add(*(factors @ mix + rng.normal(size=(80, 5)) for mix in MIX))
        return {measure: pair.similarity(measure) for measure in MEASURES}

    found = [drawn(seed) for seed in range(200)]
    x, y = MIX
    true = {"cka": np.sum((x.T @ y) ** 2) / np.linalg.norm(x.T @ x + np.eye(5)) / np.linalg.norm(y.T @ y + np.eye(5))}
    for measure in MEASURES:
        each = [one[measure] for one in found]
        values = np.array([one.value for one in each])
        expected = true.get(measure, values.mean())
        assert values.mean() == pytest.approx(expected, abs=3 * values.std() / np.sqrt(200)), measure
        assert 0.92 <= np.mean([one.low <= expected <= one.high for one in each]) <= 0.995, measure
        assert np.mean([one.high - one.low for one in each]) < 2 * 2.26 * values.std() * 1.3, measure


def test_intervals_cover_where_an_images_positions_are_alike():
    """Drawing positions instead of images would make them half as wide, and cover in two of three cases."""

    def drawn(seed: int) -> Similarity:
        rng = np.random.default_rng(seed)
        factors = rng.normal(size=(60, 3, 1, 1)) + 0.5 * rng.normal(size=(60, 3, 3, 3))
        x, y = (np.einsum("nfij,fc->ncij", factors, mix) for mix in MIX)
        return similarity(x + rng.normal(size=x.shape), y + rng.normal(size=y.shape), "cca", positions=6)

    found = [drawn(seed) for seed in range(200)]
    expected = np.mean([one.value for one in found])
    assert 0.92 <= np.mean([one.low <= expected <= one.high for one in found]) <= 0.99


@pytest.mark.parametrize("measure", CANONICAL)
def test_as_many_images_as_are_said_to_be_needed_are_enough(measure):
    x, y = related(4000, 20, 20)
    few = similarity(x[:100], y[:100], measure)
    assert not few.enough and 130 < few.needed < 400
    assert not similarity(x[: few.needed // 2], y[: few.needed // 2], measure).enough
    many = similarity(x[: few.needed * 3 // 2], y[: few.needed * 3 // 2], measure)
    assert many.enough and many.null < 0.3


def test_wide_intervals_are_not_enough_either():
    x, y = related(2000, 6, 5)
    few = similarity(x[:40], y[:40], "cka")
    assert not few.enough and abs(few.null) < 0.1 and few.high - few.low > 0.1
    assert similarity(x, y, "cka").enough


# What cannot be compared


def test_what_cannot_be_compared_is_refused():
    x, y = related(60, 5, 4)
    zeros, maps = np.zeros((60, 3)), torch.zeros(60, 3, 2, 2)
    holed = np.where(np.arange(60)[:, None] == 7, np.nan, x)
    for wrong, message in [
        (lambda: similarity(x, y[:50]), "60 images and y of 50"),
        (lambda: Pair().add(x, y[:50]), "60 images and y of 50"),
        (lambda: similarity(x, zeros), "all 3 neurons of y are constant"),
        (lambda: similarity(zeros + 3, y, "cca"), "all 3 neurons of x are constant"),
        (lambda: similarity(x, y, "ckka"), "'ckka'.*cka"),
        (lambda: similarity(x[:19], y[:19]), f"19 .* at least {FEWEST}"),
        (lambda: similarity(x, y, patients=[1] * 60), f"1 .* at least {FEWEST}"),
        (lambda: Pair().add(x, y, patients=[1, 2]), "60 images and 2 patients"),
        (lambda: Pair().similarity(), f"0 .* at least {FEWEST}"),
        (lambda: similarity(holed, y), "x is not finite in 1 of 60"),
        (lambda: similarity(maps[:, 0], y), r"x has shape \(60, 2, 2\)"),
        (lambda: similarity(x, y, positions=0), "positions=0"),
        (lambda: similarity(maps + torch.randn(60, 1, 2, 2), y, positions=3), "cka: 3 positions"),
    ]:
        with pytest.raises(UserError, match=message):
            wrong()
    pair = Pair()
    pair.add(x, y)
    with pytest.raises(UserError, match="y had 4 channels before and has 3 now"):
        pair.add(x, zeros)


# Grounded: similarity orders networks as what was done to them does (in the manner of ReSi, Klabunde et al. 2024)


class Layers(nn.Module):
    """A first layer of 12 neurons, residual ones, and one logit."""

    def __init__(self, depth: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        widths = [8, *[12] * depth, 1]
        self.weights = nn.ParameterList(torch.randn(*shape, generator=generator) / 3 for shape in pairwise(widths))

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = [torch.relu(x @ self.weights[0])]
        for weight in self.weights[1:-1]:
            found.append(found[-1] + torch.relu(found[-1] @ weight))
        return found

    def logit(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x)[-1] @ self.weights[-1]


def inputs(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 8) and what is to be learned of them, (n,): a product of two of them."""
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).float()


def trained(shuffled: float, seed: int) -> Layers:
    """After 100 steps on 300 inputs, this share of whose labels are drawn anew."""
    model, (x, y) = Layers(2, seed), inputs(300, 0)
    generator = torch.Generator().manual_seed(seed)
    anew = torch.rand(300, generator=generator) < shuffled
    y = torch.where(anew, torch.rand(300, generator=generator).round(), y)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model.logit(x)[:, 0], y).backward()
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def by_labels() -> dict[float, list[Layers]]:
    return {share: [trained(share, seed) for seed in range(10 * i, 10 * i + 4)] for i, share in enumerate((0, 0.5, 1))}


@pytest.mark.parametrize("measure", MEASURES)
def test_the_more_labels_are_shuffled_the_less_networks_agree_with_those_that_learned(by_labels, measure):
    x, _ = inputs(400, 9)

    def mean(share: float) -> float:
        return np.mean([
            similarity(a.features(x)[-1], b.features(x)[-1], measure).value
            for i, a in enumerate(by_labels[0]) for j, b in enumerate(by_labels[share]) if share or i < j
        ])  # fmt: skip

    right, half, none = (mean(share) for share in by_labels)
    assert right > half + 0.1 and half > none + 0.01, (right, half, none)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_more_noise_weights_get_the_less_features_agree(measure):
    x, _ = inputs(400, 9)
    values = []
    for noise in (0, 0.1, 0.3, 1):
        model = Layers(3, seed=0)
        with torch.no_grad():
            for weight in model.parameters():
                weight += noise * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
        values.append(similarity(Layers(3, seed=0).features(x)[-1], model.features(x)[-1], measure).value)
    assert values[0] == pytest.approx(1) and all(a > b + 0.01 for a, b in pairwise(values)), values


@pytest.mark.parametrize("measure", MEASURES)
def test_the_further_layers_are_apart_the_less_they_agree(measure):
    x, _ = inputs(400, 9)
    layers = Layers(5, seed=0).features(x)
    values = [similarity(layers[0], layer, measure).value for layer in layers]
    assert values[0] == pytest.approx(1) and all(a > b + 0.01 for a, b in pairwise(values)), values
