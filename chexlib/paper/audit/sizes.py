"""Findings on parameters: which head is counted where, and what that does to the numbers of the text."""

from __future__ import annotations

from chexlib.models.zoo import cbr_parameters
from chexlib.paper.as_printed import PAPER_TABLE1, TIMES, TRANSFUSION_TABLE1
from chexlib.paper.audit.counts import extra, truncated
from chexlib.paper.audit.finding import Finding
from chexlib.paper.claims import counting
from chexlib.paper.claims.counting import CLASSES, FINDINGS, count, millions, printed_millions
from chexlib.paper.claims.statements import BY_ID
from chexlib.paper.claims.statements.opening import HEADLINE
from chexlib.paper.wording import listed, number


def mixed_heads() -> Finding:
    """Which head each row of Table 1 counts."""
    fits = {label: counting.fitting(label) for label in PAPER_TABLE1.index}
    small = [label for label, ways in fits.items() if "14 findings" in ways]
    large = [label for label, ways in fits.items() if any("1,000" in way for way in ways) and label != "MNASNet"]
    aux = [label for label, ways in fits.items() if any("auxiliary" in way for way in ways)]
    return Finding(
        "Table 1",
        "parameters of sixteen models",
        f"{len(small)} with a 14-finding head, {len(large)} with a 1,000-class head",
        f"{len(small)} of the sixteen counts ({_families(small)}) are consistent with a {FINDINGS}-finding head, "
        f"{len(large)} ({_families(large)}) with the original head of {CLASSES:,} classes"
        + (f", {listed(aux)}'s with its auxiliary classifier as well" if aux else "")
        + ".",
    )


def mnasnet() -> Finding:
    """Whose count the row MNASNet is."""
    printed, nasnet = printed_millions("MNASNet"), count("NASNetAMobile", CLASSES)
    fits = "the same to its last digit" if printed.holds(nasnet / 1e6) else "another number"
    return Finding(
        "Table 1, MNASNet",
        "5.290 M",
        f"{count('MNASNet'):,} with 14 findings, {count('MNASNet', CLASSES):,} with 1,000 classes",
        f"The row MNASNet prints {PAPER_TABLE1.loc['MNASNet', 'params_millions']:.3f} M. NASNet-A-Mobile with "
        f"{CLASSES:,} classes has {nasnet:,} parameters, {fits}; MNASNet has {count('MNASNet', CLASSES):,} with "
        f"{CLASSES:,} classes and {count('MNASNet'):,} with {FINDINGS} findings. The row is consistent with "
        "NASNet-A-Mobile, which is in the library that the paper names for MNASNet, where no MNASNet is.",
    )


def mnasnet_times() -> Finding:
    """What numerator the Times-Smaller of MNASNet need."""
    allowed, nasnet = counting.numerators("MNASNet"), count("NASNetAMobile", CLASSES)
    cuts, printed, counted = _times("MNASNet")
    near = [f"{nasnet / count(label):.1f}" for label in cuts]
    off = sum(text != TIMES[label] for text, label in zip(near, cuts, strict=True))
    [(_, longer)] = extra("MNASNet").items()
    fits = "gives all four" if allowed.holds(longer / 1e6) else "does not give them"
    return Finding(
        "Table 2, MNASNet",
        ", ".join(printed),
        f"{', '.join(counted)} with one {FINDINGS}-finding head",
        f"The four Times-Smaller of MNASNet ({listed(printed)}), over blocks of a real "
        f"MNASNet, need a whole of {allowed.low:.4f} to {allowed.high:.4f} million parameters. NASNet-A-Mobile's "
        f"{nasnet:,} gives {listed(near)}: near, {off} of {len(cuts)} off in the last digit. With a layer from "
        f"{CLASSES:,} to {FINDINGS} outputs put on top it has {longer:,}, which {fits}: an explanation that fits the "
        f"arithmetic, and no more. With MNASNet's own {FINDINGS}-finding count they are "
        f"{listed(counted)}.",
    )


def resnet18_times() -> Finding:
    """Which heads the Times-Smaller of ResNet18 mix."""
    allowed = counting.numerators("ResNet18")
    _, printed, counted = _times("ResNet18")
    fits = [way for way, n in counting.heads("ResNet18").items() if allowed.holds(n / 1e6)]
    return Finding(
        "Table 2, ResNet18",
        ", ".join(printed),
        f"{', '.join(counted)} with one {FINDINGS}-finding head",
        f"ResNet18's {listed(printed)} need a whole of {allowed.low:.3f} to "
        f"{allowed.high:.3f} million parameters over truncated models with {FINDINGS}-finding heads. That is "
        f"consistent with a whole counted with {listed(fits)} ({count('ResNet18', CLASSES):,}); with one head "
        f"throughout they are {listed(counted)}.",
    )


