"""The audit's findings have the known answers, and networks built anew have the counts that everything rests on."""

import pytest

from chexlib.models.zoo import cbr_parameters
from chexlib.paper import audit
from chexlib.paper.as_printed import PAPER_TABLE1, PAPER_TABLE2
from chexlib.paper.claims import counting, recounts
from chexlib.paper.claims.judging import judge_numbers, judge_repeats
from chexlib.paper.claims.own_tables import change, rank_test, rho_allowed
from chexlib.paper.claims.statements.opening import HEADLINE
from chexlib.paper.rounding import Span, mean, span


def test_a_printed_number_stands_for_all_that_round_to_it():
    assert (span("0.859").low, span("0.859").high) == pytest.approx((0.8585, 0.8595))
    assert span("−0.45").low == pytest.approx(-0.455) and span("−0.45").high == pytest.approx(-0.445)
    assert span("2.62e-4").high == pytest.approx(2.625e-4) and span("224,316").low == 224315.5
    assert span("1 to 2") == Span(0.5, 2.5)
    assert span("> 0.006").holds(0.5) and not span("> 0.006").holds(0.005)
    assert span("< 40").holds(-3) and not span("< 40").holds(41)
    assert not span("< 0.00").holds(0.004) and not span("> 0.006").holds(0.0058)  # a bound is no rounded number
    assert not span("< 40").holds(40) and not span("> 0").meets(Span(-1, 0))


def test_rounding_is_carried_through_arithmetic():
    assert not (span("0.863") - span("0.859")).meets(span("0.006"))
    assert (span("0.863") - span("0.859")).meets(span("0.005"))
    ratio = span("10.718") / span("4.025")
    assert ratio.meets(span("2.66")) and not ratio.meets(span("1.9"))
    assert -span("0.1") == span("−0.1")


def test_one_number_cannot_be_printed_in_two_ways_at_a_tie():
    assert judge_repeats({"x": "0.016"}, {"4.3": {"x": "0.015"}}).word == "not consistent"
    assert judge_repeats({"x": "0.08"}, {"4.1": {"x": "0.082"}}).word == "consistent"
    assert judge_repeats({"x": "0.08"}, {"4.1": {"y": "0.5"}}).word == "nothing to check"
    assert judge_numbers({"x": "1"}, []).word == "nothing to check"


def test_the_headline_is_3_25_printed_and_2_96_counted():
    assert mean(span(f"{PAPER_TABLE2.loc[label, 'times_smaller']:.1f}") for label in HEADLINE).meets(span("3.25"))
    ours = [counting.times(label) for label in HEADLINE]
    assert [round(one, 2) for one in ours] == [4.72, 1.49, 1.63, 4.01]
    assert round(sum(ours) / 4, 2) == 2.96
    said = audit.headline().says
    assert "The 3.25 is the mean of 4.7, 2.5, 1.6 and 4.2" in said and "is 2.96" in said


def test_the_numerators_of_the_times_smaller_are_the_known_intervals():
    low, high = counting.numerators("MNASNet").low, counting.numerators("MNASNet").high
    assert (round(low, 4), round(high, 4)) == (5.3001, 5.3048)
    assert not counting.numerators("MNASNet").holds(5.289978) and counting.numerators("MNASNet").holds(5.303992)
    assert counting.numerators("ResNet18").holds(11.689512) and not counting.numerators("ResNet18").holds(11.183694)
    assert counting.numerators("DenseNet121").holds(6.968206) and counting.numerators("EfficientNetB0").holds(4.025482)
    assert "2.5, 11.1, 19.9 and 112.6" in audit.mnasnet_times().says and "3 of 4 off" in audit.mnasnet_times().says
    assert "1.5, 6.6, 11.8 and 66.4" in audit.mnasnet_times().says
    assert audit.resnet18_times().counted.startswith("4.0, 16.3, 70.6")
    assert "NASNet-A-Mobile" in audit.numerators().loc["MNASNet", "What fits"]


def test_every_row_of_table_1_is_counted_with_one_known_head():
    fits = {label: counting.fitting(label) for label in PAPER_TABLE1.index}
    assert all(len(ways) == 1 for ways in fits.values())
    assert fits["InceptionV3"] == ["1,000 classes and the auxiliary head"]
    assert fits["MNASNet"] == ["NASNet-A-Mobile, 1,000 classes"]
    fourteen = {label for label, ways in fits.items() if ways == ["14 findings"]}
    assert fourteen == {label for label in fits if label.startswith(("Dense", "Efficient", "Mobile"))}
    assert audit.mixed_heads().counted.startswith("9 with a 14-finding head, 6 with")
    assert list(audit.heads()["What fits"]) == [ways[0] for ways in fits.values()]


def test_networks_built_anew_have_the_counts_of_the_tables():
    found = audit.networks()
    assert len(found) == 29 and found["as in the package"].all()
    assert found.loc["NASNetAMobile", "1,000 classes"] == 5_289_978
    assert found.loc["MNASNetMinus4", "14 findings"] == 46_966


