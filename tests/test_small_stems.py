"""torchvision's architectures with a stem for small images: known sizes, and a training step at each image form."""

import inspect

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from cnnbench.architectures import ARCHITECTURES
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec

NAMES = (
    *("alexnet", "vgg11", "vgg11_bn", "vgg16", "vgg16_bn", "resnet18", "squeezenet1_1", "mobilenet_v2"),
    *("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "convnext_atto", "convnext_tiny"),
)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def narrow(name: str) -> float:
    return 0.25 if "width" in inspect.signature(ARCHITECTURES[name].thing).parameters else 1.0


def train_one_step(network: nn.Module, channels: int, size: int) -> None:
    """Raises unless a step of SGD changes every parameter's gradient from none to something finite."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    loss = F.cross_entropy(network(torch.randn(4, channels, size, size)), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_173_962),
        ("mobilenet_v2", 2_236_682),
        ("vgg16_bn", 14_728_266),
    ],
)
def test_parameter_counts_at_32_pixels_and_10_classes_are_the_known_ones(name: str, parameters: int):
    network, _ = build(NetworkSpec(name, classes=10, channels=3, image_size=32))
    assert count(network) == parameters


@pytest.mark.parametrize("name", [name for name in NAMES if name != "convnext_atto"])  # torchvision has none
def test_with_the_imagenet_stem_parameter_names_and_shapes_are_those_of_torchvision(name: str):
    with torch.device("meta"):
        ours, _ = build(NetworkSpec(name, classes=1000, channels=3, image_size=224))
        theirs = torchvision.models.get_model(name, weights=None)
    shapes = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    assert {key: tensor.shape for key, tensor in ours.state_dict().items()} == shapes


def test_resnet18_with_the_imagenet_stem_computes_what_torchvisions_does():
    theirs = torchvision.models.resnet18(weights=None).eval()
    ours, _ = build(NetworkSpec("resnet18", classes=1000, channels=3, image_size=64, stem="imagenet"))
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours.eval()(images), theirs(images))


@pytest.mark.parametrize("size", [16, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_trains_one_step_on_grey_and_colour_images(name: str, channels: int, size: int):
    network, report = build(NetworkSpec(name, classes=5, channels=channels, image_size=size, width=narrow(name)))
    assert report.stem == "small"
    train_one_step(network, channels, size)


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_takes_the_smallest_image_that_it_says_it_takes(name: str):
    size = ARCHITECTURES[name].facts["smallest"]["small"]
    network, _ = build(NetworkSpec(name, classes=5, channels=1, image_size=size, width=narrow(name)))
    train_one_step(network, 1, size)


@pytest.mark.parametrize("name", NAMES)
def test_every_imagenet_stem_takes_the_smallest_image_that_it_says_it_takes(name: str):
    size = ARCHITECTURES[name].facts["smallest"]["imagenet"]
    with torch.device("meta"):
        network, _ = build(NetworkSpec(name, classes=5, channels=1, image_size=size, stem="imagenet"))
        assert network.eval()(torch.empty(1, 1, size, size)).shape == (1, 5)


def test_a_quarter_of_the_width_has_about_a_sixteenth_of_the_parameters():
    for name in ("resnet18", "vgg11_bn", "convnext_atto"):
        with torch.device("meta"):
            wide, _ = build(NetworkSpec(name, classes=10, channels=3, image_size=32))
            slim, _ = build(NetworkSpec(name, classes=10, channels=3, image_size=32, width=0.25))
        assert 14 < count(wide) / count(slim) < 17


def test_every_architecture_says_its_year_family_and_paper():
    for name in NAMES:
        facts = ARCHITECTURES[name].facts
        assert 2012 <= facts["year"] <= 2022
        assert facts["family"]
        assert facts["paper"].startswith(("arXiv:", "doi:"))
