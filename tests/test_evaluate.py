"""`chexlib evaluate`: files as they come, refused where they do not fit, scored as scikit-learn scores them."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from chexlib.cli import main
from chexlib.evaluate import evaluate
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import by_study
from chexlib.stats import bootstrap_auprc, bootstrap_auroc

CHEXPERT = Path(__file__).parents[2] / "shared" / "data" / "chexpert_test"
needs_chexpert = pytest.mark.skipif(not CHEXPERT.is_dir(), reason=f"the CheXpert test labels are not in {CHEXPERT}")

N = 60
STUDIES = [f"CheXpert-v1.0/test/patient{64741 + i // 2}/study{1 + i % 2}" for i in range(N)]  # two of each patient
RNG = np.random.default_rng(0)
LABELS = pd.DataFrame(
    {"Study": STUDIES, "Edema": RNG.permutation(N) % 3 == 0, "Atelectasis": RNG.permutation(N) % 2}
).astype({"Edema": int})
SCORES = pd.DataFrame({"Study": STUDIES} | {task: LABELS[task] + RNG.normal(size=N) for task in LABELS.columns[1:]})

WHOSE = ("patient", "Patient ID")  # columns of patients, whatever their capitals


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The labels and two models' scores, in files; the second has other rows first, and scores far above 1."""
    monkeypatch.chdir(tmp_path)
    LABELS.to_csv("truth.csv", index=False)
    SCORES.to_csv("a.csv", index=False)
    other = SCORES[["Study", "Atelectasis", "Edema"]].assign(Edema=10 * SCORES["Edema"] ** 3)
    other.sample(frac=1, random_state=0).to_csv("b.csv", index=False)
    return tmp_path


def changed(name: str, change) -> str:
    """A copy of a.csv that was changed."""
    change(pd.read_csv("a.csv", dtype=object)).to_csv(name, index=False)
    return name


