"""What other numbers leave open for a printed one: arithmetic with the paper's own numbers, or with counted networks.

In statements.yaml a check is an expression a number: "auc('ResNet101') - auc('EfficientNetB0')", "'0.791' - '0.565'".
Texts are printed numbers, with what rounding leaves open, numbers are exact, a list holds alternatives; the functions
are those of `own` (the tables as printed) and `counted` (parameters counted again, a 14-finding head on each network).
"""

from __future__ import annotations

import ast
import operator
from functools import cache
from itertools import pairwise

import numpy as np

from chexlib.models.truncate import TRUNCATIONS, Cut
from chexlib.models.zoo import ARCHITECTURES, CBR_LAYERS, Architecture, cbr_parameters
from chexlib.stats import spearman_p, spearman_rounded
from chexpaper.claims.printed import Span, exactly, mean, span, table1, table2, texts

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
             ast.BitAnd: operator.and_, ast.USub: operator.neg}  # fmt: skip


def allowed(expression: object, functions: dict) -> list[Span]:
    """The values of an expression, one a alternative. ValueError where it is none, or calls what is not there."""
    try:
        found = _value(ast.parse(str(expression), mode="eval").body, functions)
    except (SyntaxError, KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"{expression!r} cannot be computed ({type(problem).__name__}: {problem})") from problem
    return found if isinstance(found, list) else [found]


def _value(node: ast.AST, functions: dict) -> Span | list[Span]:
    match node:
        case ast.Constant(value=str() as text):
            return span(text)
        case ast.Constant(value=number):
            return exactly(number)
        case ast.BinOp(left=a, op=op, right=b):
            return OPERATORS[type(op)](_value(a, functions), _value(b, functions))
        case ast.UnaryOp(op=op, operand=a):
            return OPERATORS[type(op)](_value(a, functions))
        case ast.List(elts=some):
            return [_value(one, functions) for one in some]
        case ast.Call(func=ast.Name(id=name), args=args):
            plain = [one.value if isinstance(one, ast.Constant) else _value(one, functions) for one in args]
            return functions[name](*plain)
    raise TypeError(ast.unparse(node))


def row(label: str) -> tuple[Architecture, int]:
    """The architecture and the truncation that a label of the paper names: "ResNet18Minus1"."""
    whole, _, minus = label.partition("Minus")
    return next(one for one in ARCHITECTURES.values() if one.paper_name == whole), int(minus or 0)


def cuts(label: str) -> tuple[Cut, ...]:
    """What a truncated network has lost."""
    whole, minus = row(label)
    return TRUNCATIONS[whole.name].cuts[:minus]


def count(label: str, outputs: int = 14) -> int:
    """Parameters of a network with one linear layer of so many outputs; truncated ones have 14."""
    if label in CBR_LAYERS:
        return cbr_parameters(label, outputs)
    if "Minus" in label:
        return cuts(label)[-1].parameters
    one = row(label)[0]
    return one.parameters + (outputs - 14) * (one.parameters_1000 - one.parameters) // (1000 - 14)


def cell(table: str, column: str, label: str) -> Span:
    """A printed number of a table (`chexpaper.claims.printed.texts`)."""
    return span(texts(table).loc[label, column])


def auc(label: str) -> Span:
    """Table 1's AUC, with ImageNet weights."""
    return cell("table1", "auc", label)


def mean_auc(families: str) -> Span:
    """Mean AUC in Table 1 of the architectures of some families: "DenseNet+ResNet"."""
    return mean(cell("table1", "auc", name) for name in table1().index if row(name)[0].family in families.split("+"))


