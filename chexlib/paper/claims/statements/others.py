"""The numeric statements of In-domain Pre-training (2021) and of Transfusion (2019)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from chexlib.paper.as_printed import TRANSFUSION_TABLE1, TRANSFUSION_TABLE3
from chexlib.paper.claims import from_study, own_tables, recounts
from chexlib.paper.claims.criteria import above, below, no_gain
from chexlib.paper.claims.statement import (
    COUNT,
    DATA,
    ELSEWHERE,
    IN_DOMAIN,
    NOT_PLANNED,
    PROTOCOL,
    TRANSFUSION,
    Statement,
)

GAIN = {"page": "03_pretraining_boost"}

IN_DOMAIN_ROWS = [
    Statement("id-densenet-imagenet", "abstract, 5.4", "ImageNet weights help DenseNet121, against random ones",
              study=partial(from_study.boosts, models=("DenseNet121",)), criterion=above, **GAIN),
    Statement("id-resnet-imagenet", "abstract, 5.4", "ImageNet weights hurt ResNet50, against random ones",
              study=partial(from_study.boosts, models=("ResNet50",)), criterion=below, **GAIN),
    Statement("id-densenet-domain", "abstract, 5.4", "Pretraining on chest X-rays hurts DenseNet121",
              study=NOT_PLANNED),
    Statement("id-resnet-domain", "abstract, 5.4", "Pretraining on chest X-rays helps ResNet50", study=NOT_PLANNED),
    Statement("id-images", "3", "CheXpert has these images and patients", {"images": "224,316", "patients": "65,240"},
              own_tables.images, study=DATA),
    Statement("id-nih", "3", "ChestX-ray8 has these images, patients and diseases",
              {"images": "108,948", "patients": "32,717", "diseases": "8"}, study=DATA),
    Statement("id-decay", "Figure 3", "Weight decay of 1e-6 changes nothing, 1e-4 stops overfitting",
              {"too little": "1e-6", "enough": "1e-4"}, study=NOT_PLANNED),
    Statement("id-epochs", "4.3", "Barlow Twins is trained for this many epochs", {"epochs": "50"}, study=PROTOCOL),
    Statement("id-auxiliary", "5.2", "Auxiliary losses (sex, age, angle) increase overfitting", study=NOT_PLANNED),
    Statement("id-resnet152", "5.2", "DenseNet121 does slightly better than ResNet152", study=NOT_PLANNED),
    Statement("id-third", "5.4",
              "DenseNet121 has about a third of the parameters of ResNet50 (read as nearer to a third "
              "than to a half or a quarter)", reading={"one part in": "2.5 to 3.5"},
              count=partial(recounts.one_part_in, small="DenseNet121", large="ResNet50"), study=COUNT),
]  # fmt: skip

TRANSFUSION_ROWS = [
    Statement("tf-cxr-boost", "abstract, 3.2",
              "Transfer does not significantly help ResNet50 and InceptionV3 on CheXpert",
              study=partial(from_study.boosts, models=("ResNet50", "InceptionV3")), criterion=no_gain, **GAIN),
    Statement("tf-cbr-cxr", "Table 2", "Small networks do as well as ImageNet architectures on CheXpert",
              study=NOT_PLANNED),
    *(Statement(f"tf-t2-{task.split()[0].lower()}", "3.2, Table 2", f"Transfer {how} {task} on CheXpert",
                reading={"mean change": bound}, own=partial(own_tables.transfusion_task, task=task),
                study=NOT_PLANNED)
      for how, bound, tasks in (("slightly hurts", "< 0", ("Atelectasis", "Cardiomegaly", "Consolidation")),
                                ("helps with", "> 0", ("Edema", "Pleural Effusion")))
      for task in tasks),
    *(Statement(f"tf-t1-{model.lower()}", "Table 1",
    f"{model}: AUC in percent on retinal photographs, from either init",
                {"random": row.random, "transfer": row.imagenet}, study=ELSEWHERE)
      for model, row in zip(TRANSFUSION_TABLE1.index, TRANSFUSION_TABLE1.itertuples(), strict=True)),
    *(Statement(f"tf-top5-{model.lower()}", "Table 1", f"{model}: top-5 accuracy on ImageNet in percent",
                {"top-5": top5}, study=ELSEWHERE) for model, top5 in TRANSFUSION_TABLE1["top5"].items()),
    *(Statement(f"tf-size-{model.lower()}", "Table 1", f"Parameters of {model}", {"parameters": f"{n:,}"},
                count=partial(recounts.cbr if model.startswith("CBR") else recounts.five_classes, model=model))
      for model, n in TRANSFUSION_TABLE1["parameters"].items()),
    *(Statement(f"tf-t3-{model.lower()}", "Table 3",
    f"{model}: AUC in percent from 5,000 retinal photographs, either init",
                {"random": random, "transfer": transfer}, study=ELSEWHERE)
      for model, (random, transfer) in TRANSFUSION_TABLE3.items()),
    Statement("tf-fraction", "3.2", "Transfer adds a fraction of a percent to ResNet50", reading={"gain": "0.0 to 1.0"},
              own=partial(own_tables.transfusion_gain, model="ResNet50"), study=ELSEWHERE),
    Statement("tf-small-none", "3.2", "Transfer does not help the small networks at all, CBR-Small for one",
              reading={"gain": "0.0"}, own=partial(own_tables.transfusion_gain, model="CBR-Small"), study=ELSEWHERE),
    Statement("tf-third", "3.1", "CBR-LargeT has a third of the size of an ImageNet model (one part in 2.5 to 3.5)",
              reading={"percent": "29 to 40"},
              own=partial(own_tables.share_of, small="CBR-LargeT", large="ResNet50"),
              count=partial(recounts.share_of, small="CBR-LargeT", large="ResNet50")),
    Statement("tf-twentieth", "3.1", "CBR-Tiny has a twentieth (one part in 17 to 24)", reading={"percent": "4 to 6"},
              own=partial(own_tables.share_of, small="CBR-Tiny", large="ResNet50"),
              count=partial(recounts.share_of, small="CBR-Tiny", large="ResNet50")),
    Statement("tf-layers", "3.1", "The small networks repeat their basic layer four to five times",
              {"layers": "4 to 5"},
              count=recounts.layers),
    Statement("tf-repetitions", "3.2", "Every model and initialisation is trained three times", {"repetitions": "3"},
              study=PROTOCOL),
    Statement("tf-pixels", "2", "X-rays are seen at this size", {"pixels": "224"}, study=PROTOCOL),
    Statement("tf-r2", "Figure 4",
              "ResNet's first layer: how alike two networks are at initialisation goes with how alike they are at "
              "convergence, for random against pretrained weights and for two random ones (which R² is whose is not "
              "said)",
              {"one R²": "0.75", "the other": "0.84"}, study=NOT_PLANNED),
    Statement("tf-mean-var", "Figure 6", "Weights with the pretrained ones' mean and variance alone converge faster",
              study=NOT_PLANNED),
    Statement("tf-steps", "Figure 7",
              "Reusing the first layers alone gives the greatest gain in steps to an AUC of 91 %",
              {"percent": "91"}, study=NOT_PLANNED),
]  # fmt: skip


OTHERS = [
    *(replace(row, paper=IN_DOMAIN) for row in IN_DOMAIN_ROWS),
    *(replace(row, paper=TRANSFUSION) for row in TRANSFUSION_ROWS),
]
