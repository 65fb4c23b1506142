"""Running statistics that are taken anew for the weights as they are."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from cnnbench.data.image_normalization import Normalization
from cnnbench.data.images import Images
from cnnbench.data.readers import DATASETS
from cnnbench.data.splits import stratified_split
from cnnbench.evaluation.evaluate import evaluate
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.precision import COMBINATIONS, FP32
from cnnbench.training.batch_norm import IMAGES, Settling
from cnnbench.training.loop import set_seed, train
from cnnbench.training.recipe import Recipe
from trainings import CPU, PLAIN, random_images, run, small_network


def settling(images: Images, seed: int = 0) -> Settling:
    return Settling(images, Normalization.of(images), seed=seed, device=CPU, precision=FP32)


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("count", [2, 200, 257, 1025])
def test_statistics_are_the_mean_and_variance_of_what_the_sample_gives(count):
    images = random_images(count)
    scale, shift = Normalization.of(images).scale_and_shift(CPU)
    inputs = images.pixels.float() * scale + shift
    network = nn.Sequential(nn.Conv2d(inputs.shape[1], 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(10))
    network(inputs)
    settling(images).settle(network)
    with torch.no_grad():
        outputs = network[0](inputs)
    tolerance = 1e-5 if count <= 256 else 0.01  # a mean of batches' variances; of 1,025 images one is not in the sample
    assert torch.allclose(network[1].running_mean, outputs.mean((0, 2, 3)), atol=tolerance)
    assert torch.allclose(network[1].running_var, outputs.var((0, 2, 3)), rtol=tolerance)


def test_all_else_stays_as_it_was():
    network = small_network(norm=True, dropout=0.5)
    images = random_images(64)
    network.train()
    network(torch.randn(8, *images.pixels.shape[1:]))
    before, dice = state(network), torch.get_rng_state()
    settling(images).settle(network)
    after = state(network)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.endswith(("running_mean", "running_var")) for name in changed)
    assert torch.equal(dice, torch.get_rng_state()), "dropout was on"
    assert all(module.training for module in network.modules())
    assert {module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {0.1}
    settling(images).settle(network)
    assert same(after, state(network)), "what was there before has a part in it"


@pytest.mark.parametrize("norm", [True, False])
def test_one_image_and_a_network_without_batch_normalisation_are_left_alone(norm):
    network = small_network(norm=norm)
    before = state(network)
    settling(random_images(1 if norm else 64)).settle(network)
    assert same(before, state(network))


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9}])
def test_what_is_validated_and_what_training_ends_with_is_settled(changes):
    recipe = dataclasses.replace(PLAIN, **changes)
    training = random_images(64)
    for validation in (random_images(40, seed=1), None):
        network = small_network(norm=True)
        run(recipe, network, validation=validation)
        before = state(network)
        settling(training).settle(network)
        assert same(before, state(network))


def test_a_resnet_is_validated_as_what_it_has_learnt():
    """At a high learning rate, PyTorch's own running statistics are so late that little of it shows."""
    digits = DATASETS["digits"].thing.load_train()
    kept, held = stratified_split(digits.labels, 0.4, seed=0)
    training, validation = digits.take(kept), digits.take(held)
    normalization = Normalization.of(training)
    set_seed(0)
    network, _ = build(NetworkSpec("resnet20", classes=10, channels=1, image_size=8, width=0.25, depth=1 / 3))
    late: list[float] = []
    as_trained: dict[str, torch.Tensor] = {}

    def keep(module: nn.Module, _: object, __: object) -> None:
        """After each step's forward pass: the statistics as PyTorch would have validated them."""
        if module.training:
            as_trained.update(state(module))

    hook = network.register_forward_hook(keep)

    def on_epoch(_: object) -> None:
        other = copy.deepcopy(network)
        statistics = {name: value for name, value in as_trained.items() if "running" in name}
        other.load_state_dict({**state(network), **statistics})
        late.append(evaluate(other, validation, normalization=normalization, device=CPU).accuracy)

    recipe = Recipe(lr=0.5, batch_size=128, schedule="constant")
    trained = train(
        network, training, validation, recipe, normalization=normalization, epochs=6, seed=0, device=CPU,
        on_epoch=on_epoch,
    )  # fmt: skip
    hook.remove()
    shown = [metrics.val_accuracy for metrics in trained.history]
    learnt = [metrics.train_accuracy for metrics in trained.history]
    assert min(shown[2:]) > 0.7 and min(late[2:]) < min(shown[2:]) - 0.1, (shown, late, learnt)


@pytest.mark.parametrize("precision", COMBINATIONS)
def test_settles_in_every_precision(precision):
    images = random_images(64)
    network = precision.place(small_network(norm=True), CPU)
    Settling(images, Normalization.of(images), seed=0, device=CPU, precision=precision).settle(network)
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())


def test_the_sample_is_a_thousand_images_that_the_seed_draws():
    images = random_images(IMAGES + 500)
    first, again, other = (settling(images, seed)._batches for seed in (0, 0, 1))
    assert len(first.labels) == IMAGES and torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)
