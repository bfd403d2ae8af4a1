"""The three papers' tables and the numbers around them, transcribed as printed; nothing here is computed.

CheXtransfer's parameter counts mix heads, and its row MNASNet is NASNet-A-Mobile's count: `chexlib.paper.audit` shows
both. Transfusion's Table 2 has lost the names of its rows in the text that this is taken from.
"""

from __future__ import annotations

import pandas as pd

CITATION = "Ke et al., CheXtransfer, ACM CHIL 2021, arXiv:2101.06871"

PAPER_TABLE1 = pd.DataFrame(
    [
        ("DenseNet121", 0.859, 0.846, 0.871, 6.968),
        ("DenseNet169", 0.860, 0.848, 0.873, 12.508),
        ("DenseNet201", 0.864, 0.850, 0.876, 18.120),
        ("EfficientNetB0", 0.859, 0.846, 0.871, 4.025),
        ("EfficientNetB1", 0.858, 0.844, 0.872, 6.531),
        ("EfficientNetB2", 0.866, 0.853, 0.880, 7.721),
        ("EfficientNetB3", 0.853, 0.837, 0.867, 10.718),
        ("InceptionV3", 0.862, 0.848, 0.876, 27.161),
        ("InceptionV4", 0.861, 0.846, 0.873, 42.680),
        ("MNASNet", 0.858, 0.845, 0.871, 5.290),
        ("MobileNetV2", 0.854, 0.839, 0.869, 2.242),
        ("MobileNetV3", 0.859, 0.847, 0.872, 4.220),
        ("ResNet101", 0.863, 0.848, 0.876, 44.549),
        ("ResNet18", 0.862, 0.847, 0.875, 11.690),
        ("ResNet34", 0.863, 0.849, 0.875, 21.798),
        ("ResNet50", 0.859, 0.843, 0.871, 25.557),
    ],
    columns=["model", "auc", "low", "high", "params_millions"],
).set_index("model")
"""Table 1 as printed: mean CheXpert AUC (95 % interval; ImageNet weights), and millions of parameters."""

PAPER_TABLE2 = pd.DataFrame(
    [
        ("EfficientNetB0", 0.00, 1.0, False),
        ("EfficientNetB0Minus1", 0.15, 1.4, False),
        ("EfficientNetB0Minus2", -0.45, 4.7, False),
        ("MNASNet", 0.00, 1.0, False),
        ("MNASNetMinus1", -0.07, 2.5, False),
        ("MNASNetMinus2", -2.30, 11.2, True),
        ("MNASNetMinus3", -2.51, 20.0, True),
        ("MNASNetMinus4", -6.40, 112.9, True),
        ("DenseNet121", 0.00, 1.0, False),
        ("DenseNet121Minus1", -0.04, 1.6, False),
        ("DenseNet121Minus2", -1.33, 5.3, True),
        ("DenseNet121Minus3", -4.73, 20.0, True),
        ("ResNet18", 0.00, 1.0, False),
        ("ResNet18Minus1", 0.24, 4.2, False),
        ("ResNet18Minus2", -3.70, 17.1, True),
        ("ResNet18Minus3", -8.33, 73.8, True),
    ],
    columns=["model", "change_percent", "times_smaller", "significant"],
).set_index("model")
"""Table 2 as printed: AUC change in percent, Times-Smaller, and its asterisk (p < 0.05); ImageNet weights."""

TIMES = PAPER_TABLE2["times_smaller"].map("{:.1f}".format).to_dict()
"""Table 2's Times-Smaller as texts, so that their digits are kept."""

TRANSFUSION_TABLE1 = pd.DataFrame(
    [
        ("ResNet50", "96.4", "96.7", 23570408, "92"),
        ("InceptionV3", "96.6", "96.7", 22881424, "93.9"),
        ("CBR-LargeT", "96.2", "96.2", 8532480, "77.5"),
        ("CBR-LargeW", "95.8", "95.8", 8432128, "75.1"),
        ("CBR-Small", "95.7", "95.8", 2108672, "67.6"),
        ("CBR-Tiny", "95.8", "95.8", 1076480, "73.5"),
    ],
    columns=["model", "random", "imagenet", "parameters", "top5"],
).set_index("model")
"""Raghu et al. 2019, Table 1: AUC in percent on retinal photographs from either init, "Parameters", and top-5
accuracy on ImageNet in percent."""

TRANSFUSION_TABLE2 = {
    "Atelectasis": "79.52 79.76 81.52 80.89 79.79 80.70 80.43 80.18 80.81 80.02",
    "Cardiomegaly": "75.23 74.93 74.83 76.84 74.63 77.23 74.36 75.24 75.17 75.74",
    "Consolidation": "85.49 84.42 88.12 86.15 86.71 86.87 88.07 86.48 85.31 84.28",
    "Edema": "88.34 88.89 87.97 89.03 84.80 89.57 86.20 89.09 84.87 89.81",
    "Pleural Effusion": "88.70 88.07 88.37 88.44 86.53 87.29 86.14 87.88 85.56 87.69",
}
"""Raghu et al. 2019, Table 2: AUC in percent on CheXpert, ten rows a column, without their names."""

TRANSFUSION_TABLE3 = {"ResNet50": ("92.2", "94.6"), "CBR-LargeT": ("93.6", "93.9"), "CBR-LargeW": ("93.6", "93.7")}
"""Raghu et al. 2019, Table 3: AUC in percent from 5,000 retinal photographs, random weights and pretrained."""

CHEXPERT_IMAGES = {"train": 223_414, "valid": 234, "test": 668}
"""Images in each of CheXpert's published label files (Irvin et al. 2019)."""

BATCH, EPOCHS, EVERY, KEPT = 16, 3, 8192, 10
"""CheXtransfer, section 3.1: images a gradient step, epochs, gradient steps between evaluations, checkpoints kept."""
