"""Findings on the other numbers: what the text prints twice, what rounding leaves open, what the protocol allows."""

from __future__ import annotations

from chexlib.paper.as_printed import BATCH, CHEXPERT_IMAGES, EPOCHS, EVERY, KEPT, PAPER_TABLE1, PAPER_TABLE2
from chexlib.paper.audit.finding import Finding, between
from chexlib.paper.claims import counting, own_tables
from chexlib.paper.claims.counting import millions, printed_millions
from chexlib.paper.claims.statements import BY_ID
from chexlib.paper.rounding import mean, span
from chexlib.paper.wording import listed, number, p_value
from chexlib.stats import spearman


def checkpoints() -> Finding:
    """How many evaluations three epochs hold."""
    seen = EPOCHS * CHEXPERT_IMAGES["train"]
    steps = seen // BATCH
    return Finding(
        "section 3.1",
        f"the best {KEPT}, one every {EVERY:,} gradient steps",
        f"{steps // EVERY} evaluations in {steps:,} steps",
        f"{EPOCHS} epochs of {CHEXPERT_IMAGES['train']:,} images in batches of {BATCH} are {steps:,} gradient steps. "
        f"An evaluation every {EVERY:,} of them gives {steps // EVERY}, fewer than the {KEPT} checkpoints of the "
        f"ensemble. Were {EVERY:,} a number of images there would be {seen // EVERY}: a conjecture, which study "
        "paper follows.",
    )


def average_boost() -> Finding:
    """The average boost, printed twice."""
    first, second = (BY_ID[name].printed["mean boost"] for name in ("1-boost", "4.3-boost"))
    return Finding(
        "sections 1 and 4.3",
        f"{first} and {second}",
        "not to be had from the tables",
        f"The average boost is {first} in the introduction and {second} in section 4.3: one number rounds to both only "
        "where it is the tie between them. The AUCs without pretraining are not printed, so it cannot be computed.",
    )


def family_gaps() -> Finding:
    """The gaps of DenseNet and EfficientNet without pretraining, printed three times."""
    texts = {
        family: [BY_ID[name].printed["difference"] for name in names]
        for family, names in {
            "DenseNet": ("1-densenet", "4.1-densenet-random", "4.2-densenet"),
            "EfficientNet": ("1-efficientnet", "4.1-efficientnet-random", "4.2-efficientnet"),
        }.items()
    }
    said = "; ".join(
        f"{family} {one[0]} (introduction), {one[1]} (4.1), {one[2]} (4.2)" for family, one in texts.items()
    )
    gap = BY_ID["4.3-densenet"].printed["difference"]
    ways = {
        way: own_tables.boost_gap({}, "DenseNet201", "DenseNet121", "0.004", (way,))[0].spans[0]
        for way in dict.fromkeys(texts["DenseNet"])
    }
    fit = [way for way, allowed in ways.items() if allowed.meets(span(gap))]
    return Finding(
        "sections 1, 4.1, 4.2",
        "; ".join(f"{family} {', '.join(one)}" for family, one in texts.items()),
        f"with the boosts of 4.3, DenseNet's is {listed(fit)}",
        f"Without pretraining the largest of a family leads its smallest by this much: {said}. Section 4.1 has the "
        f"two the other way round. DenseNet201's boost is said to exceed DenseNet121's by {gap}; with 0.004 between "
        f"them after pretraining that is consistent with {listed(fit)} before it, and not with "
        f"{listed([way for way in ways if way not in fit] or ['nothing else'])}.",
    )


