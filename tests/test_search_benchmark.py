"""The recorded trainings of ``make bench-search`` are whole, and cnnbench's search is better than random on them."""

from statistics import median

import pytest
import torch
from search import epochs_to, targets
from trial_tables import EPOCHS, GRID, NETWORKS, TABLES, nearest, read_table

from cnnbench.components import is_normalized
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec


def test_there_are_three_architectures_on_two_data_sets_and_two_hundred_configurations_of_each():
    assert {f"{dataset}-{network}" for dataset in ("digits", "fashion_mnist") for network in NETWORKS} <= set(TABLES)
    assert len(NETWORKS) >= 3 and len(GRID) >= 200 and len(set(GRID)) == len(GRID)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_every_epoch_of_every_configuration(name):
    """Or of all until it diverged: learning rates reach from one that hardly trains to one that is too large."""
    table = read_table(name).accuracies
    trainings = [(configuration, each) for configuration, all_of in table.items() for each in all_of]
    assert set(table) == set(GRID) and len(trainings) % len(GRID) == 0
    short = [configuration for configuration, accuracies in trainings if len(accuracies) < EPOCHS]
    assert len(short) <= 0.15 * len(trainings) and all(configuration.lr >= 0.1 for configuration in short)
    assert all(0 <= accuracy <= 1 for _, accuracies in trainings for accuracy in accuracies)
    best, _ = max(trainings, key=lambda training: training[1][-1:])
    rates = sorted({configuration.lr for configuration in GRID})
    assert rates[0] < best.lr < rates[-1]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_table_says_whether_its_network_has_normalisations(network):
    with torch.device("meta"):
        built, _ = build(NetworkSpec(network.architecture, classes=10, channels=1, image_size=network.image_size))
    assert is_normalized(built) is network.normalized


def test_a_drawn_value_is_led_to_the_nearest_configuration():
    assert nearest(0.13, 2e-4, "cosine") == GRID[GRID.index(nearest(0.1, 1e-3, "cosine"))]
    assert {nearest(c.lr, c.weight_decay, c.schedule) for c in GRID} == set(GRID)


def test_the_search_needs_fewer_epochs_than_random_search():
    """Without its warm start, which needs hardly any: medians of 15 seeds, with room for their chance."""
    name, trials, seeds = "fashion_mnist-lenet5", 20, 15
    table, wanted = read_table(name), [targets(name, trials, 50)["within its standard error"]]
    spent = {
        searcher: median(epochs_to(wanted, searcher, table, seed, 10 * trials * EPOCHS)[0] for seed in range(seeds))
        for searcher in ("random", "cnnbench without warm start", "random + foresight")
    }
    assert spent["random + foresight"] < spent["cnnbench without warm start"] < 0.8 * spent["random"]
