"""Our own architectures: a training step at each image form, smallest sizes, and what each paper's network is made of.
Their sizes are in test_published_sizes.py; torchvision's architectures have tests of their own. What holds for all is
asked of all that are registered, so of a new file, too."""

import datetime
import inspect
import operator

import numpy as np
import pytest
import torch
import torchvision
from torch import fx, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from cnnbench.architectures import ARCHITECTURES
from cnnbench.architectures.alexnet_2012 import AlexNet2012
from cnnbench.architectures.cbam_resnet import CBAM
from cnnbench.architectures.preact_resnet import PreActBlock
from cnnbench.architectures.resnet import BasicBlock
from cnnbench.networks.build import BuildError, build, sites
from cnnbench.networks.spec import NetworkSpec

VGG_GAP = tuple(f"vgg{layers}{bn}_gap" for layers in (11, 13, 16, 19) for bn in ("", "_bn"))
UNPADDED = ("lenet5", "simple_cnn", "alexnet_2012", *VGG_GAP)  # their poolings
PADDED = (
    *("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "wide_resnet28_10", "wide_resnet40_4"),
    *("preact_resnet18", "modern_cnn", "cbam_resnet18", "regularized_resnet18", "mobilenet_v1"),
)
TORCHVISIONS = torchvision.models.list_models(module=torchvision.models)
OWN = tuple(name for name in ARCHITECTURES if name not in TORCHVISIONS)


def with_stem(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, stem) for name in names for stem in ARCHITECTURES[name].facts["smallest"]]


def plain(name: str, *, classes: int = 10, channels: int = 3, image_size: int = 32, **options: object) -> nn.Module:
    """The network without memory for its numbers."""
    with torch.device("meta"):
        return build(NetworkSpec(name, classes=classes, channels=channels, image_size=image_size, **options))[0]


def narrow(name: str) -> dict[str, float]:
    return {"width": 0.1} if "width" in inspect.signature(ARCHITECTURES[name].thing).parameters else {}


