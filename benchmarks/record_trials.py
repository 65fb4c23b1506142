"""Records the tables that ``make bench-search`` plays its searches against: real trainings by cnnbench's own loop.

    .venv/bin/python benchmarks/record_trials.py [TABLE …] [--times N] [--minutes M]

One thread, so that several of these can run side by side, a table each. A finished training is written at once; run
again, it goes on with what is missing. Each of a table's trainings has a seed of its own, as the trials of a search do.
"""

import argparse
import contextlib
import itertools
import time

import torch
from trial_tables import EPOCHS, GRID, NETWORKS, TABLES, Configuration, append, batch_size_of, read_table

from cnnbench.data.image_normalization import Normalization
from cnnbench.data.seeds import derived_seed
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.precision import Precision
from cnnbench.study import Data
from cnnbench.training.allocator import keep_freed_memory
from cnnbench.training.loop import set_seed, train
from cnnbench.training.outcome import Diverged, EpochMetrics
from cnnbench.training.recipe import Recipe
from cnnbench.trial.study_images import Sources, open_sources

# Training and validation images: the validation half of digits is as large as it can be, so that accuracies have few
# ties; of the others a stratified subset. No data set's test images are read.
DATA = {
    "digits": Data(dataset="digits", validation_fraction=0.4),
    "fashion_mnist": Data(dataset="fashion_mnist", train_limit=2000, validation_fraction=0.5),
    "cifar10": Data(dataset="cifar10", train_limit=4000, validation_fraction=0.5),
}


def train_one(network: str, seed: int, configuration: Configuration, sources: Sources) -> list[float]:
    """The validation accuracy after each epoch; fewer than EPOCHS if the training diverged."""
    training, validation = sources.training, sources.validation
    accuracies: list[float] = []

    def on_epoch(metrics: EpochMetrics) -> None:
        assert metrics.val_accuracy is not None
        accuracies.append(metrics.val_accuracy)

    chosen = NETWORKS[network]
    set_seed(derived_seed(seed, "weights"))
    spec = NetworkSpec(
        chosen.architecture, classes=10, channels=training.pixels.shape[1], image_size=sources.data.image_size or 0,
        width=chosen.width, depth=chosen.depth,
    )  # fmt: skip
    built, _ = build(spec)
    recipe = Recipe(
        lr=configuration.lr, weight_decay=configuration.weight_decay, schedule=configuration.schedule,
        batch_size=batch_size_of(f"{sources.data.dataset}-{network}"),
    )  # fmt: skip
    with contextlib.suppress(Diverged):
        train(
            built, training, validation, recipe, normalization=Normalization.of(training), epochs=EPOCHS,
            seed=seed, device=torch.device("cpu"), precision=Precision("fp32", channels_last=True), on_epoch=on_epoch,
        )  # fmt: skip
    return accuracies


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tables", nargs="*", default=list(TABLES), help=", ".join(TABLES))
    parser.add_argument("--times", type=int, default=1, help="that each configuration is trained, from other seeds")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no training after")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    begin, trained = time.monotonic(), 0
    for name in arguments.tables:
        dataset, network = name.split("-")
        sources = open_sources(DATA[dataset].model_copy(update={"image_size": NETWORKS[network].image_size}))
        for seed, (earlier, configuration) in enumerate(itertools.product(range(arguments.times), GRID)):
            # read anew: another process may be at it, too
            if len(read_table(name).accuracies.get(configuration, ())) > earlier:
                continue
            if time.monotonic() - begin > 60 * arguments.minutes:
                return
            append(name, configuration, train_one(network, seed, configuration, sources))
            trained += 1
            pace = (time.monotonic() - begin) / trained
            print(f"{name} {seed + 1}/{arguments.times * len(GRID)}: {pace:.2f} s each", flush=True)


if __name__ == "__main__":
    main()
