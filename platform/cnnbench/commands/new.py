"""``cnnbench new``: a study file to begin with, a comment on each field that matters."""

import json
from collections.abc import Iterator
from pathlib import Path

from cnnbench.data.readers import DATASETS
from cnnbench.data.sources import data_root
from cnnbench.errors import UserError
from cnnbench.study import is_slug
from cnnbench.study.ready_made import ready_made_studies

OWN_SIZE = 64  # pixels, where the data set has no size of its own
SMALLEST_SIZE = 16  # to which smaller images are enlarged: below, networks that halve them four times see nothing
NAMED_CLASSES = 10
FEWEST_BATCHES = 8  # an epoch; with fewer, a few epochs train nothing
_SMALL = ("simple_cnn", "lenet5", "resnet20", "mobilenet_v2")
_LARGE = ("simple_cnn", "resnet18", "mobilenet_v2", "shufflenet_v2_x1_0")

_TEXT = """\
# A comparison of convolutional networks on {dataset}, made by `cnnbench new`: change what you like.
#
#   cnnbench run {name}.yaml --dry-run     what it will do, and about how long it takes here
#   cnnbench run {name}.yaml               search, finals and leaderboard; run again, it continues
#
# `cnnbench choices` lists the names that may stand here, `cnnbench models` the architectures.
study: {name}  # names the folder results/{name}, the MLflow experiment and reports/{name}

data:
  dataset: {dataset}
  root: {root}  # where the data lie; null: $CNNBENCH_DATA, else ~/.cache/cnnbench/data
  image_size: {image_size}  # pixels a side; images are resized once. Twice the side is four times the work
  channels: {channels}  # 1 grey, 3 colour, null: as the data set has them
  validation_fraction: 0.15  # of the training images, which the search scores on{validation}

architectures:  # the rows of the leaderboard; {{name: resnet20, width: 0.5}} is one of half the width
{architectures}

space:  # what trials may differ in; a plain value is the same in all
  optimizer:
    choice:  # what stands below a choice exists only under it
      sgd: {{lr: {{float: [0.005, 0.2], log: true}}}}
      adamw: {{lr: {{float: [1e-4, 5e-3], log: true}}}}
  schedule: warmup_cosine  # of the learning rate
  warmup_epochs: 2
  weight_decay: {{float: [1e-5, 1e-2], log: true}}
  label_smoothing: {{choice: [0.0, 0.1]}}
  batch_size: {batch_size}  # images an optimizer step
  crop_padding: {crop_padding}  # images are shifted at random by up to so many pixels
  horizontal_flip: {flip}  # mirrored at random; false where that changes what is seen (digits, text)
  dropout: {{choice: [original, 0.2, 0.5]}}  # a component; original: as the architecture's paper has it

# Each architecture gets the same: so many trials, each of at most so many epochs. More of either finds better networks.
budget: {{trials: 20, epochs: 30}}
# asha stops trials that fall behind, from min_epochs on; pruner: none trains each to its end
search: {{sampler: tpe, pruner: asha, min_epochs: 3, seed: 0}}
# Each winner is trained again with so many seeds, and tested. Fewer than 6 can't show a difference at p < 0.05.
finals: {{seeds: 6}}
# What `cnnbench effects {name}.yaml` swaps in each tuned network, one at a time, after the study
effects: {{components: {{activation: [relu, silu]}}}}
# gpus auto: one a trial where there are any; concurrent_trials auto: as many as fit
resources: {{cpus: 1, gpus: auto, concurrent_trials: auto}}
unreached_components: leave_out  # a component that an architecture has no place for; refuse: don't start
"""


def write(name: str, dataset: str, root: Path | None) -> Iterator[str]:
    """Writes NAME.yaml into the current folder, and says what it found and what to do next. Raises UserError where it
    would overwrite a file, and for a name, data set or folder that will not do."""
    file = Path(f"{name}.yaml")
    if not is_slug(name):
        raise UserError(f"{name!r} is no plain name: small letters, digits, '_', '-', '.', at most 64")
    if name in ready_made_studies():
        raise UserError(f"{name}: a ready-made study has this name, and would share its folders; choose another")
    facts = DATASETS[dataset].facts
    place = None if root is None else data_root(root).resolve()
    counts = facts["count"](place or data_root()) if "count" in facts else {}
    text = _text(name, dataset, place, sum(counts.values()))
    try:
        with open(file, "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise UserError(f"{file}: exists; choose another name, or remove it") from None
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    if counts:
        named = ", ".join(f"{label} ({count})" for label, count in list(counts.items())[:NAMED_CLASSES])
        more = f" and {len(counts) - NAMED_CLASSES} more" if len(counts) > NAMED_CLASSES else ""
        yield f"{sum(counts.values()):,} training images of {len(counts)} classes: {named}{more}"
    yield f"{file} is written. What it will do, and about how long it takes:\n  cnnbench run {file} --dry-run"


def _text(name: str, dataset: str, root: Path | None, images: int) -> str:
    """images: to train on, 0: not known, but no few."""
    facts = DATASETS[dataset].facts
    own = facts["image_size"] is None
    image_size = OWN_SIZE if own else max(SMALLEST_SIZE, facts["image_size"])
    batch_size = 64
    while images and batch_size > 8 and images < FEWEST_BATCHES * batch_size:
        batch_size //= 2
    return _TEXT.format(
        name=name, dataset=dataset, root="null" if root is None else json.dumps(str(root), ensure_ascii=False),
        image_size=image_size, channels=3 if own else "null", batch_size=batch_size, crop_padding=image_size // 10,
        validation="; of no account where there is a val/ folder" if own else "",
        architectures="\n".join(f"  - {each}" for each in (_LARGE if image_size > 32 else _SMALL)),
        flip="true" if own else "{choice: [false, true]}",
    )  # fmt: skip