def rank_steps(rho: str, n: int = 16) -> list[Span]:
    """What Spearman's rho over n untied pairs can be, near a printed one.

    Without ties rho is 1 - 6 D / (n (n² - 1)) with D, the sum of squared differences of ranks, even.
    """
    steps, printed = 1 - 12 / (n * (n * n - 1)) * np.arange(n * (n * n - 1) // 6 + 1), span(rho)
    inside = [one for one in steps if printed.holds(one)]
    return [exactly(one) for one in inside or steps[np.argsort(np.abs(steps - (printed.low + printed.high) / 2))[:2]]]


def p_of(rho: str, n: int = 16) -> Span:
    """The p that a printed rho over n untied pairs has (t distribution)."""
    inside = [one.low for one in rank_steps(rho, n) if span(rho).holds(one.low)]
    ps = spearman_p(inside or [span(rho).low, span(rho).high], n)
    return Span(float(min(ps)), float(max(ps)))


def mean_gain(task: str) -> Span:
    """Mean of transfer less random in Transfusion's Table 2, if its ten rows come in pairs without and with it."""
    values = [span(text) for text in texts("transfusion2")[task]]
    return mean(b - a for a, b in zip(values[::2], values[1::2], strict=True))


def cbr_printed(label: str) -> Span:
    """A CBR's convolutions after the first and its linear layer of five outputs, without biases."""
    kernel, channels = CBR_LAYERS[label]
    return exactly(kernel**2 * sum(a * b for a, b in pairwise(channels)) + channels[-1] * 5)


def gone(label: str, module: str) -> Span:
    """How many of a network's modules of a kind ("denseblock") a truncation drops."""
    return exactly(sum(module in one for cut in cuts(label) for one in cut.modules))


def _with_sizes(sizes: dict[str, float]) -> dict:
    """The functions that rest on the sixteen's sizes."""
    auc = table1().auc
    current = [size for name, size in sizes.items() if row(name)[0].family != "MobileNet"]
    efficiency = {name: auc[name] / size for name, size in sizes.items()}

    def place(worth: dict[str, float], label: str) -> Span:
        return exactly(1 + sum(one > worth[label] for one in worth.values()))

    return {
        "size_place": lambda label: place(sizes, label),
        "efficiency_place": lambda label: place(efficiency, label),
        "smaller": lambda label: exactly(sum(size < sizes[label] for size in current)),
        "rho_with_size": lambda: rho_allowed(tuple(sizes.values())),
    }


@cache
def rho_allowed(x: tuple[float, ...]) -> list[Span]:
    """Every rank correlation of Table 1's rounded AUCs with a fact of its sixteen."""
    return [exactly(one) for one in spearman_rounded(x, table1().auc, 3)]


def rho_with_top5(init: str) -> list[Span]:
    """Every rank correlation of the rounded AUCs in Transfusion's Table 1 with its ImageNet accuracies."""
    table = texts("transfusion1")
    return [exactly(one) for one in spearman_rounded(table["top5"].astype(float), table[init].astype(float), 1)]


@cache
def own() -> dict:
    """What a statement's `own` can call: the papers' printed numbers."""
    return {
        "auc": auc,
        "mean": lambda *some: mean(some),
        "mean_auc": mean_auc,
        "size": lambda label: cell("table1", "parameters", label),
        "times": lambda label: cell("table2", "times", label),
        "change": lambda label: cell("table2", "change", label) / exactly(100),
        "asterisks": lambda: exactly(table2().significant.sum()),
        "rows": lambda table, start="": exactly(texts(table).index.str.startswith(start).sum()),
        "upto": lambda most: Span(0, most.high),
        "rank_steps": rank_steps,
        "p_of": p_of,
        "cell": cell,
        "parameters": lambda label: exactly(int(texts("transfusion1").parameters[label])),
        "mean_gain": mean_gain,
        "rho_with_top5": rho_with_top5,
        **_with_sizes(table1().parameters.to_dict()),
    }


@cache
def counted() -> dict:
    """What its `count` can call: networks counted again, and their checkpoints' ImageNet accuracy, a fraction."""
    return {
        "auc": auc,
        "mean": lambda *some: mean(some),
        "top1": lambda label: exactly(row(label)[0].top1 / 100),
        "size": lambda label, outputs=14: exactly(count(label, outputs) / 1e6),
        "times": lambda label: exactly(count(row(label)[0].paper_name) / count(label)),
        "depth": lambda label: exactly(len(TRUNCATIONS[row(label)[0].name].cuts)),
        "gone": gone,
        "wider": lambda label: exactly(2 ** gone(label, "transition").low),
        "cbr_printed": cbr_printed,
        "cbr_layers": lambda label: exactly(len(CBR_LAYERS[label][1])),
        "rho_with_top1": lambda: rho_allowed(tuple(row(name)[0].top1 for name in table1().index)),
        **_with_sizes({name: count(name) / 1e6 for name in table1().index}),
    }
