"""A threshold chosen on validation rows, for use on others.

A row is called positive where its score is at or above the threshold. Choosing the threshold on the rows on which
sensitivity and specificity are then stated would flatter both. Costs and prevalences as rules are left out.
"""

import numpy as np
from numpy.typing import ArrayLike

from chexlib.stats.auc import checked


def choose_threshold(y: ArrayLike, p: ArrayLike, rule: str | tuple[str, float] = "youden") -> float:
    """The threshold that a rule picks on these rows, of one task: one of their scores, or just above the highest.

    y: (N,) labels, 1, 0 or NaN (left out). p: (N,) scores. rule: "youden", the largest sum of sensitivity and
    specificity (Youden, Cancer 1950), of equal ones the most sensitive; ("sensitivity", 0.9), the highest threshold
    that reaches it, and so the most specific; ("specificity", 0.9), the lowest that does.
    Raises ValueError for another rule, where a class is missing, and where `auroc` does.
    """
    y, p, _ = checked(y, p)
    if y.ndim != 1:
        raise ValueError(f"y {y.shape} and p {p.shape}: a threshold is of one task, both must be (N,)")
    kind, least = rule if isinstance(rule, tuple) and len(rule) == 2 else (rule, None)
    reachable = kind in ("sensitivity", "specificity") and least is not None and 0 <= least <= 1
    if rule != "youden" and not reachable:
        rules = '"youden", ("sensitivity", least) or ("specificity", least)'
        raise ValueError(f"rule={rule!r}: it must be {rules}, with least in [0, 1]")
    positive, negative = np.sort(p[y == 1]), np.sort(p[y == 0])
    if not positive.size or not negative.size:
        raise ValueError(f"{positive.size} positives, {negative.size} negatives: a threshold needs both")
    scores = np.unique(np.concatenate([positive, negative]))  # ascending
    scores = np.append(scores, np.nextafter(scores[-1], np.inf))
    found = positive.size - np.searchsorted(positive, scores)  # positives at or above each score
    left = np.searchsorted(negative, scores)  # negatives below it
    if kind == "sensitivity":
        return float(scores[found >= _reaching(least, positive.size)][-1])
    if kind == "specificity":
        return float(scores[left >= _reaching(least, negative.size)][0])
    return float(scores[np.argmax(found * negative.size + left * positive.size)])  # whole numbers, so ties are ties


def _reaching(least: float, n: int) -> int:
    """How many of n are at least that share."""
    return int(np.ceil(least * n - 1e-9))
