"""CheXtransfer, Tables 1 and 2, a statement a number."""

from __future__ import annotations

from functools import partial

from chexlib.paper.as_printed import PAPER_TABLE1, PAPER_TABLE2, TIMES
from chexlib.paper.claims import from_study, own_tables, recounts
from chexlib.paper.claims.criteria import absent, below, near
from chexlib.paper.claims.statement import Statement


def _auc(model: str, auc: float, low: float, high: float) -> Statement:
    printed = {"AUC": f"{auc:.3f}", "low": f"{low:.3f}", "high": f"{high:.3f}"}
    return Statement(f"t1-auc-{model.lower()}", "Table 1", f"AUC of {model} with pretraining", printed,
                     study=partial(from_study.level, model=model), criterion=near,
                     page="02_baselines")  # fmt: skip


def _size(model: str, millions: float) -> Statement:
    return Statement(f"t1-size-{model.lower()}", "Table 1", f"Parameters of {model}",
    {"parameters (M)": f"{millions:.3f}"},
                     count=partial(recounts.parameters, model=model))  # fmt: skip


def _change(label: str, percent: float, significant: bool) -> Statement:
    printed = {"percent": f"{percent:.2f}".replace("-", "−")}
    says = (
        f"{label}: AUC less its whole model's, {'a significant drop' if significant else 'no significant difference'}"
    )
    own = partial(own_tables.change, label=label, text=IN_TEXT[label]) if label in IN_TEXT else None
    return Statement(f"t2-auc-{label.lower()}", "Table 2", says, printed, own,
                     study=partial(from_study.truncations, models=(label,)), criterion=below if significant else absent,
                     page="05_truncation")  # fmt: skip


def _times(label: str) -> Statement:
    return Statement(f"t2-times-{label.lower()}", "Table 2", f"{label}: times smaller than its whole model",
                     {"times": TIMES[label]}, count=partial(recounts.times, label=label))  # fmt: skip


IN_TEXT = {"ResNet18Minus1": "−0.002", "EfficientNetB0Minus2": "0.004"}
"""What section 4.4 prints of two changes, as whole less truncated."""
CUT = PAPER_TABLE2[PAPER_TABLE2.index.str.contains("Minus")]
TABLE1 = [
    *(_auc(row.Index, row.auc, row.low, row.high) for row in PAPER_TABLE1.itertuples()),
    *(_size(row.Index, row.params_millions) for row in PAPER_TABLE1.itertuples()),
]
TABLE2 = [
    *(_change(row.Index, row.change_percent, row.significant) for row in CUT.itertuples()),
    *(_times(row.Index) for row in CUT.itertuples()),
]