def test_the_auxiliary_classifier_is_counted_as_it_is_built():
    import timm
    import torch

    with torch.device("meta"):
        network = timm.create_model("inception_v3", aux_logits=True)
    assert (
        sum(weight.numel() for weight in network.parameters())
        == counting.heads("InceptionV3")["1,000 classes and the auxiliary head"]
    )


def test_the_library_that_is_named_for_mnasnet_has_nasnetamobile_and_no_mnasnet():
    import pretrainedmodels

    assert "nasnetamobile" in pretrainedmodels.model_names
    assert not any("mnasnet" in name for name in pretrainedmodels.model_names)


def test_rho_of_table_1_and_what_rounding_allows():
    said = audit.rho_with_size().says
    assert "ρ = 0.597 (p = 0.015)" in said and "0.600 with one head" in said and "rounding allows" in said
    allowed = rho_allowed("", lambda label: counting.printed_millions(label).low).spans
    assert 0.51 < allowed[0].low < 0.53 and 0.65 < allowed[-1].high < 0.67


def test_printed_correlations_are_steps_of_sixteen_ranks_and_a_made_up_one_is_not():
    assert audit.rank_steps().counted.startswith("5 of 5")
    made_up = ({"ρ": "0.791", "p": "2.62e-4"}, {"ρ": "0.7895"}, {"ρ": "0.791", "p": "0.01"})
    words = [judge_numbers(printed, rank_test(printed)).word for printed in made_up]
    assert words == ["consistent", "not consistent", "not consistent"]


def test_a_correlation_of_two_digits_alone_cannot_be_checked():
    assert rank_test({"ρ": "0.08"}) == []
    assert [one.name for one in rank_test({"ρ": "0.08", "p": "0.76"})] == ["p"]
    assert [one.name for one in rank_test({"ρ": "0.7895"})] == ["ρ"]


def test_a_share_of_parameters_is_counted_with_five_outputs_in_both():
    [share] = recounts.share_of({}, "CBR-LargeT", "ResNet50")
    assert share.spans[0].low == pytest.approx(100 * cbr_parameters("CBR-LargeT", 5) / 23_518_277)


def test_a_change_of_table_2_is_worked_out_from_the_text():
    for text, word in (("−0.002", "consistent"), ("0.002", "not consistent")):
        assert judge_numbers({"percent": "0.24"}, change({}, "ResNet18Minus1", text)).word == word


def test_maps_are_as_many_times_wider_as_networks_have_them():
    import torch

    from chexlib.models.networks import on_meta
    from chexlib.models.truncate import truncate

    def width(minus):
        row, _ = counting.row("DenseNet121")
        network = on_meta(row)
        truncate(network, row, minus)
        return network.forward_features(torch.empty(1, 3, 64, 64, device="meta")).shape[-1]

    labels = {f"DenseNet121Minus{minus}": width(minus) / width(0) for minus in (1, 2, 3)}
    assert {one.name: one.spans[0].low for one in recounts.map_widths(labels)} == labels


def test_five_checkpoints_fit_in_three_epochs_and_eighty_one_if_images_are_meant():
    assert "41,890 gradient steps" in audit.checkpoints().says and "gives 5," in audit.checkpoints().says
    assert "there would be 81: a conjecture" in audit.checkpoints().says


def test_where_the_text_disagrees_with_itself():
    assert audit.average_boost().printed == "0.016 and 0.015"
    assert "DenseNet 0.003 (introduction), 0.004 (4.1), 0.003 (4.2)" in audit.family_gaps().says
    assert audit.family_gaps().counted.endswith("DenseNet's is 0.003")
    assert "by Table 1 2.66" in audit.times_larger().says and "10.56" in audit.times_larger().counted
    assert "number 6 by Table 1" in audit.efficiency().says and "number 4 by Table 1" in audit.efficiency().says
    assert "number 3 by Table 1" in audit.third_largest().says and audit.third_largest().counted == "number 4"
    assert "0.011 to 0.014 above MobileNetV2" in audit.mobilenet_gap().says
    assert "the same as the 224,316" in audit.data_set().says


def test_transfusions_rule_gives_its_four_counts():
    names = ("CBR-LargeT", "CBR-LargeW", "CBR-Small", "CBR-Tiny")
    assert [counting.cbr(name) for name in names] == [8_532_480, 8_432_128, 2_108_672, 1_076_480]
    assert "23,518,277" in audit.transfusion_counts().says
    assert "but for Cardiomegaly" in audit.transfusion_cardiomegaly().says


@pytest.mark.parametrize("make", audit.FINDINGS, ids=lambda make: make.__name__)
def test_a_finding_is_a_sober_sentence(make):
    found = make()
    assert found.says.endswith(".") and "  " not in found.says and "nan" not in found.says and "\n" not in found.says
    assert found.where and found.printed and found.counted
    assert not any(word in found.says.lower() for word in ("erred", "mistake", "wrong", "error"))


def test_a_label_that_is_no_architecture_is_refused():
    with pytest.raises(ValueError, match="'ResNet19' is no architecture"):
        counting.count("ResNet19")
    with pytest.raises(ValueError, match="truncated networks are counted with 14"):
        counting.count("ResNet18Minus1", 1000)
