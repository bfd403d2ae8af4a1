"""The ledger is data, checked on load; its criteria read the one verdict; a measurement is what its name says."""

import json
from dataclasses import astuple, replace

import numpy as np
import pytest
import yaml
from typer import Typer
from typer.testing import CliRunner

from chexlib.errors import UserError
from chexlib.models.zoo import ARCHITECTURES
from chexlib.results import Estimate, open_results
from chexlib.stats import draw_families, rank_correlations, smallest_difference, spearman
from chexpaper import claims, commands
from chexpaper.claims.ledger import (
    DRAWS_A_TEST,
    INCONSISTENT,
    MEASUREMENTS,
    NOT_REPRODUCED,
    NOT_RUN,
    ON_PHANTOMS,
    OPEN,
    REPRODUCED,
    UNTESTABLE,
)
from chexpaper.claims.measurements import ENDS, FAMILIES, Measured
from chexpaper.claims.printed import table1, table2
from tests.made_runs import make_store

PAPER = {name: row for name, row in ARCHITECTURES.items() if row.in_paper}
LABELS = [row.paper_name for row in PAPER.values()]
ROWS = {row.id: row for row in claims.load()}
ENTRY = {"id": "a", "place": "1", "statement": "x", "measurement": "boosts ResNet50", "criterion": "higher"}


def opened(folder, runs, dataset="phantom"):
    """Results of a made-up study of these runs, through the real door."""
    folder.mkdir(exist_ok=True)
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump({"common": {"dataset": dataset, "size": 96}, "runs": runs}))
    make_store(folder / "runs", path)
    return open_results(path, folder / "runs", replicates=60)


