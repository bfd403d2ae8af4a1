"""CheXtransfer, section 3: data, training, evaluation, truncation."""

from __future__ import annotations

from functools import partial

from chexlib.paper.claims import own_tables, recounts
from chexlib.paper.claims.statement import DATA, PROTOCOL, Statement

EFFICIENT = {"DenseNet121's place": "DenseNet121", "MNASNet's place": "MNASNet"}

METHODS = [
    Statement("3.1-images", "3.1", "CheXpert has this many X-rays", {"images": "224,316"}, own_tables.images,
              study=DATA),
    Statement("3.1-patients", "3.1", "They are of this many patients", {"patients": "65,240"}, study=DATA),
    Statement("3.1-observations", "3.1", "They are labelled for this many observations", {"observations": "14"},
              study=DATA),
    Statement("3.1-tasks", "3.1", "Models are judged by the mean AUC over five competition tasks and No Finding",
              {"tasks": "6"}, study=PROTOCOL),
    Statement("3.1-models", "3.1", "DenseNet, ResNet, Inception, MNASNet, EfficientNet and MobileNet in these numbers",
              {"architectures": "16"}, own_tables.architectures),
    Statement("3.1-mnasnet", "3.1", "MNASNet is taken from Cadene's library, as both Inceptions are, and has this size",
              {"parameters (M)": "5.290"}, count=partial(recounts.parameters, model="MNASNet")),
    Statement("3.1-adam", "3.1", "Adam with these decay rates", {"β₁": "0.9", "β₂": "0.999"}, study=PROTOCOL),
    Statement("3.1-rate", "3.1", "Learning rate", {"learning rate": "1e-4"}, study=PROTOCOL),
    Statement("3.1-batch", "3.1", "Images in a batch", {"images": "16"}, study=PROTOCOL),
    Statement("3.1-epochs", "3.1", "Epochs of training", {"epochs": "3"}, study=PROTOCOL),
    Statement("3.1-checkpoints", "3.1",
              "The best checkpoints, one every 8,192 gradient steps, make an ensemble of this many",
              {"checkpoints": "10"}, own_tables.checkpoints, study=PROTOCOL),
    Statement("3.1-replicates", "3.1", "Bootstrap replicates of the test set", {"replicates": "1,000"}, study=PROTOCOL),
    Statement("3.1-interval", "3.1", "Percentiles that bound an interval", {"percentiles": "2.5 to 97.5"},
              study=PROTOCOL),
    Statement("3.1-significance", "3.1", "Level at which significance is judged", {"level": "0.05"}, study=PROTOCOL),
    Statement("3.2-efficiency", "3.2", "DenseNet121 and MNASNet give the most AUC per parameter",
              reading={"DenseNet121's place": "1 to 2", "MNASNet's place": "1 to 2"},
              own=partial(own_tables.efficiency_rank, ranks=EFFICIENT),
              count=partial(recounts.efficiency_rank, ranks=EFFICIENT)),
    Statement("3.2-smallest", "3.2",
              "EfficientNetB0 is the smallest current architecture (which are current is not said; "
              "here MobileNets are left out)", reading={"smaller ones": "0"},
              own=partial(own_tables.smaller, model="EfficientNetB0"),
              count=partial(recounts.smaller, model="EfficientNetB0")),
    Statement("3.2-blocks", "3.2", "Blocks that are dropped at most, by architecture",
              {"DenseNet121": "3", "MNASNet": "4", "ResNet18": "3", "EfficientNetB0": "2"},
              own_tables.deepest, recounts.blocks),
]  # fmt: skip
