"""The exponential moving average of the weights."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from cnnbench.data.image_normalization import Normalization
from cnnbench.evaluation.evaluate import evaluate
from cnnbench.training.averaging import WeightAverage
from cnnbench.training.weights import load_weights
from trainings import CPU, PLAIN, random_images, run, small_network, weights

AVERAGED = dataclasses.replace(PLAIN, ema_decay=0.9)


def published(start: np.ndarray, values: list[np.ndarray], decay: float) -> np.ndarray:
    """The average as a sum over all steps: value s weighs (1 - d_s) times the later decays."""
    decays = [min(decay, (1 + step) / (10 + step)) for step in range(1, len(values) + 1)]
    shares = [(1 - decays[s]) * np.prod(decays[s + 1 :]) for s in range(len(values))]
    total = np.prod(decays) * start + sum(share * value for share, value in zip(shares, values, strict=True))
    assert np.prod(decays) + sum(shares) == pytest.approx(1.0)
    return total


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_average_is_the_closed_form_for_weights_and_running_statistics(decay):
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = WeightAverage(network, decay)
    names = [name for name, tensor in network.state_dict().items() if tensor.is_floating_point()]
    start = {name: network.state_dict()[name].double().numpy().copy() for name in names}
    values: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for step in range(1, 31):
        for name, tensor in network.state_dict().items():
            tensor.copy_(torch.randn(tensor.shape)) if name in names else tensor.add_(1)
        for name in names:
            values[name].append(network.state_dict()[name].double().numpy().copy())
        average.update(network, step)
    averaged = average.network.state_dict()
    assert {"1.running_mean", "1.running_var"} <= set(names)
    for name in names:
        assert np.allclose(averaged[name].numpy(), published(start[name], values[name], decay), atol=1e-5), name
    assert int(averaged["1.num_batches_tracked"]) == 30


def test_a_training_ends_with_the_average_of_its_steps():
    network = small_network()
    start, steps = weights(network).double().numpy(), []
    recipe = dataclasses.replace(AVERAGED, batch_size=64)  # one step an epoch
    run(recipe, network, epochs=12, on_epoch=lambda _: steps.append(weights(network).double().numpy()))
    assert np.allclose(weights(network).numpy(), published(start, steps, 0.9), atol=1e-6)
    plain = small_network()
    run(dataclasses.replace(recipe, ema_decay=0.0), plain, epochs=12)
    assert np.allclose(weights(plain).numpy(), steps[-1], atol=1e-7)  # averaging only watches


def test_validation_and_best_weights_are_those_of_the_average(tmp_path):
    file = tmp_path / "best.pt"
    trained, network = run(AVERAGED, small_network(norm=True), epochs=4, best_weights=file)
    held, normalization = random_images(40, seed=1), Normalization.of(random_images(64))
    final = evaluate(network, held, normalization=normalization, device=CPU)
    assert (final.loss, final.accuracy) == (trained.history[-1].val_loss, trained.history[-1].val_accuracy)
    best = small_network(seed=9, norm=True)
    load_weights(best, file)
    again = evaluate(best, held, normalization=normalization, device=CPU)
    assert again.loss == trained.history[trained.best_epoch - 1].val_loss


def test_an_average_needs_no_gradients_and_leaves_the_network_its_own():
    network = small_network(norm=True)
    average = WeightAverage(network, 0.9)
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters()) and network.training
    shared = {tensor.data_ptr() for tensor in network.state_dict().values()}
    assert shared.isdisjoint(tensor.data_ptr() for tensor in average.network.state_dict().values())