@pytest.fixture(scope="module")
def sixteen(tmp_path_factory):
    """The paper's sixteen from both inits, one of them twice, and two truncations."""
    runs = [
        {"arch": list(PAPER), "init": ["random", "imagenet"]},
        {"arch": "resnet18", "init": "random", "seed": 1},
        {"arch": ["densenet121", "resnet18"], "minus": 1, "init": "imagenet"},
    ]
    return opened(tmp_path_factory.mktemp("sixteen"), runs)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Six of them from random weights, one from both inits."""
    random = ["densenet121", "densenet201", "resnet18", "resnet101", "mobilenet_v2", "efficientnet_b0"]
    runs = [{"arch": random, "init": "random"}, {"arch": "resnet18", "init": "imagenet"}]
    return opened(tmp_path_factory.mktemp("few"), runs)


def measure(results, call):
    name, *words = call.split()
    return MEASUREMENTS[name](results, *words)


def found(low, high, margin=0.01, n=1, of=1):
    return Measured("x", Estimate((low + high) / 2, low, high, margin=margin, signed=True), n=n, of=of)


def row(**fields):
    return claims.Statement(**(ENTRY | fields))


def load(tmp_path, *entries):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(list(entries), allow_unicode=True), encoding="utf-8")
    return claims.load(path)


# The data


def test_every_number_of_the_tables_is_a_statement_as_printed():
    for label, printed in table1().iterrows():
        names = {"AUC": "auc", "low": "low", "high": "high"}
        assert ROWS[f"t1-auc-{label.lower()}"].printed == {k: f"{printed[c]:.3f}" for k, c in names.items()}
        assert ROWS[f"t1-size-{label.lower()}"].printed == {"parameters (M)": f"{printed['parameters']:.3f}"}
    cut = table2()[table2().index.str.contains("Minus")]
    for label, printed in cut.iterrows():
        change = f"{printed['change']:.2f}".replace("-", "−")
        assert ROWS[f"t2-auc-{label.lower()}"].printed == {"percent": change}
        star = "significant drop" if printed["significant"] else "not significant"
        assert ROWS[f"t2-auc-{label.lower()}"].criterion == star
        assert ROWS[f"t2-times-{label.lower()}"].printed == {"times": f"{printed['times']:.1f}"}


def test_rows_of_one_measurement_agree_on_what_counts_as_none():
    margins = {}
    for one in ROWS.values():
        margins.setdefault(one.measurement, set()).add(one.margin)
    assert all(len(some) == 1 for some in margins.values())
    assert margins["correlation top1 random"] == {0.3}  # no relationship takes an interval inside it
    assert margins["boost_correlation"] == {0} and margins["mean_boost"] == {None}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"critrion": "higher"}, "unknown field 'critrion'"),
        ({"criterion": "up"}, "criterion 'up' is none of higher"),
        ({"measurement": "bosts ResNet50"}, "measurement 'bosts' is none of level"),
        ({"measurement": "difference ResNet50"}, "missing a required argument"),
        ({"measurement": ""}, "a measurement, or criterion 'not testable here' with a reason"),
        ({"criterion": UNTESTABLE}, "a measurement, or criterion 'not testable here' with a reason"),
        ({"printed": {"AUC": 0.86}}, "AUC has to stand in quotes"),
        ({"own": {"AUC": "auc('ResNet50')"}}, "a check is of 'AUC', which is not printed"),
        ({"printed": {"AUC": "0.86"}, "own": {"AUC": "ua('ResNet50')"}}, "cannot be computed (KeyError: 'ua')"),
        ({"printed": {"AUC": "0.86"}, "own": {"AUC": "__import__('os').name"}}, "cannot be computed"),
        ({"criterion": "near", "statistic": "AUC"}, "needs the number 'AUC' to be printed"),
    ],
)
def test_an_entry_that_is_not_right_is_refused_by_file_and_id(tmp_path, change, says):
    with pytest.raises(UserError) as refused:
        load(tmp_path, ENTRY | change)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'claims.yaml'}: a: ") and says in message and "\n" not in message


def test_a_doubled_id_and_a_lacking_field_are_refused(tmp_path):
    with pytest.raises(UserError, match="a: two statements have this id"):
        load(tmp_path, ENTRY, ENTRY)
    with pytest.raises(UserError, match="entry 2: no id"):
        load(tmp_path, ENTRY, {name: text for name, text in ENTRY.items() if name != "id"})


# Criteria


@pytest.mark.parametrize(
    ("criterion", "low", "high", "word"),
    [
        ("higher", 0.001, 0.03, REPRODUCED),
        ("higher", 0.001, 0.008, NOT_REPRODUCED),  # the verdict is the same
        ("higher", -0.004, 0.005, NOT_REPRODUCED),
        ("higher", -0.03, -0.001, NOT_REPRODUCED),
        ("higher", -0.004, 0.02, OPEN),
        ("lower", -0.03, -0.001, REPRODUCED),
        ("lower", 0.001, 0.03, NOT_REPRODUCED),
        ("lower", -0.02, 0.004, OPEN),
        ("same", -0.004, 0.005, REPRODUCED),
        ("same", 0.001, 0.02, NOT_REPRODUCED),
        ("same", -0.02, 0.02, OPEN),
        ("small", -0.009, 0.009, REPRODUCED),
        ("small", 0.001, 0.02, OPEN),
        ("small", 0.011, 0.02, NOT_REPRODUCED),
        ("significant drop", -0.008, -0.001, REPRODUCED),
        ("significant drop", -0.008, 0.001, NOT_REPRODUCED),
        ("significant drop", -0.02, 0.001, OPEN),
        ("no significant drop", 0.02, 0.05, REPRODUCED),
        ("no significant gain", -0.05, -0.02, REPRODUCED),
        ("no significant gain", 0.001, 0.002, NOT_REPRODUCED),
        ("not significant", 0.001, 0.002, NOT_REPRODUCED),
        ("not significant", -0.03, -0.001, NOT_REPRODUCED),
        ("not significant", -0.03, 0.001, REPRODUCED),
        ("no gain", -0.05, -0.02, REPRODUCED),
        ("no gain", -0.01, 0.02, OPEN),
        ("no gain", 0.001, 0.02, NOT_REPRODUCED),
        ("more than", 0.007, 0.02, REPRODUCED),
        ("more than", 0.001, 0.02, OPEN),
        ("more than", 0.001, 0.005, NOT_REPRODUCED),
        ("near", 0.001, 0.011, REPRODUCED),
        ("near", -0.02, 0.02, OPEN),
        ("near", 0.017, 0.03, NOT_REPRODUCED),
    ],
)
def test_a_criterion_asks_where_the_whole_interval_lies(criterion, low, high, word):
    asked = row(criterion=criterion, statistic="difference", printed={"difference": "> 0.006"})
    assert claims.judge(asked, [found(low, high)])[0] == word


@pytest.mark.parametrize(
    ("low", "high", "significance", "equivalence", "counted"),
    [
        (-0.004, 0.005, REPRODUCED, REPRODUCED, REPRODUCED),
        (-0.02, 0.02, REPRODUCED, OPEN, OPEN),  # a test that finds nothing is no finding
        (-0.008, -0.001, NOT_REPRODUCED, REPRODUCED, NOT_REPRODUCED),  # it drops, by less than matters
        (-0.03, -0.001, NOT_REPRODUCED, NOT_REPRODUCED, NOT_REPRODUCED),
        (0.02, 0.03, REPRODUCED, NOT_REPRODUCED, REPRODUCED),  # it gains
    ],
)
def test_no_significant_drop_is_one_verdict_and_being_the_same_another(
    sixteen, monkeypatch, low, high, significance, equivalence, counted
):
    monkeypatch.setitem(MEASUREMENTS, "boosts", lambda results, *labels: [found(low, high)])
    judged = claims.ledger(sixteen, [row(criterion="no significant drop"), row(id="b", criterion="same")])
    assert (judged[0].verdict, judged[0].equivalence) == (ON_PHANTOMS[significance], ON_PHANTOMS.get(equivalence, OPEN))
    assert judged[1].verdict == judged[0].equivalence and judged[1].equivalence == ""
    assert claims.measurements(judged[:1])["verdict"].tolist() == [ON_PHANTOMS.get(counted, OPEN)]


@pytest.mark.parametrize("low", [np.nan, -0.01])
def test_an_interval_without_an_end_is_not_called_insignificant(low):
    for criterion in ("no significant drop", "no significant gain", "not significant"):
        assert claims.judge(row(criterion=criterion), [found(low, np.nan)])[0] == OPEN


@pytest.mark.parametrize("criterion", ["same", "small", "no gain"])
def test_absence_is_never_reproduced_by_a_wide_interval(criterion):
    for width in (0.011, 0.03, 0.3):
        assert claims.judge(row(criterion=criterion), [found(-width, width)])[0] == OPEN


def test_several_have_to_agree_and_what_is_missing_is_not_run():
    up, down, open_ = found(0.01, 0.02), found(-0.02, -0.01), found(-0.1, 0.1)
    assert claims.judge(row(), [up, up])[0] == REPRODUCED
    assert claims.judge(row(), [up, open_])[0] == OPEN
    assert claims.judge(row(), [up, open_, down])[0] == NOT_REPRODUCED
    assert claims.judge(row(), [up, Measured("x", Estimate(missing="no such run"))]) == (NOT_RUN, "no such run")
    assert claims.judge(row(), []) == (NOT_RUN, "no study was asked")
    rare = Measured("x", Estimate(0.5, 0.4, 0.6, few="too few positive studies"))
    for criterion in set(claims.CRITERIA) - {UNTESTABLE}:  # also those that look at the interval itself
        assert claims.judge(row(criterion=criterion), [up, rare]) == (OPEN, "too few positive studies")
    assert claims.judge(row(criterion=UNTESTABLE, reason="a picture"), []) == (UNTESTABLE, "a picture")


def test_some_of_the_architectures_settle_nothing_about_all():
    for low, high in ((0.01, 0.02), (-0.02, -0.01)):
        assert claims.judge(row(), [found(low, high, n=5, of=16)])[0] == OPEN
        assert claims.judge(row(), [found(low, high, n=16, of=16)])[0] != OPEN


@pytest.mark.parametrize(
    ("gain", "open_", "no", "word"),
    [(9, 0, 7, REPRODUCED), (9, 7, 0, REPRODUCED), (8, 8, 0, OPEN), (8, 0, 8, NOT_REPRODUCED), (7, 2, 7, OPEN),
     (9, 0, 0, REPRODUCED), (5, 0, 0, OPEN), (0, 8, 8, NOT_REPRODUCED)],
)  # fmt: skip
def test_most_is_more_than_half_of_the_sixteen(gain, open_, no, word):
    ends = [(0.01, 0.02)] * gain + [(-0.02, 0.02)] * open_ + [(-0.02, -0.01)] * no
    several = [found(*end, n=len(ends), of=16) for end in ends]
    assert claims.judge(row(criterion="most higher"), several)[0] == word


# Measurements


def middle(results, values):
    """The interval of replicates, as an Estimate has it."""
    return pytest.approx(tuple(np.nanpercentile(values, [2.5, 97.5])))


@pytest.mark.parametrize(
    ("call", "by_hand"),
    [
        ("difference ResNet101 ResNet18 random", lambda a: a["ResNet101 · random"] - a["ResNet18 · random"]),
        ("boosts MNASNet", lambda a: a["MNASNet · imagenet"] - a["MNASNet · random"]),
        ("truncations ResNet18Minus1", lambda a: a["ResNet18Minus1 · imagenet"] - a["ResNet18 · imagenet"]),
        (
            "boost_gap DenseNet201 DenseNet121",
            lambda a: (
                (a["DenseNet201 · imagenet"] - a["DenseNet201 · random"])
                - (a["DenseNet121 · imagenet"] - a["DenseNet121 · random"])
            ),
        ),
        (
            "mean_boost",
            lambda a: sum(a[f"{label} · imagenet"] - a[f"{label} · random"] for label in LABELS) / 16,
        ),
        (
            "families Inception MNASNet random",
            lambda a: (a["InceptionV3 · random"] + a["InceptionV4 · random"]) / 2 - a["MNASNet · random"],
        ),
    ],
)
def test_a_measurement_is_what_a_hand_computes(sixteen, call, by_hand):
    [one] = measure(sixteen, call)
    assert one.estimate.value == pytest.approx(by_hand(sixteen.models["auc"]))
    assert (one.estimate.low, one.estimate.high) == middle(sixteen, by_hand(sixteen.replicates))
    assert one.estimate.over == "patients and seeds"
    assert set(one.networks) <= set(sixteen.models.index) and one.n == one.of


def test_several_measurements_come_one_a_network(sixteen):
    assert [one.what for one in measure(sixteen, "boosts ResNet50 MNASNet")] == [
        "boost of ResNet50",
        "boost of MNASNet",
    ]
    assert len(measure(sixteen, "all_boosts")) == 16 and len(measure(sixteen, "boost_gaps")) == 3
    plain, against = measure(sixteen, "ends random"), measure(sixteen, "ends_against_imagenet random")
    for (a, b), one, other in zip(ENDS, plain, against, strict=True):
        lead = {row.paper_name: row.top1 for row in PAPER.values()}
        assert one.estimate.value - other.estimate.value == pytest.approx((lead[a] - lead[b]) / 100)


@pytest.mark.parametrize(("label", "end", "sign"), [("InceptionV3", "best", 1), ("MobileNetV2", "worst", -1)])
def test_a_best_is_judged_against_each_rival(sixteen, label, end, sign):
    def ahead(auc):
        return sign * np.stack(
            [auc[f"{label} · random"] - auc[f"{one} · random"] for one in LABELS if one != label], -1
        )

    [one] = measure(sixteen, f"lead {label} random {end}")
    expected = astuple(smallest_difference(ahead(sixteen.models["auc"]), ahead(sixteen.replicates)))
    assert (one.estimate.value, one.estimate.low, one.estimate.high, one.p) == pytest.approx(expected)
    assert one.estimate.over == "patients and seeds" and one.n == one.of == 16
    assert one.estimate.margin == 0  # a best that is tied is never "the same", which would speak against it


def test_a_rank_correlation_draws_families_too(sixteen):
    models = sixteen.models.query("init == 'random' and minus == 0")
    [one] = measure(sixteen, "correlation parameters random")
    assert one.estimate.value == pytest.approx(spearman(models["parameters"], models["auc"]).rho)
    assert one.estimate.over == "families, patients and seeds" and (one.n, one.of) == (16, 16)
    draws = sixteen.replicates[models.index].to_numpy()
    times = draw_families(models["family"], len(draws), sixteen.seed)
    again = rank_correlations(models["parameters"], draws, times)
    assert (one.estimate.low, one.estimate.high) == middle(sixteen, again)
    both = measure(sixteen, "correlation top1 random imagenet")
    [gap] = measure(sixteen, "correlation_gap top1")
    assert gap.estimate.value == pytest.approx(both[0].estimate.value - both[1].estimate.value)


def test_two_families_have_no_correlation_and_one_no_gap(tmp_path_factory):
    two = [{"arch": ["resnet18", "resnet34", "resnet50", "densenet121", "densenet169"], "init": "random"}]
    two, one = (opened(tmp_path_factory.mktemp("families"), runs) for runs in (two, [two[0] | {"arch": ["resnet18"]}]))
    for call in ("correlation parameters random", "size_within_families random"):
        [found] = measure(two, call)
        assert not found.estimate and "families" in found.estimate.missing
    assert measure(two, "family_against_size random")[0].estimate
    assert not measure(one, "family_against_size random")[0].estimate


def test_networks_of_one_seed_are_judged_with_the_seed_spread_of_the_others(sixteen):
    """ResNet18 alone was trained twice; what its seeds differ by widens the interval of two that were trained once."""
    a, b = "InceptionV3 · random", "MobileNetV2 · random"
    assert sixteen.models["seeds"][[a, b]].to_list() == [1, 1] and sixteen.models["seeds"].max() == 2
    shifts = sixteen.replicates - sixteen.patient_replicates
    tasks = [sixteen.all_tasks.index(task) for task in sixteen.tasks]
    spread = sixteen.spreads[a]
    assert shifts[a].abs().max() == pytest.approx(spread.widening * spread.sd(tasks), rel=1e-6)
    assert shifts[a].corr(shifts[b]) == pytest.approx(0, abs=0.4)  # each network draws its own
    [one] = measure(sixteen, "difference InceptionV3 MobileNetV2 random")
    assert (one.estimate.low, one.estimate.high) == middle(sixteen, sixteen.replicates[a] - sixteen.replicates[b])
    patients = sixteen.patient_replicates[a] - sixteen.patient_replicates[b]
    assert one.estimate.high - one.estimate.low > np.ptp(np.percentile(patients, [2.5, 97.5]))


def test_families_at_equal_size_are_the_coefficient_of_a_fit(sixteen):
    models = sixteen.models.query("init == 'random' and minus == 0")
    models = models[models["family"].isin(["ResNet", "MobileNet"])]
    design = [models["family"] == "ResNet", np.log(models["parameters"]), np.ones(len(models))]
    coefficient = np.linalg.lstsq(np.column_stack(design).astype(float), models["auc"], rcond=None)[0][0]
    [one] = measure(sixteen, "families_at_size ResNet MobileNet random")
    assert one.estimate.value == pytest.approx(coefficient) and (one.n, one.of) == (6, 6)


def test_family_against_size_and_the_relation_within_families(sixteen):
    models = sixteen.models.query("init == 'random' and minus == 0").sort_values("parameters")
    groups = {name: its for name, its in models.groupby("family") if len(its) > 1}

    def contrast(auc):  # (K,) or (R, K)
        means = [auc[its.index].mean(axis=auc.ndim - 1) for its in groups.values()]
        between = np.mean([(a - b) ** 2 for k, a in enumerate(means) for b in means[k + 1 :]], axis=0)
        return between - np.mean([(auc[i.index[-1]] - auc[i.index[0]]) ** 2 for i in groups.values()], axis=0)

    at_hand, again = 1e4 * contrast(models["auc"]), 1e4 * contrast(sixteen.replicates)
    [one] = measure(sixteen, "family_against_size random")
    noise = again.mean() - at_hand
    assert one.estimate.value == pytest.approx(at_hand - noise) and (one.n, one.of) == (15, 15)
    assert (one.estimate.low, one.estimate.high) == middle(sixteen, again - 2 * noise)
    rhos = [spearman(its["parameters"], its["auc"]).rho for its in groups.values() if len(its) > 2]
    [one] = measure(sixteen, "size_within_families random")
    expected = spearman(models["parameters"], models["auc"]).rho - np.mean(rhos)
    assert one.estimate.value == pytest.approx(expected) and len(rhos) == 3
    assert one.estimate.over == "families, patients and seeds"


def test_what_a_study_lacks_is_said_and_not_judged(few):
    judged = {one.statement.id: one for one in claims.ledger(few)}
    for id in ("abs-boost", "fig4-most", "4.1-best", "4.2-weaker", "2.2-searched", "4.4-resnet18", "t1-auc-resnet18"):
        assert judged[id].verdict == NOT_RUN and judged[id].reason, id
    assert "MNASNet · random" in judged["2.2-searched"].reason
    assert judged["1-resnet"].verdict != NOT_RUN and judged["1-resnet"].reason == ""
    partial = judged["4.2-rho-random"]
    assert partial.verdict == OPEN and (partial.measured[0].n, partial.measured[0].of) == (6, 16)
    [gap] = judged["abs-families"].measured
    assert (gap.n, gap.of) == (4, 15) and FAMILIES.count("MNASNet") == 1


# The ledger


def test_a_measurement_that_statements_share_is_made_once_and_counted_once(sixteen, tmp_path, monkeypatch):
    calls = []
    real = MEASUREMENTS["boosts"]
    monkeypatch.setitem(MEASUREMENTS, "boosts", lambda results, *labels: calls.append(labels) or real(results, *labels))
    rows = load(tmp_path, ENTRY, ENTRY | {"id": "b"}, ENTRY | {"id": "c", "criterion": "small"},
                ENTRY | {"id": "d", "measurement": "boosts MNASNet"})  # fmt: skip
    judged = claims.ledger(replace(sixteen, n_boot=2 * DRAWS_A_TEST), rows)
    assert calls == [("ResNet50",), ("MNASNet",)]
    counts = claims.tally(judged)
    assert sum(counts["statements"].values()) == 4 and sum(counts["measurements"].values()) == 2
    assert judged[0].verdict == judged[1].verdict and judged[0].measured[0] is judged[1].measured[0]


def test_every_statement_gets_its_verdicts_and_the_runs_behind_them(sixteen):
    judged = claims.ledger(sixteen)
    records = {one["id"]: one for one in claims.records(judged)}
    assert list(records) == list(ROWS) == list(claims.frame(judged).index)
    one = records["1-resnet"]
    value = sixteen.models["auc"]["ResNet101 · random"] - sixteen.models["auc"]["ResNet18 · random"]
    assert one["measured"][0]["value"] == pytest.approx(value) and one["measured"][0]["over"] == "patients and seeds"
    assert len(one["runs"]) == 3 and set(one["runs"]) <= set(sixteen.runs["run_id"])
    assert json.loads(json.dumps(one))["printed"] == {"difference": "0.005"}
    assert records["3.1-epochs"]["verdict"] == UNTESTABLE
    wide = claims.ledger(replace(sixteen, margin=0.9))
    assert {one.statement.id: one.verdict for one in wide}["1-resnet"] == ON_PHANTOMS[REPRODUCED]
    margins = {one.statement.id: one.measured[0].estimate.margin for one in wide if one.measured}
    assert margins["1-resnet"] == 0.9 and margins["4.1-rho-random"] == 0.3


def test_phantoms_reproduce_nothing_and_patients_do(sixteen, tmp_path):
    words = {}
    for dataset in ("phantom", "nih"):
        results = opened(
            tmp_path / dataset, [{"arch": ["resnet18", "resnet50"], "init": ["random", "imagenet"]}], dataset
        )
        rows = [row(id=name, measurement="boosts ResNet18 ResNet50", criterion=name) for name in ("higher", "lower")]
        judged = claims.ledger(results, rows)
        words[dataset] = [one.verdict for one in judged]
        assert set(claims.tally(judged)["measurements"]) == {words[dataset][1]}
        assert claims.records(judged)[0]["verdict"] in claims.text(judged)
    assert words["nih"] == [REPRODUCED, NOT_REPRODUCED]
    assert words["phantom"] == ["holds on phantoms", "does not hold on phantoms"]
    judged = claims.ledger(sixteen)
    assert not {one.verdict for one in judged} & {REPRODUCED, NOT_REPRODUCED}
    assert not {one.equivalence for one in judged} & {REPRODUCED, NOT_REPRODUCED}


def test_holms_method_adjusts_each_measured_number_once(sixteen, monkeypatch):
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": np.nan}  # adjusted by hand: 0.03, 0.06, 0.06, 0.02
    made = {what: Measured(what, Estimate(0.02, 0.01, 0.03, signed=True), n=1, of=1, p=one) for what, one in p.items()}
    monkeypatch.setitem(MEASUREMENTS, "boosts", lambda results, *labels: [made[label] for label in labels])
    asked = ["boosts a b", "boosts b c", "boosts c d e", "boosts d"]  # numbers that measurements share
    judged = claims.ledger(sixteen, [row(id=one, measurement=one) for one in asked])
    table = claims.measurements(judged)
    assert table["holm"][list("abcd")].tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(table["holm"]["e"]) and table["statements"][list("abcde")].tolist() == [1, 2, 2, 2, 1]
    assert claims.tally(judged)["holm"] == {"tests": 4, "with p < 0.05": 4, "still so by Holm": 2}
    [_, first, *_] = claims.records(judged)
    assert [one["holm"] for one in first["measured"]] == pytest.approx([0.06, 0.06])


def test_p_values_are_fine_enough_for_holms_method(sixteen):
    judged = claims.ledger(sixteen)  # 60 replicates: no p is below 0.03
    table = claims.measurements(judged)
    tests = table["p"].count()
    assert sixteen.n_boot == 60 and tests > 30 and table["p"].min() < 2 / 61
    steps = table.loc["boost of ResNet50", "p"] * (DRAWS_A_TEST * tests + 1) / 2  # of the least p that can be
    assert steps == pytest.approx(round(steps), abs=1e-6)
    [one] = [one for one in judged if one.statement.id == "1-resnet"]
    assert (one.measured[0].estimate.low, one.measured[0].estimate.high) == middle(
        sixteen, sixteen.replicates["ResNet101 · random"] - sixteen.replicates["ResNet18 · random"]
    )


# What the numbers of the papers say of one another


def test_numbers_are_held_against_one_another_as_the_counts_show():
    judged = {one.statement.id: one for one in claims.ledger()}
    apart = {id for id, one in judged.items() if one.own.verdict == INCONSISTENT}
    assert {"1-boost", "4.3-boost", "1-densenet", "4.1-densenet-random", "3.1-checkpoints", "4.2-times-efficientnet",
            "3.2-efficiency", "tf-t1-predict"} <= apart  # fmt: skip
    counted = {id for id, one in judged.items() if one.count.verdict == INCONSISTENT}
    assert {"abs-times", "t1-size-mnasnet", "t2-times-resnet18minus1", "4.1-third", "4.2-times-resnet101"} <= counted
    assert judged["2.1-boost-4"].own.verdict == "consistent"
    assert judged["abs-times"].count.allowed == "times 2.963"
    assert judged["3.2-dense-blocks"].count.allowed == "dense blocks 3"
    assert {one.verdict for one in judged.values()} == {NOT_RUN, UNTESTABLE}


def test_a_number_that_is_printed_twice_has_to_be_one_number(tmp_path):
    first = ENTRY | {"statistic": "difference", "printed": {"difference": "0.015"}}
    words = []
    for text in ("0.016", "0.0152", "0.02"):  # 0.0155 alone rounds to both 0.015 and 0.016
        judged = claims.ledger(None, load(tmp_path, first, first | {"id": "b", "printed": {"difference": text}}))
        words.append(judged[0].own.verdict)
    assert words == ["not consistent", "consistent", "consistent"]


def test_the_command_prints_a_table_or_json_and_refuses_runs_without_a_study(few):
    app = Typer()
    commands.register(app)
    said = CliRunner().invoke(app, ["claims"])
    assert said.exit_code == 0 and len(said.output.splitlines()) == 1 + len(ROWS) + 6
    told = json.loads(CliRunner().invoke(app, ["claims", "--json"]).output)
    assert set(told) == {"statements", "counts"} and len(told["statements"]) == len(ROWS)
    assert {"id", "place", "statement", "printed", "measured", "verdict", "criterion"} <= set(told["statements"][0])
    assert isinstance(CliRunner().invoke(app, ["claims", "--runs", "x"]).exception, UserError)


def test_the_statements_of_one_paper_can_be_asked_for(tmp_path):
    app = Typer()
    commands.register(app)
    its = json.loads(CliRunner().invoke(app, ["claims", "--json", "--paper", "Transfusion"]).output)["statements"]
    assert [one["id"] for one in its] == [one.id for one in ROWS.values() if one.paper == "Transfusion"]
    with pytest.raises(UserError, match="'Transfuse' has no statements"):
        claims.load(paper="Transfuse")
