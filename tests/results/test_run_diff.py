"""`chexlib diff`: in what two runs differ, and how far their predictions lie apart."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from chexlib.cli import main
from chexlib.data.labels import FINDINGS
from chexlib.results.run_diff import diff_runs
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import RunStore
from chexlib.stats import auroc, bootstrap_auroc, paired_difference
from tests.made_runs import write_run

SPEC = RunSpec(arch="resnet18", size=96).resolve("cafe")


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def one_image_a_study(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop_duplicates("study").reset_index(drop=True)


def made(store, change=one_image_a_study, provenance=None, **fields):
    run = write_run(store, replace(SPEC, **fields), change=change)
    if provenance:
        run.write("provenance.json", json.dumps(provenance))
        run.finish()
    return run


def compared(a, b, store):
    found = diff_runs(a.folder, b.folder, store, n_boot=200)
    return found, found.table.set_index("finding")


def test_a_run_does_not_differ_from_itself(store):
    found, table = compared(made(store), made(store), store)
    assert found.differs.empty
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)
    assert (table["distance"] == 0).all() and table["correlation"].to_numpy() == pytest.approx(1)


def test_what_differs_is_named_by_its_kind(store):
    of_a = {"packages": {"torch": "2.14.1", "numpy": "2"}, "processor": {"torch": "AVX512"}, "data": {"images": 10}}
    of_b = {"packages": {"torch": "2.13.0", "numpy": "2"}, "processor": {"torch": "AVX2"}, "data": {"images": 11}}
    a = made(store, provenance=of_a | {"seconds": 1})
    b = made(store, provenance=of_b | {"seconds": 9}, lr=0.01, options={"n": 7}, fingerprint="beef")
    found, _ = compared(a, b, store)
    rows = {row.name: (row.kind, row.a, row.b) for row in found.differs.itertuples(index=False)}
    assert rows == {
        "lr": ("field", "0.0001", "0.01"),
        "options.n": ("field", "-", "7"),
        "fingerprint": ("data", "cafe", "beef"),
        "data.images": ("data", "10", "11"),
        "packages.torch": ("version", "2.14.1", "2.13.0"),
        "processor.torch": ("processor", "AVX512", "AVX2"),
    }


def test_numbers_are_those_of_the_test_studies(store):
    a, b = made(store), made(store, init="imagenet")
    _, table = compared(a, b, store)
    rows = [run.predictions().query("split == 'test'").sort_values("study") for run in (a, b)]
    y = rows[0][["y:Edema"]].to_numpy(float)
    p, q = (of["p:Edema"].to_numpy(float) for of in rows)
    edema = table.loc["Edema"]
    assert edema[["auroc_a", "auroc_b"]].to_list() == pytest.approx([auroc(y[:, 0], p), auroc(y[:, 0], q)])
    assert edema["distance"] == pytest.approx(np.abs(p - q).mean())
    assert edema["correlation"] == pytest.approx(pd.Series(p).corr(pd.Series(q), method="spearman"))
    boot = bootstrap_auroc(y, np.stack([p, q])[..., None], rows[0]["patient"], 200)
    expected = paired_difference(edema["difference"], boot.replicates[:, 0, 0] - boot.replicates[:, 1, 0])
    assert (edema["low"], edema["high"]) == pytest.approx((expected.low, expected.high))


def test_rare_findings_are_not_in_the_mean(store):
    found, table = compared(made(store), made(store, init="imagenet"), store)
    kept = table.drop(index=["Consolidation", "mean"])  # it has 4 positive studies
    for name in ("auroc_a", "difference", "distance"):
        assert table.loc["mean", name] == pytest.approx(kept[name].mean())
    assert any("Consolidation (4)" in note for note in found.notes)


def test_the_spread_of_seeds_is_that_of_runs_that_differ_in_nothing_else(store):
    a, b = made(store), made(store, init="imagenet")
    _, alone = compared(a, b, store)
    assert alone[["seeds_difference", "seeds_distance", "seeds_correlation"]].isna().all(axis=None)
    sibling = made(store, seed=1)
    made(store, seed=2, lr=0.5)  # which differs in more
    _, table = compared(a, b, store)
    _, pair = compared(a, sibling, store)
    assert table["seeds_distance"].to_list() == pytest.approx(pair["distance"].to_list())
    assert table["seeds_correlation"].to_list() == pytest.approx(pair["correlation"].to_list())
    # of two trainings the standard deviation is |difference| / sqrt(2); Student's quantile with one degree is 12.7
    assert table["seeds_difference"].to_list() == pytest.approx((12.706 * pair["difference"].abs()).to_list(), rel=1e-3)


def test_on_partly_the_same_test_images_those_are_compared(store):
    def fewer(table):
        return one_image_a_study(table).drop(index=range(50, 80))

    a, b = made(store), made(store, change=fewer, init="imagenet")
    found, table = compared(a, b, store)
    assert any("160" in note for note in found.notes) and table["distance"].notna().any()
    rows = a.predictions().query("split == 'test'")
    rows = rows[rows["image"].isin(b.predictions()["image"])]
    assert table.loc["Edema", "auroc_a"] == pytest.approx(auroc(rows["y:Edema"], rows["p:Edema"]))


def test_on_other_test_images_each_run_has_its_own_auroc_and_nothing_is_paired(store):
    def elsewhere(table):
        return one_image_a_study(table).assign(image=lambda t: "other/" + t["image"])

    a, b = made(store), made(store, change=elsewhere, init="imagenet")
    found, table = compared(a, b, store)
    assert any("no test image in common" in note for note in found.notes)
    assert table[["distance", "correlation"]].isna().all(axis=None)
    _, paired = compared(a, made(store, init="imagenet"), store)
    assert table.loc["Edema", "difference"] == pytest.approx(paired.loc["Edema", "difference"])


def test_images_of_the_same_names_with_other_labels_are_other_images(store):
    def relabelled(table):
        labels = {f"y:{finding}": 1 - table[f"y:{finding}"] for finding in FINDINGS}
        return one_image_a_study(table.assign(**labels))

    found, table = compared(made(store), made(store, change=relabelled, init="imagenet"), store)
    assert table["distance"].isna().all() and any("names" in note for note in found.notes)


def test_a_finding_whose_labels_differ_is_left_out(store):
    def one_other(table):
        return one_image_a_study(table.assign(**{"y:Edema": 1 - table["y:Edema"]}))

    found, table = compared(made(store), made(store, change=one_other, init="imagenet"), store)
    assert "Edema" not in table.index and len(table) == len(FINDINGS)
    assert any("Edema" in note for note in found.notes)


def test_of_predictions_that_are_kept_back_all_else_is_compared(store):
    def kept_back(table):
        return table[["split", "image", "study", "patient"]]

    found = diff_runs(made(store).folder, made(store, change=kept_back, lr=0.5).folder, store)
    assert list(found.differs["name"]) == ["lr"] and found.table.empty and "terms" in found.text()


def test_the_command_prints_tables_or_one_line(store, capsys):
    a, b = made(store), made(store, init="imagenet")
    given = ["diff", a.run_id, b.run_id, "--runs", str(store.folder), "--draws", "50"]
    assert main(given) == 0
    assert "AUROC a" in capsys.readouterr().out
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differs"][0]["name"] == "init"
    assert main([*given, "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(FINDINGS) + 2
    assert main(["diff", a.run_id, "none", "--runs", str(store.folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
