"""Printed numbers stand for all that round to them, and what counted networks leave open has the known answers."""

import pytest
import timm
import torch

from chexlib.models.networks import count as weights
from chexlib.models.networks import on_meta
from chexlib.models.truncate import truncate
from chexpaper.claims.checks import allowed, cbr_printed, count, counted, own, row
from chexpaper.claims.printed import Span, exactly, mean, span, table1, table2, texts

CUTS = [label for label in table2().index if "Minus" in label]


def test_a_printed_number_stands_for_all_that_round_to_it():
    assert (span("0.859").low, span("0.859").high) == pytest.approx((0.8585, 0.8595))
    assert span("−0.45").low == pytest.approx(-0.455) and span("2.62e-4").high == pytest.approx(2.625e-4)
    assert span("224,316").low == 224315.5 and span("1 to 2") == Span(0.5, 2.5)
    assert span("> 0.006").holds(0.5) and not span("> 0.006").holds(0.0058)  # a bound is no rounded number
    assert span("< 40").holds(-3) and not span("< 40").holds(40) and not span("> 0").meets(Span(-1, 0))


def test_rounding_is_carried_through_arithmetic():
    gap, ratio = span("0.863") - span("0.859"), span("10.718") / span("4.025")
    assert gap.meets(span("0.005")) and not gap.meets(span("0.006"))
    assert ratio.meets(span("2.66")) and not ratio.meets(span("1.9"))
    assert -span("0.1") == span("−0.1") and mean([Span(0, 1), Span(2, 5)]) == Span(1, 3)


def test_an_expression_is_arithmetic_with_named_functions_and_nothing_else():
    assert allowed("'0.791' - '0.565'", own()) == [span("0.791") - span("0.565")]
    assert allowed("[1 + 2, -3 * 2]", {}) == [exactly(3), exactly(-6)]
    assert allowed("100 * twice('x', 2)", {"twice": lambda text, n: exactly(n)}) == [exactly(200)]
    for wrong in ("auc", "().__class__", "open('x')", "1 if 1 else 2", "1 +", "auc('Resnet')", "2 ** 3"):
        with pytest.raises(ValueError, match="cannot be computed"):
            allowed(wrong, own())


def test_networks_built_anew_have_the_counts_of_the_tables():
    for label in [*table1().index, "NASNetAMobile", *CUTS]:
        architecture, minus = row(label)
        network = on_meta(architecture)
        channels = truncate(network, architecture, minus)
        assert count(label) == weights(network) + (channels + 1) * 14, label
    assert count("NASNetAMobile", 1000) == 5_289_978 and count("MNASNetMinus4") == 46_966


def test_the_auxiliary_classifier_is_what_table_1_counts_of_inceptionv3():
    with torch.device("meta"):
        network = timm.create_model("inception_v3", aux_logits=True)
    n = sum(one.numel() for one in network.parameters())
    assert span(texts("table1")["parameters"]["InceptionV3"]).holds(n / 1e6) and n > count("InceptionV3", 1000)


def test_a_rank_correlation_is_a_step_and_that_of_a_rounded_table_has_many_values():
    assert all(span(rho).holds(own()["rank_steps"](rho)[0].low) for rho in ("0.791", "0.565", "−0.718"))
    assert not any(span("0.7895").holds(one.low) for one in own()["rank_steps"]("0.7895"))
    assert own()["p_of"]("0.791").meets(span("2.62e-4")) and not own()["p_of"]("0.791").meets(span("0.01"))
    values = [one.low for one in own()["rho_with_size"]()]
    assert 0.51 < min(values) < 0.53 and 0.65 < max(values) < 0.67 and any(span("0.565").holds(rho) for rho in values)


def test_transfusions_counts_leave_the_first_convolution_out():
    for label, text in texts("transfusion1")["parameters"].items():
        if label.startswith("CBR"):
            assert cbr_printed(label) == exactly(int(text)) and count(label, 5) > int(text)
    assert counted()["size"]("ResNet50", 5) == exactly(23.518277)