def train_one_step(network: nn.Module, channels: int, size: int) -> None:
    """Raises unless a step of SGD gives every parameter a finite gradient."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    loss = F.cross_entropy(network(torch.randn(4, channels, size, size)), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def side_of_last_maps(network: nn.Module, channels: int, size: int) -> int:
    """The side in pixels of the maps that go into the global pooling or the head."""
    seen: list[int] = []
    network.get_submodule("avgpool" if hasattr(network, "avgpool") else "flatten").register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].shape[-1])
    )
    network.eval()(torch.empty(1, channels, size, size, device="meta"))
    return seen[0]


def test_alexnets_response_normalisation_is_the_papers_formula():
    norms = [module for module in AlexNet2012(2, 3, "small", 0.1, 32).modules() if type(module) is nn.LocalResponseNorm]
    a = np.random.default_rng(0).normal(0, 50, size=(7, 2, 2))
    squares = np.stack([(a[max(0, i - 2) : i + 3] ** 2).sum(0) for i in range(7)])
    expected = a / (2 + 1e-4 * squares) ** 0.75
    assert len(norms) == 2
    for module in norms:
        np.testing.assert_allclose(module(torch.from_numpy(a)[None])[0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (32, 3)])
@pytest.mark.parametrize("name", OWN)
def test_every_architecture_trains_one_step_on_grey_and_colour_images(name: str, size: int, channels: int):
    smallest = ARCHITECTURES[name].facts["smallest"]
    size = max(size, min(smallest.values()))
    network, report = build(NetworkSpec(name, classes=5, channels=channels, image_size=size, **narrow(name)))
    assert report.stem == "small" or "small" not in smallest
    train_one_step(network, channels, size)


@pytest.mark.parametrize(("name", "stem"), with_stem(OWN))
def test_every_architecture_trains_at_its_smallest_size_and_refuses_one_pixel_less(name: str, stem: str):
    size = ARCHITECTURES[name].facts["smallest"][stem]
    network, _ = build(NetworkSpec(name, classes=5, channels=1, image_size=size, stem=stem, **narrow(name)))
    train_one_step(network, 1, size)
    with pytest.raises(BuildError, match=f"{name}: .* too small for its {stem} stem; the smallest it takes is {size}$"):
        build(NetworkSpec(name, classes=5, channels=1, image_size=size - 1, stem=stem))


@pytest.mark.parametrize(("name", "stem"), with_stem(UNPADDED + PADDED))
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_the_smallest_size_leaves_one_pixel_and_below_it_there_is_none_or_not_a_whole_one(name: str, stem: str):
    smallest = ARCHITECTURES[name].facts["smallest"][stem]
    assert side_of_last_maps(plain(name, channels=1, image_size=smallest, stem=stem), 1, smallest) == 1
    if name in UNPADDED:
        given = {"stem": stem, "image_size": smallest - 1, "width": 1.0}
        has = inspect.signature(ARCHITECTURES[name].thing).parameters
        with torch.device("meta"), pytest.raises(RuntimeError):
            network = ARCHITECTURES[name].thing(5, 1, **{key: given[key] for key in given if key in has})
            network(torch.empty(2, 1, smallest - 1, smallest - 1))
    else:  # padded convolutions alone: one pixel of the last maps stands for this many
        assert side_of_last_maps(plain(name, channels=1, image_size=5 * smallest, stem=stem), 1, 5 * smallest) == 5


@pytest.mark.parametrize(
    ("name", "small", "imagenet"),
    [
        ("alexnet_2012", 2, 6),
        ("vgg16_gap", 2, 7),
        ("modern_cnn", 4, 7),
        ("mobilenet_v1", 4, 7),
        ("resnet110", 8, None),
        ("wide_resnet28_10", 8, None),
        ("preact_resnet18", 4, None),
    ],
)
def test_the_last_maps_at_32_pixels_with_the_small_stem_and_at_224_with_the_imagenet_stem(
    name: str, small: int, imagenet: int | None
):
    assert side_of_last_maps(plain(name), 3, 32) == small
    if imagenet is not None:
        assert side_of_last_maps(plain(name, image_size=224), 3, 224) == imagenet


def test_an_option_a_shortcut_takes_every_second_pixel_pads_with_zeros_and_has_no_parameters():
    block = BasicBlock(1, 3, stride=2)
    short = block.shortcut(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert short.tolist() == [[[[0, 0], [0, 0]], [[0, 2], [8, 10]], [[0, 0], [0, 0]]]]
    # two convolutions from 1 to 3 and from 3 to 3 channels, each with a norm's scale and shift of 3
    assert sum(parameter.numel() for parameter in block.parameters()) == 9 * 1 * 3 + 9 * 3 * 3 + 2 * 2 * 3


def test_a_pre_activation_block_whose_branch_is_zero_is_the_identity():
    block = PreActBlock(4, 4, stride=1, shared=False)
    nn.init.zeros_(block.conv2.weight)
    images = torch.randn(2, 4, 5, 5)
    assert torch.equal(block(images), images)


@pytest.mark.parametrize("name", ["preact_resnet18", "wide_resnet28_10"])
def test_pre_activation_has_nothing_behind_an_addition_but_the_last_norm_and_activation(name: str):
    traced = fx.symbolic_trace(plain(name, depth=0.5))
    additions = [node for node in traced.graph.nodes if node.target is operator.add]
    for addition in additions[:-1]:
        behind = {"add" if user.target is operator.add else user.target.rpartition(".")[2] for user in addition.users}
        assert behind in ({"norm1"}, {"norm1", "add"})
    (last_norm,) = additions[-1].users
    (last_activation,) = last_norm.users
    (pooling,) = last_activation.users
    assert [last_norm.target, last_activation.target, pooling.target] == ["norm", "act", "avgpool"]
    first_conv, first_shortcut = additions[0].all_input_nodes
    assert first_conv.target == "stages.0.0.conv2"
    shared = first_shortcut if name == "preact_resnet18" else first_shortcut.all_input_nodes[0]
    assert shared.target == "stages.0.0.act1"


def test_a_study_can_turn_on_the_wide_resnets_dropout_between_the_convolutions():
    with torch.device("meta"):
        network, report = build(
            NetworkSpec("wide_resnet28_10", classes=10, channels=3, image_size=32, components={"dropout": 0.3})
        )
    expected = [f"stages.{stage}.{block}.dropout" for stage in range(3) for block in range(4)]
    assert list(report.components["dropout"].names) == expected
    assert {network.get_submodule(name).p for name in expected} == {0.3}
    for node in fx.symbolic_trace(network).graph.nodes:
        if node.target in expected:
            (before,), (behind,) = node.all_input_nodes, node.users
            assert (before.target, behind.target) == (
                str(node.target).replace("dropout", "act2"),
                str(node.target).replace("dropout", "conv2"),
            )


@pytest.mark.parametrize("stem", ["small", "imagenet"])
@pytest.mark.parametrize("name", ["modern_cnn", "regularized_resnet18"])
def test_what_only_drops_in_training_computes_resnet18_in_evaluation(name: str, stem: str):
    theirs = torchvision.models.resnet18(num_classes=5)
    if stem == "small":
        theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    for tensor in theirs.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.01, 0.1)
    ours, _ = build(NetworkSpec(name, classes=5, channels=3, image_size=40, stem=stem))
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(ours.eval()(images), theirs.eval()(images))
        assert not torch.equal(ours.train()(images), theirs.train()(images))


def test_stochastic_depth_rises_linearly_to_its_rate_in_the_last_block():
    network = plain("regularized_resnet18", depth=2)
    rates = [module.p for module in network.modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0.1 * number / 16 for number in range(1, 17)])
    assert {module.p for module in network.modules() if isinstance(module, nn.Dropout2d)} == {0.1}


def test_cbam_is_the_papers_equations():
    torch.manual_seed(0)
    module = CBAM(128).double()  # 8 hidden units, of which the activation passes some
    weights = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    x = np.random.default_rng(0).normal(size=(2, 128, 5, 6))
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    mlp = lambda z: np.maximum(z @ weights["channel.mlp.0.weight"].T, 0) @ weights["channel.mlp.2.weight"].T  # noqa: E731
    assert weights["channel.mlp.0.weight"].shape == (8, 128)
    y = x * sigmoid(mlp(x.mean((2, 3))) + mlp(x.max((2, 3))))[:, :, None, None]
    maps = np.pad(np.stack([y.mean(1), y.max(1)], axis=1), ((0, 0), (0, 0), (3, 3), (3, 3)))
    gate = np.zeros((2, 5, 6))
    for row in range(5):
        for column in range(6):
            window = maps[:, :, row : row + 7, column : column + 7]
            gate[:, row, column] = (window * weights["spatial.conv.weight"]).sum((1, 2, 3))
    expected = y * sigmoid(gate)[:, None]
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "activations", "norms"),
    [
        ("lenet5", 4, 2),  # a norm could go behind each of its two convolutions
        ("vgg16_gap", 13, 13),
        ("resnet110", 109, 109),
        ("wide_resnet28_10", 25, 25),
        ("preact_resnet18", 17, 17),
        ("cbam_resnet18", 17, 20),  # ResNet-18's: the gates' own are none
        ("mobilenet_v1", 27, 27),
    ],
)
def test_a_trace_finds_the_activations_and_norms_that_the_paper_counts(name: str, activations: int, norms: int):
    found = sites(NetworkSpec(name, classes=10, channels=3, image_size=32))
    assert (found["activation"], found["normalization"], found["global_pooling"]) == (
        activations,
        norms,
        0 if name == "lenet5" else 1,
    )


def test_every_architecture_says_its_year_family_and_paper():
    for name in OWN:
        facts = ARCHITECTURES[name].facts
        assert 1980 <= facts["year"] <= datetime.date.today().year
        assert facts["family"]
        assert facts["paper"].startswith(("arXiv:", "doi:")) or name == "simple_cnn"