def mobilenet_gap() -> Finding:
    """What the printed boosts say of the MobileNets without pretraining."""
    boosts = {name: span(BY_ID[f"4.3-{name.lower()}"].printed["difference"]) for name in ("MobileNetV2", "MobileNetV3")}
    without = {name: own_tables.auc(name) - boost for name, boost in boosts.items()}
    without["MobileNetV2"] &= span(own_tables.WORST_RANDOM)
    within = [BY_ID[name].printed["difference"] for name in ("1-resnet", "1-densenet", "1-efficientnet")]
    gap, bound = without["MobileNetV3"] - without["MobileNetV2"], BY_ID["1-families"].printed["difference"].strip("> ")
    return Finding(
        "sections 1 and 4.3",
        f"gaps within ResNet, DenseNet, EfficientNet; between families over {bound}",
        f"MobileNetV3 less MobileNetV2: {between(gap)}",
        f"Within three families sizes differ by {min(within)} to {max(within)} without pretraining, and families by "
        f"more than {bound}. MobileNet is not among the three. Table 1 less the boosts of section 4.3 puts "
        f"MobileNetV3 {between(gap)} above MobileNetV2, more than {bound} within one family (of two designs, not of "
        "two sizes).",
    )


def rho_with_size() -> Finding:
    """What rounding allows Spearman's rho of Table 1 to be."""
    auc = PAPER_TABLE1["auc"]
    table = spearman([printed_millions(label).low for label in auc.index], auc)
    ours = spearman([millions(label) for label in auc.index], auc)
    allowed = own_tables.rho_allowed("", lambda label: printed_millions(label).low).spans
    text, p = BY_ID["4.2-rho-imagenet"].printed["ρ"], BY_ID["4.2-rho-imagenet"].printed["p"]
    fits = "allows" if any(one.meets(span(text)) for one in allowed) else "does not allow"
    return Finding(
        "section 4.2",
        f"ρ = {text} (p = {p})",
        f"ρ = {table.rho:.3f} ({p_value(table.p)}), {allowed[0].low:.3f} to {allowed[-1].high:.3f} allowed",
        f"Table 1's own AUCs and parameters have ρ = {table.rho:.3f} ({p_value(table.p)}), and {ours.rho:.3f} with "
        "one head throughout. Its AUCs are rounded to three decimals, and many are equal so: the values behind them "
        f"can have had any of {len(allowed)} rank correlations, from {allowed[0].low:.3f} to {allowed[-1].high:.3f}. "
        f"The printed {text} (p = {p}) is one that rounding {fits}. A correlation of a rounded table is an interval, "
        "not a value.",
    )


def rank_steps() -> Finding:
    """Whether the printed correlations are ones that sixteen ranks can have."""
    names = ("4.1-rho-random", "4.1-rho-imagenet", "4.2-rho-random", "4.2-rho-imagenet", "4.3-rho")
    told = []
    for name in names:
        row = BY_ID[name]
        derived = {one.name: one for one in own_tables.rank_test(row.printed)}
        told.append(all(any(s.meets(span(row.printed[key])) for s in one.spans) for key, one in derived.items()))
    fine = own_tables.rank_test({"ρ": "0.565"})[0].spans[0].low
    return Finding(
        "sections 4.1 to 4.3",
        ", ".join(BY_ID[name].printed["ρ"] for name in names),
        f"{sum(told)} of {len(names)} are steps of 16 untied ranks, with their p",
        f"Spearman's ρ over {own_tables.N} untied values moves in steps of "
        f"{6 * 2 / (own_tables.N * (own_tables.N**2 - 1)):.4f}. {sum(told)} of the {len(names)} correlations of "
        "sections 4.1 to 4.3 are such steps, each with the p that belongs to it: consistent with AUCs that were "
        f"ranked before they were rounded. That Figure 3 prints 0.56 and the text 0.565 is one step, {fine:.4f}.",
    )