def said(capsys, *arguments: str) -> str:
    """What the command says of bad input: one line, and exit code 2."""
    assert main(["evaluate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "Traceback" not in err
    return err


def test_areas_are_scikit_learns_whatever_the_order_of_rows_columns_and_the_scale(folder):
    found = evaluate(["a.csv", "b.csv"], "truth.csv")
    table = found.table.set_index(["model", "task"])
    for name, sklearns in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        areas = [sklearns(LABELS[task], SCORES[task]) for task in ("Edema", "Atelectasis")]
        for model in ("a", "b"):
            expected = pytest.approx([*areas, np.mean(areas)], abs=1e-12)
            assert table.loc[model].loc[["Edema", "Atelectasis", "mean"], name].tolist() == expected


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_where_a_class_is_rare_intervals_are_bca_and_elsewhere_those_asked_for(folder, interval):
    rare = LABELS.assign(Edema=(LABELS.index % 6 == 0).astype(int))  # 10 positives; Atelectasis has 30 of each
    rare.to_csv("rare.csv", index=False)
    found = evaluate(["a.csv", "b.csv"], "rare.csv", n_boot=200, interval=interval)
    assert ["Edema (10)" in note for note in found.notes] == [True]
    y = rare[["Edema", "Atelectasis"]].to_numpy(float)
    other = SCORES.assign(Edema=10 * SCORES["Edema"] ** 3)
    scores = np.stack([one[["Edema", "Atelectasis"]] for one in (SCORES, other)])
    patients = [name[:-7] for name in STUDIES]
    for prefix, boot in (("", bootstrap_auroc), ("auprc_", bootstrap_auprc)):
        areas = boot(y, scores, patients, 200, bca=True)
        for task, ends in (
            ("Edema", [end[:, 0] for end in areas.interval(method="bca")]),
            ("Atelectasis", [end[:, 1] for end in areas.interval(method=interval)]),
            ("mean", areas.mean_interval(method=interval)),
        ):
            rows = found.table[found.table["task"] == task]
            np.testing.assert_allclose(rows[[f"{prefix}low", f"{prefix}high"]].to_numpy().T, ends)
    pair = bootstrap_auroc(y, scores, patients, 200, bca=True).differences(method=interval)
    assert (found.pairs["low"][0], found.pairs["high"][0]) == pytest.approx((pair.low[0, 1], pair.high[0, 1]))


def test_a_model_ties_with_what_ranks_as_it_does(folder):
    [pair] = evaluate(["a.csv", "b.csv"], "truth.csv").pairs.to_dict("records")
    assert (pair["difference"], pair["low"], pair["high"], pair["p"]) == (0, 0, 0, 1)


def test_patients_are_drawn_where_names_or_a_column_tell_them(folder):
    found = evaluate(["a.csv"], "truth.csv")
    assert (found.n, found.patients) == (N, N // 2)
    names = [f"s{i}" for i in range(N)]
    scores = changed("numbers.csv", lambda t: t.assign(Study=names))
    for columns, patients in (({}, N), *(({name: [f"p{i // 3}" for i in range(N)]}, N // 3) for name in WHOSE)):
        LABELS.assign(Study=names, **columns).to_csv("numbered.csv", index=False)
        found = evaluate([scores], "numbered.csv")
        assert found.patients == patients and set(found.tasks) == {"Edema", "Atelectasis"}


def test_images_score_their_studys_maximum(folder):
    images = pd.concat([SCORES.assign(view="view1_frontal.jpg"), SCORES.assign(view="view2_lateral.jpg")])
    images.iloc[N:, 1:3] -= 5.0  # the second views score lower, so they change nothing
    images["Path"] = images["Study"] + "/" + images["view"]
    images.drop(columns=["Study", "view"]).to_csv("images.csv", index=False)
    one, other = (evaluate([name], "truth.csv").table["auroc"] for name in ("a.csv", "images.csv"))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "prefix", ["", "test/", "CheXpert-v1.0-small/test/", "/data/mine/valid/", ".\\CheXpert\\test\\"]
)
@pytest.mark.parametrize("view", ["", "/view1_frontal.jpg"])
def test_studies_are_matched_whatever_folders_stand_before_them(folder, prefix, view):
    def name(study):
        return (prefix + study.removeprefix("CheXpert-v1.0/test/") + view).replace("/", prefix[-1:] or "/")

    found = evaluate([changed("other.csv", lambda t: t.assign(Study=t["Study"].map(name)))], "truth.csv")
    np.testing.assert_array_equal(found.table["auroc"], evaluate(["a.csv"], "truth.csv").table["auroc"])
    assert found.patients == N // 2


def test_images_are_matched_where_one_name_ends_in_the_other_and_nowhere_else(folder, capsys):
    names = [f"{k:08d}_000.png" for k in range(N)]
    LABELS.assign(Study=names).to_csv("bare.csv", index=False)
    LABELS.assign(Study=[f"images/{name}" for name in names]).to_csv("below.csv", index=False)
    scores = changed("deep.csv", lambda t: t.assign(Study=[f"nih/images/{name}" for name in names]))
    for truth in ("bare.csv", "below.csv"):
        areas = evaluate([scores], truth).table["auroc"]
        np.testing.assert_array_equal(areas, evaluate(["a.csv"], "truth.csv").table["auroc"])
    LABELS.assign(Study=[f"other/{name}" for name in names]).to_csv("others.csv", index=False)
    assert "no row is of others.csv" in said(capsys, scores, "--truth", "others.csv")
    twice = changed("twice.csv", lambda t: pd.concat([t, t]).assign(Study=[f"{a}/{n}" for a in "ab" for n in names]))
    assert "no row is of bare.csv" in said(capsys, twice, "--truth", "bare.csv")


def test_labels_of_images_are_their_studies_where_scores_are_of_studies(folder, capsys):
    images = pd.concat([LABELS.assign(view=view) for view in ("view1_frontal.jpg", "view2_lateral.jpg")])
    images = images.assign(Path=images["Study"].str[19:] + "/" + images["view"]).drop(columns=["Study", "view"])
    images.to_csv("images.csv", index=False)
    both = changed("both.csv", lambda t: t.assign(Study=t["Study"] + "/view1_frontal.jpg"))
    found = evaluate(["a.csv", both], "images.csv")
    assert (found.n, found.patients, set(found.pairs["difference"])) == (N, N // 2, {0})
    np.testing.assert_array_equal(found.table["auroc"][:3], evaluate(["a.csv"], "truth.csv").table["auroc"])
    images.iloc[0, 0] = 1 - images.iloc[0, 0]
    images.to_csv("images.csv", index=False)
    assert "have different labels" in said(capsys, "a.csv", "--truth", "images.csv")


def test_names_that_differ_in_case_alone_are_told_and_not_matched(folder, capsys):
    LABELS.assign(Study=[f"S{k}" for k in range(N)]).to_csv("capitals.csv", index=False)
    small = changed("small.csv", lambda t: t.assign(Study=[f"s{k:03d}" for k in range(N)]))
    assert "S0 and s000" in said(capsys, small, "--truth", "capitals.csv")


def test_tables_of_other_forms_are_scored_alike(folder):
    expected = evaluate(["a.csv"], "truth.csv").table["auroc"]
    SCORES.to_csv("semicolons.csv", index=False, sep=";", decimal=",")
    SCORES.to_csv("tabs.csv", index=False, sep="\t", encoding="utf-16")
    SCORES.set_index("Study").rename_axis("").to_csv("index.csv")
    SCORES.to_csv("numbered.csv")
    SCORES.assign(Study=[f"\ufeff{study} " for study in STUDIES]).to_csv("blanks.csv", index=False)
    for name in ("semicolons", "tabs", "index", "numbered", "blanks"):
        np.testing.assert_allclose(evaluate([f"{name}.csv"], "truth.csv").table["auroc"], expected)


def test_a_table_without_a_header_is_called_so(folder, capsys):
    SCORES.to_csv("bare.csv", index=False, header=False)
    assert "bare.csv: its first row holds" in said(capsys, "bare.csv", "--truth", "truth.csv")


def test_a_runs_folder_brings_its_own_labels(folder):
    table = SCORES.assign(split="test", image=[f"{s}/view1.jpg" for s in STUDIES], patient=[s[19:31] for s in STUDIES])
    table = table.rename(columns={"Study": "study"} | {task: f"p:{task}" for task in ("Edema", "Atelectasis")})
    table = table.assign(**{f"y:{task}": LABELS[task].astype(np.float32) for task in ("Edema", "Atelectasis")})
    (folder / "run").mkdir()
    other = table.assign(split="val", study="v", image=[f"v{i}" for i in range(N)])
    pd.concat([table, other]).to_parquet(folder / "run" / "predictions.parquet")
    found, as_files = evaluate(["run"]), evaluate(["a.csv"], "truth.csv")
    assert set(found.table["model"]) == {"run"} and found.n == N
    assert found.table["auroc"].sort_values().tolist() == pytest.approx(as_files.table["auroc"].sort_values().tolist())


@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_a_runs_images_make_its_studies_scores_as_its_spec_says(folder, aggregate):
    """Second views turn the order of the means around and leave the maxima as they are."""
    first = pd.DataFrame({"study": STUDIES, "patient": STUDIES, "split": "test", "image": [f"{s}/1" for s in STUDIES]})
    first = first.assign(**{"y:Edema": LABELS["Edema"].astype(np.float32), "p:Edema": SCORES["Edema"]})
    second = first.assign(image=[f"{s}/2" for s in STUDIES]).assign(**{"p:Edema": -3 * SCORES["Edema"].abs()})
    rows = pd.concat([first, second])
    (folder / "run").mkdir()
    rows.to_parquet(folder / "run" / "predictions.parquet")
    spec = RunSpec(arch="resnet18", dataset="phantom", aggregate=aggregate)
    (folder / "run" / "spec.json").write_text(json.dumps(dataclasses.asdict(spec)))
    y, p, _ = by_study(rows, ("Edema",), aggregate)
    assert evaluate(["run"]).table["auroc"].iloc[1] == pytest.approx(roc_auc_score(y[:, 0], p[:, 0]))


def test_unknown_labels_leave_their_study_out_of_that_task(folder):
    LABELS.assign(Edema=LABELS["Edema"].where(LABELS.index > 9)).to_csv("holes.csv", index=False)
    found = evaluate(["a.csv"], "holes.csv", tasks=["Edema"])
    assert found.table["auroc"].iloc[1] == pytest.approx(roc_auc_score(LABELS["Edema"][10:], SCORES["Edema"][10:]))
    assert found.table[["positives", "negatives"]].iloc[1].sum() == N - 10


def test_other_names_of_a_finding_are_understood_and_a_task_is_scored_once(folder):
    name = changed("effusion.csv", lambda t: t.rename(columns={"Edema": "Effusion"}))
    LABELS.rename(columns={"Edema": "Pleural Effusion"}).to_csv("pleural.csv", index=False)
    assert evaluate([name], "pleural.csv").tasks == ("Pleural Effusion", "Atelectasis")
    found = evaluate(["a.csv"], "truth.csv", tasks=["edema", "Edema", "EDEMA"])
    assert found.tasks == ("Edema",) and len(found.table) == 2


def test_tasks_that_one_file_lacks_or_of_one_class_are_left_out_and_said(folder):
    name = changed("few.csv", lambda t: t.drop(columns="Edema"))
    found = evaluate(["a.csv", name], "truth.csv")
    assert found.tasks == ("Atelectasis",) and "not every file has them: Edema." in found.text()
    LABELS.assign(Edema=0).to_csv("none.csv", index=False)
    found = evaluate(["a.csv"], "none.csv")
    assert found.tasks == ("Atelectasis",) and found.notes[0].endswith("one class only: Edema.")


def test_rows_that_do_not_match_are_refused_or_with_inner_left_out(folder, capsys):
    name = changed("short.csv", lambda t: t.iloc[5:])
    line = said(capsys, name, "--truth", "truth.csv")
    assert "short.csv: lacks 5 rows (CheXpert-v1.0/test/patient64741/study1, " in line and "--inner" in line
    found = evaluate(["a.csv", name], "truth.csv", inner=True)
    assert found.n == N - 5
    kept = slice(5, None)
    edema = found.table.set_index(["model", "task"])["auroc"][("a", "Edema")]
    assert edema == pytest.approx(roc_auc_score(LABELS["Edema"][kept], SCORES["Edema"][kept]))


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: t.assign(Edema=["high", *t["Edema"][1:]]), "patient64741/study1, column Edema: 'high' is not a num"),
    (lambda t: t.assign(Edema=[None, *t["Edema"][1:]]), r"patient64741/study1, column Edema: no score \(1 in all\)"),
    (lambda t: pd.concat([t, t.iloc[:2]]), r"2 rows \(.*patient64741/study1, .*/study2\) more than once"),
    (lambda t: t.assign(Study=[f"x{i}" for i in range(N)]), "no row is of truth.csv: it names 'x0'"),
    (lambda t: t.rename(columns={"Edema": "Effusion", "Atelectasis": "Pleural Effusion"}), "two columns are of Ple"),
    (lambda t: t.rename(columns={"Edema": "Fracture", "Atelectasis": "Tilt"}), "no task is in all files"),
    (lambda t: t[["Study"]], "no column beside 'Study'"),
    (lambda t: t.drop(columns="Study").assign(Edema=0.5), "no column names the study or image"),
    (lambda t: t.assign(Study=[None, *t["Study"][1:]]), "wrong.csv: row 2, column Study: empty"),
    (lambda t: t.iloc[:0], "no rows"),
])  # fmt: skip
def test_scores_that_are_wrong_are_refused_in_one_line(folder, capsys, change, words):
    assert re.search(words, said(capsys, changed("wrong.csv", change), "--truth", "truth.csv"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Edema": 1}, "Edema has only positives in these studies: an AUROC needs both classes"),
        ({"Edema": np.nan}, "Edema has no known label"),
        ({"Edema": -1}, "-1 is no label: 1, 0 or empty: decide first what an uncertain label counts as"),
        ({"Edema": 0.3}, "column Edema: 0.3 is no label"),
        ({"patient": ["p", None, *["q"] * (N - 2)]}, "odd.csv: row 3, column patient: empty"),
    ],
)
def test_labels_that_are_wrong_are_refused_in_one_line(folder, capsys, change, words):
    LABELS.assign(**change).to_csv("odd.csv", index=False)
    assert words in said(capsys, "a.csv", "--truth", "odd.csv", "--tasks", "Edema")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.csv"], "a.csv: holds no labels: give them with --truth"),
        (["a.csv", "a.csv", "--truth", "truth.csv"], "given twice"),
        (["a.csv", "--truth", "truth.csv", "--draws", "0"], "'--draws': Input should be greater than"),
        (["a.csv", "--truth", "truth.csv", "--draws", "1000000000"], "'--draws': Input should be less than"),
        (["nowhere.csv", "--truth", "truth.csv"], "nowhere.csv: no such file"),
        (["a.csv", "--truth", "nowhere.csv"], "nowhere.csv: no such file"),
        (["nowhere.parquet", "--truth", "truth.csv"], "nowhere.parquet: no such file"),
        (["a.csv", "--truth", "truth.csv", "--tasks", "Gout"], "has no labels of 'Gout'"),
        (["a.csv", "--truth", "truth.csv", "--plot", "a.docx"], "a.docx"),
    ],
)
def test_a_command_that_cannot_be_followed_says_why_in_one_line(folder, capsys, arguments, words):
    assert words in said(capsys, *arguments)


def test_broken_files_are_refused_in_one_line(folder, capsys):
    Path("broken.parquet").write_bytes(b"PAR1" + bytes(50))
    assert "broken.parquet: not readable as Parquet" in said(capsys, "broken.parquet", "--truth", "truth.csv")
    pd.read_csv("a.csv").assign(split="val", **{"p:Edema": 0.5}).to_parquet("val.parquet")
    assert "val.parquet: no rows of split test" in said(capsys, "val.parquet", "--truth", "truth.csv")
    Path("bytes.csv").write_bytes(bytes(range(256)))
    assert "bytes.csv" in said(capsys, "bytes.csv", "--truth", "truth.csv")


def test_the_command_prints_a_table_csv_and_json_and_draws(folder, capsys):
    assert main(["evaluate", "a.csv", "b.csv", "--truth", "truth.csv", "--plot", "plot.png"]) == 0
    text = capsys.readouterr().out
    assert f"{N} studies of {N // 2} patients" in text and re.search(r"a +b \+0.000 \(\+0.000 to \+0.000\)", text)
    assert Path("plot.png").read_bytes().startswith(b"\x89PNG")
    assert main(["evaluate", "a.csv", "b.csv", "--truth", "truth.csv", "--csv", "--interval", "bca"]) == 0
    Path("out.csv").write_text(capsys.readouterr().out)
    assert pd.read_csv("out.csv")["model"].tolist() == ["a"] * 3 + ["b"] * 3
    assert main(["evaluate", "a.csv", "b.csv", "--truth", "truth.csv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["model"], row["task"]) for row in found["scores"][:4]] == [
        ("a", "mean"), ("a", "Edema"), ("a", "Atelectasis"), ("b", "mean")
    ]  # fmt: skip
    assert found["scores"][0]["positives"] is None and 0.5 < found["scores"][0]["auroc"] < 1
    assert set(found["pairs"][0]) == {"a", "b", "difference", "low", "high", "p", "p_holm"}


@needs_chexpert
def test_seven_leaderboard_models_are_read_as_they_are():
    """Their columns are in two orders, and one scores up to 2.8; some share their scores of most tasks."""
    found = evaluate(sorted((CHEXPERT / "predictions").glob("*.csv")), CHEXPERT / "groundtruth.csv")
    assert (found.n, found.patients, found.table["model"].nunique(), len(found.tasks)) == (500, 500, 7, 5)
    truth = pd.read_csv(CHEXPERT / "groundtruth.csv").set_index("Study")
    for model, task, area in found.table.query("task != 'mean'")[["model", "task", "auroc"]].itertuples(index=False):
        scores = pd.read_csv(CHEXPERT / "predictions" / f"{model}.csv").set_index("Study").loc[truth.index, task]
        assert area == pytest.approx(roc_auc_score(truth[task], scores), abs=1e-12)
    consolidation = evaluate(
        [CHEXPERT / "predictions" / f"{name}_predictions.csv" for name in ("drnet", "uestc")],
        CHEXPERT / "groundtruth.csv",
        tasks=["Consolidation"],
    )
    assert consolidation.pairs["p"].tolist() == [1.0]
