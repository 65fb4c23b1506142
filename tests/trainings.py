"""Small trainings for tests: noise images of three classes, and a network that learns them on one CPU."""

import dataclasses
from typing import Any

import torch
from torch import nn

from cnnbench.data.image_normalization import Normalization
from cnnbench.data.images import Images
from cnnbench.training.loop import set_seed, train
from cnnbench.training.outcome import EpochMetrics, Trained
from cnnbench.training.recipe import Recipe

CPU = torch.device("cpu")


def random_images(count: int, seed: int = 0, size: int = 6) -> Images:
    """Noise whose class is the brightest of three columns: learnable, but not at once."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 200, (count, 1, size, size), generator=generator)
    labels = torch.randint(0, 3, (count,), generator=generator)
    pixels[torch.arange(count), :, :, labels * 2] += 55
    return Images(pixels.to(torch.uint8), labels, ("left", "middle", "right"))


def small_network(seed: int = 0, dropout: float = 0.0, norm: bool = False) -> nn.Module:
    set_seed(seed)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(144, 3))


def run(recipe: Recipe, network: nn.Module | None = None, epochs: int = 3, **options: Any) -> tuple[Trained, nn.Module]:
    network = network or small_network()
    training = random_images(64)
    given: dict[str, Any] = {"validation": random_images(40, seed=1), "seed": 0, "device": CPU, **options}
    trained = train(network, training, recipe=recipe, normalization=Normalization.of(training), epochs=epochs, **given)
    return trained, network


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def without_seconds(history: tuple[EpochMetrics, ...]) -> list[EpochMetrics]:
    return [dataclasses.replace(metrics, seconds=0.0) for metrics in history]


PLAIN = Recipe(lr=0.05, momentum=0.9, batch_size=16, schedule="constant", weight_decay=0.0)
