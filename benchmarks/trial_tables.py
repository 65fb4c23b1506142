"""Tables of recorded trainings: every configuration of a grid, trained to its end, with its validation accuracy after
each epoch. A search can be played against one in seconds, as often as one likes.

One CSV file a table, benchmarks/trial_tables/DATASET-ARCHITECTURE.csv, one line a training; in some tables each
configuration was trained more than once, from other seeds. What a table's trainings had in common stands here;
``record_trials.py`` trains.
"""

import csv
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "trial_tables"
EPOCHS = 27  # rungs at 1, 3, 9 and 27
LEARNING_RATES = tuple(float(f"{10 ** (place / 4 - 3):.3g}") for place in range(14))  # 0.001 to 1.78
WEIGHT_DECAYS = (1e-5, 1e-3, 1e-2)
SCHEDULES = ("constant", "multi_step", "cosine", "warmup_cosine", "one_cycle")
EPOCH_COLUMNS = tuple(f"epoch_{epoch}" for epoch in range(1, EPOCHS + 1))
COLUMNS = ("lr", "weight_decay", "schedule", *EPOCH_COLUMNS)


@dataclass(frozen=True)
class Configuration:
    """A point of the grid. Everything else is the default of cnnbench's recipe, but for some batch sizes."""

    lr: float
    weight_decay: float
    schedule: str


@dataclass(frozen=True)
class Network:
    """An architecture as ``network.build`` takes it, small enough for hundreds of trainings."""

    architecture: str
    width: float = 1.0
    depth: float = 1.0
    image_size: int = 12  # pixels a side
    normalized: bool = True  # has batch normalisations


GRID = tuple(Configuration(*point) for point in itertools.product(LEARNING_RATES, WEIGHT_DECAYS, SCHEDULES))
NETWORKS = {
    "lenet5": Network("lenet5", normalized=False),
    "simple_cnn": Network("simple_cnn", width=0.25),
    "resnet8": Network("resnet20", width=0.25, depth=1 / 3),
    "preact10": Network("preact_resnet18", width=0.125, depth=0.5),
    "vgg11": Network("vgg11_gap", width=0.125, image_size=16, normalized=False),
    "vgg11_bn": Network("vgg11_bn_gap", width=0.0625, image_size=16),
}
TRAINING_IMAGES = {"digits": 863, "fashion_mnist": 1000, "cifar10": 2000}
VALIDATION_IMAGES = {"digits": 575, "fashion_mnist": 1000, "cifar10": 2000}
BATCH_SIZES = {  # the others: 128, the recipe's default
    "digits-lenet5": 64, "digits-simple_cnn": 64,
    # in the few steps that larger batches leave, most trainings of so deep a network without norms do not even begin
    "digits-vgg11": 32, "fashion_mnist-vgg11": 32,
}  # fmt: skip
TABLES = (
    *(f"{dataset}-{network}" for dataset in ("digits", "fashion_mnist") for network in NETWORKS),
    "cifar10-lenet5",
)


@dataclass(frozen=True)
class Table:
    """``accuracies``: of each of a configuration's trainings, after each epoch; fewer where it diverged. Measured on
    ``validation_images``, after training ``network`` on ``training_images`` an epoch, in batches of ``batch_size``."""

    network: Network
    accuracies: Mapping[Configuration, Sequence[Sequence[float]]]
    training_images: int
    validation_images: int
    batch_size: int


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.csv"


def read_table(name: str) -> Table:
    """What was recorded so far of a table; nothing if it was not begun."""
    dataset, network = name.split("-")
    recorded = _recorded(path_of(name))
    images = TRAINING_IMAGES[dataset], VALIDATION_IMAGES[dataset]
    return Table(NETWORKS[network], recorded, *images, batch_size_of(name))


def batch_size_of(name: str) -> int:
    """Images in a batch of a table's trainings."""
    return BATCH_SIZES.get(name, 128)


def _recorded(path: Path) -> dict[Configuration, list[tuple[float, ...]]]:
    recorded: dict[Configuration, list[tuple[float, ...]]] = {}
    if path.exists():
        with path.open(newline="") as lines:
            for row in csv.DictReader(lines):
                configuration = Configuration(float(row["lr"]), float(row["weight_decay"]), row["schedule"])
                accuracies = tuple(float(row[column]) for column in EPOCH_COLUMNS if row[column])
                recorded.setdefault(configuration, []).append(accuracies)
    return recorded


def append(name: str, configuration: Configuration, accuracies: Sequence[float]) -> None:
    """Adds one finished training, whole or not at all as far as a reader can see: in a single write."""
    path = path_of(name)
    path.parent.mkdir(exist_ok=True)
    values = [f"{accuracy:.4f}" for accuracy in accuracies]
    cells = [f"{configuration.lr:g}", f"{configuration.weight_decay:g}", configuration.schedule, *values]
    cells += [""] * (len(COLUMNS) - len(cells))
    head = "" if path.exists() else ",".join(COLUMNS) + "\n"
    with path.open("a") as file:
        file.write(head + ",".join(cells) + "\n")


def nearest(lr: float, weight_decay: float, schedule: str) -> Configuration:
    """The grid's point for values drawn from the ranges that it spans, by the distance of logarithms."""
    return Configuration(_nearest(lr, LEARNING_RATES), _nearest(weight_decay, WEIGHT_DECAYS), schedule)


def _nearest(value: float, choices: Sequence[float]) -> float:
    return min(choices, key=lambda choice: abs(math.log(choice) - math.log(value)))