def _times(whole: str) -> tuple[list[str], list[str], list[str]]:
    """A network's truncations, and how many times smaller each is as printed and counted with one head."""
    cuts = [label for label in truncated() if label.startswith(whole)]
    return cuts, [TIMES[label] for label in cuts], [f"{counting.times(label):.1f}" for label in cuts]


def headline() -> Finding:
    """The paper's 3.25 times, from Table 2 and counted with one head."""
    printed = [float(TIMES[label]) for label in HEADLINE]
    ours = [counting.times(label) for label in HEADLINE]
    return Finding(
        "abstract, sections 1 and 5",
        "3.25",
        number(_mean(ours), 2),
        f"The {_mean(printed):.2f} is the mean of {listed([f'{t:.1f}' for t in printed])}, the deepest truncation of "
        f"each family that Table 2 leaves without an asterisk. With one {FINDINGS}-finding head on every network the "
        f"same mean, of {listed([f'{t:.2f}' for t in ours])}, is {_mean(ours):.2f}.",
    )


def times_larger() -> Finding:
    """How many times larger the text calls one model than another."""
    rows = []
    for name in ("4.2-times-resnet101", "4.2-times-densenet", "4.2-times-efficientnet"):
        a, b = (BY_ID[name].count.keywords[end] for end in ("a", "b"))
        table = printed_millions(a) / printed_millions(b)
        rows.append((a, b, BY_ID[name].printed["times"], (table.low + table.high) / 2, count(a) / count(b)))
    said = [f"{a} over {b} {text}, by Table 1 {table:.2f}, by one head {ours:.2f}" for a, b, text, table, ours in rows]
    other = printed_millions("EfficientNetB2") / printed_millions("EfficientNetB0")
    return Finding(
        "section 4.2",
        ", ".join(text for *_, text, _, _ in rows),
        ", ".join(f"{ours:.2f}" for *_, ours in rows),
        f"Times larger: {'; '.join(said)}. The last is consistent with EfficientNetB2, which Table 1 makes "
        f"{other.low:.2f} times as large as EfficientNetB0.",
    )


def efficiency() -> Finding:
    """Which models have the most AUC per parameter."""
    places = {
        name: [counting.efficiency_rank(name, again) for again in (False, True)] for name in ("DenseNet121", "MNASNet")
    }
    first = next(name for name in PAPER_TABLE1.index if counting.efficiency_rank(name, False) == 1)
    said = [f"{name} is number {table} by Table 1 and {ours} by one head" for name, (table, ours) in places.items()]
    return Finding(
        "section 3.2",
        "DenseNet121 and MNASNet have the most AUC per parameter",
        ", ".join(f"{name} {table} and {ours}" for name, (table, ours) in places.items()),
        f"By AUC per parameter {listed(said)}, of sixteen; {first} is first.",
    )


def third_largest() -> Finding:
    """The place of InceptionV3 by size."""
    table, ours = (counting.size_rank("InceptionV3", again) for again in (False, True))
    larger = [name for name in PAPER_TABLE1.index if millions(name) > millions("InceptionV3")]
    return Finding(
        "section 4.1",
        "third largest",
        f"number {ours}",
        f"InceptionV3 is number {table} by Table 1, which counts its auxiliary classifier, and number {ours} by one "
        f"{FINDINGS}-finding head without it, after {listed(larger)}.",
    )


def transfusion_counts() -> Finding:
    """What Transfusion's column of parameters counts."""
    fit = [name for name in counting.CBR if counting.cbr(name) == TRANSFUSION_TABLE1.loc[name, "parameters"]]
    full = {name: cbr_parameters(name, 5) for name in counting.CBR}
    resnet = count("ResNet50") - 9 * (2048 + 1)
    printed = TRANSFUSION_TABLE1.loc["ResNet50", "parameters"]
    return Finding(
        "Transfusion, Table 1",
        ", ".join(f"{TRANSFUSION_TABLE1.loc[name, 'parameters']:,}" for name in counting.CBR),
        ", ".join(f"{n:,}" for n in full.values()) + " with everything",
        f"The printed parameters of {listed(fit)} are, to the last digit, the weights of all convolutions after the "
        "first and of a five-class layer: without the first convolution, batch norms and biases, which would make "
        f"them {listed([f'{n:,}' for n in full.values()])}. The rule fixes kernels, depths and widths. ResNet50's "
        f"{printed:,} does not follow it: with five classes the whole network has {resnet:,}.",
    )


def _families(labels: list[str]) -> str:
    return listed(list(dict.fromkeys(counting.row(label)[0].family for label in labels)))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