def table2_percent() -> Finding:
    """Whether Table 2's percentages are hundredths of AUC or relative."""
    label, text = "EfficientNetB0Minus2", BY_ID["4.4-efficientnet"].printed["difference"]
    ways = [one.spans[0] for one in own_tables.table2({"difference": text}, label)]
    hundredths, relative = (way & span(text) for way in ways)
    share = [max(0.0, both.high - both.low) / (way.high - way.low) for both, way in zip((hundredths, relative), ways)]
    return Finding(
        "Table 2 and section 4.4",
        f"{PAPER_TABLE2.loc[label, 'change_percent']:.2f} % and {text}".replace("-", "−"),
        f"hundredths: {between(ways[0], 4)}; relative: {between(ways[1], 4)}",
        f"The change of {label} is printed as {number(PAPER_TABLE2.loc[label, 'change_percent'], 2)} % and, the "
        f"other way round, as {text}. Read as hundredths of AUC the percentage is {between(ways[0], 4)}, of which "
        f"{share[0]:.0%} would be printed so; read as relative to the whole model's AUC it is {between(ways[1], 4)}, "
        f"of which {share[1]:.0%} would. Both readings are consistent with the text.",
    )


def searched() -> Finding:
    """How the families compare in Table 1."""
    auc = {label: own_tables.auc(label) for label in PAPER_TABLE1.index}
    best = max(PAPER_TABLE1.index, key=lambda label: PAPER_TABLE1.loc[label, "auc"])
    old, new = (
        mean(one for label, one in auc.items() if counting.row(label)[0].family in families)
        for families in (("DenseNet", "ResNet", "Inception"), ("EfficientNet", "MobileNet"))
    )
    return Finding(
        "section 4.2, Table 1",
        "DenseNet, ResNet and Inception typically outperform EfficientNet and MobileNet",
        f"{between(old - new)} on average; the best of sixteen is {best}",
        f"With pretraining, by Table 1, the mean of DenseNet, ResNet and Inception lies {between(old - new)} above "
        f"that of EfficientNet and MobileNet. The highest AUC of all is {best}'s, "
        f"{PAPER_TABLE1.loc[best, 'auc']:.3f}, and the sixteen lie between {PAPER_TABLE1['auc'].min():.3f} and "
        f"{PAPER_TABLE1['auc'].max():.3f}, {PAPER_TABLE1['auc'].max() - PAPER_TABLE1['auc'].min():.3f} apart; the "
        f"ends of a single model's interval are at least {(PAPER_TABLE1['high'] - PAPER_TABLE1['low']).min():.3f} "
        "apart.",
    )


def data_set() -> Finding:
    """Whether the paper's number of images is that of CheXpert's files."""
    total, text = sum(CHEXPERT_IMAGES.values()), BY_ID["3.1-images"].printed["images"]
    fits = "the same" if f"{total:,}" == text else "another number"
    return Finding(
        "section 3.1",
        f"{text} images",
        f"{total:,}",
        f"CheXpert's label files list {listed([f'{n:,} ({name})' for name, n in CHEXPERT_IMAGES.items()])} images, "
        f"{total:,} in all: {fits} as the {text} that are printed, test images included.",
    )


def transfusion_cardiomegaly() -> Finding:
    """Whether Transfusion's Table 2 says what its text says of it."""
    tasks = [row for name, row in BY_ID.items() if name.startswith("tf-t2-")]
    found = {row.own.keywords["task"]: row.own(row.reading)[0].spans[0] for row in tasks}
    apart = [
        row.own.keywords["task"]
        for row in tasks
        if not found[row.own.keywords["task"]].meets(span(row.reading["mean change"]))
    ]
    said = [f"{task} {number((s.low + s.high) / 2, 2, sign=True)}" for task, s in found.items()]
    return Finding(
        "Transfusion, Table 2 and section 3.2",
        "worse with transfer: Atelectasis, Cardiomegaly, Consolidation; better: Edema, Pleural Effusion",
        ", ".join(said),
        "The text that we have has lost the names of the table's ten rows. If they come in pairs, without and with "
        f"transfer, as they do in its Table 1, transfer changes the mean AUC (in percent) so: {', '.join(said)}. The "
        f"signs are consistent with the text but for {listed(apart or ['none'])}.",
    )
