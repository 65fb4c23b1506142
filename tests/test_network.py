"""The door: network.build, its errors, and every component in every architecture."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cnnbench.architectures import ARCHITECTURES
from cnnbench.components import ComponentError, swap
from cnnbench.components.kinds import KINDS, NUMBERS
from cnnbench.networks.build import BuildError, build, sites
from cnnbench.networks.spec import NetworkSpec

# Of each kind a component with parameters and one without, where there are both; tests/matrix.py tries them all.
VALUES = [
    *(("activation", "frelu"), ("activation", "tanh"), ("window_pooling", "mixed"), ("window_pooling", "stochastic")),
    *(("global_pooling", "grid_2"), ("global_pooling", "max"), ("normalization", "group"), ("normalization", "none")),
    *(("attention", "none"), ("attention", "cbam"), ("initialization", "kaiming_normal")),
    *(("convolution", "dilation_2"), ("convolution", "depthwise_separable")),
    *((kind, 0.3) for kind in NUMBERS),
]

# One network of each kind of block; its larger sisters have the same blocks.
KINDS_OF_NETWORK = (
    *("lenet5", "alexnet", "alexnet_2012", "vgg11", "vgg11_bn", "resnet20", "resnet18", "simple_cnn"),
    *("squeezenet1_1", "preact_resnet18", "regularized_resnet18", "mobilenet_v1", "mobilenet_v2"),
    *("shufflenet_v2_x0_5", "cbam_resnet18", "convnext_atto"),
)


def narrow(name: str) -> dict[str, float]:
    """The multipliers, where the architecture has them, that make it small enough for a test."""
    has = inspect.signature(ARCHITECTURES[name].thing).parameters
    return {multiplier: 0.25 for multiplier in ("width", "depth") if multiplier in has}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", KINDS_OF_NETWORK)
def test_every_component_is_put_in_trains_and_changes_the_output_or_is_refused(name: str):
    torch.manual_seed(0)
    plain, _ = build(NetworkSpec(name, classes=5, channels=1, image_size=16, **narrow(name)))
    for parameter in plain.parameters():
        if parameter.dim() == 1 and parameter.eq(1).all():
            nn.init.constant_(parameter, 10)  # the scale of a norm: without it relu6 would do what relu does
    found = sites(NetworkSpec(name, classes=5, channels=1, image_size=16, **narrow(name)))
    images = 30 * torch.randn(4, 1, 16, 16)
    with torch.no_grad():
        torch.manual_seed(1)
        before = plain.train()(images)
    for kind, value in VALUES:
        try:
            network, report = swap(plain, {kind: value}, (1, 16, 16), name=name)
        except ComponentError as error:
            assert found[kind] == 0 or f" of {found[kind]} sites; at " in str(error), str(error)
            continue
        done = report.components[kind]
        assert done.sites == done.of == len(done.names) == found[kind] > 0
        torch.manual_seed(1)
        after = network(images)
        if count(network) == count(plain):  # what has parameters may begin as what stood there
            assert torch.equal(after, before) == (done.how == "kept"), f"{kind}={value}"
        F.cross_entropy(after, torch.tensor([0, 1, 2, 3])).backward()
        assert all(parameter.grad is not None for parameter in network.parameters()), f"{kind}={value}"


@pytest.mark.parametrize("name", KINDS_OF_NETWORK)
def test_all_kinds_of_component_at_once_reach_all_sites_that_there_are_and_train(name: str):
    options = {"classes": 5, "channels": 3, "image_size": 32, **narrow(name)}
    found = sites(NetworkSpec(name, **options))
    wanted = {
        "activation": "prelu",
        "window_pooling": "mixed",
        "global_pooling": "average_max",
        "normalization": "layer",
        "attention": "cbam",
        "convolution": "kernel_7",
        "initialization": "kaiming_normal",
        "dropout": 0.3,
        "dropout2d": 0.1,
        "drop_block": 0.1,
        "stochastic_depth": 0.2,
    }
    network, report = build(
        NetworkSpec(name, **options, components={kind: wanted[kind] for kind in found if found[kind]})
    )
    assert {kind: done.sites for kind, done in report.components.items()} == {k: n for k, n in found.items() if n}
    F.cross_entropy(network.train()(torch.randn(4, 3, 32, 32)), torch.tensor([0, 1, 2, 3])).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("name", KINDS_OF_NETWORK)
def test_without_components_the_architecture_is_as_written(name: str):
    with torch.device("meta"):
        network, report = build(NetworkSpec(name, classes=5, channels=1, image_size=16, components={"dropout": None}))
    assert not isinstance(network, torch.fx.GraphModule)
    assert report.as_dict() == {"stem": "small", "components": {}}


def test_the_report_is_plain_values():
    _, report = build(
        NetworkSpec(
            "lenet5", classes=10, channels=1, image_size=28, components={"window_pooling": "max", "dropout": 0.5}
        )
    )
    assert report.as_dict() == {
        "stem": "small",
        "components": {
            "window_pooling": {"value": "max", "sites": 2, "of": 2, "names": ["s2", "s4"], "how": "replaced"},
            "dropout": {"value": 0.5, "sites": 1, "of": 1, "names": ["output_dropout"], "how": "inserted"},
        },
    }


def test_one_seed_gives_one_network_with_components_too():
    def weights() -> torch.Tensor:
        torch.manual_seed(7)
        network, _ = build(
            NetworkSpec("resnet20", classes=5, channels=1, image_size=16, components={"normalization": "group"})
        )
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert torch.equal(weights(), weights())


def test_components_leave_the_weights_that_the_seed_gives():
    torch.manual_seed(7)
    plain, _ = build(NetworkSpec("resnet20", classes=5, channels=1, image_size=16))
    torch.manual_seed(7)
    swapped, _ = build(
        NetworkSpec("resnet20", classes=5, channels=1, image_size=16, components={"activation": "prelu"})
    )
    assert torch.equal(plain.state_dict()["fc.weight"], swapped.state_dict()["fc.weight"])


def test_sites_count_every_kind_and_zero_where_there_is_none():
    found = sites(NetworkSpec("resnet18", classes=10, channels=3, image_size=32))
    assert list(found) == list(KINDS)
    assert found == {
        "activation": 17,
        "window_pooling": 0,
        "global_pooling": 1,
        "normalization": 20,
        "attention": 8,
        "convolution": 16,  # two 3×3 a block; not the stem, nor the 1×1 of the shortcuts
        "initialization": 21,
        "dropout": 1,
        "dropout2d": 8,
        "drop_block": 12,  # in stages 3 and 4: 8 convolutions, 2 projections, 2 shortcuts without one
        "stochastic_depth": 8,
    }
    assert sites(NetworkSpec("resnet18", classes=10, channels=3, image_size=32, stem="imagenet"))["window_pooling"] == 1


def test_the_stem_is_small_for_small_images_and_the_report_says_so():
    with torch.device("meta"):
        stems = [
            build(NetworkSpec("resnet18", classes=5, channels=3, image_size=size))[1].stem for size in (32, 95, 96, 224)
        ]
    assert stems == ["small", "small", "imagenet", "imagenet"]


def test_an_architecture_without_an_imagenet_stem_keeps_its_own_for_large_images():
    assert build(NetworkSpec("resnet20", classes=5, channels=3, image_size=224))[1].stem == "small"


def test_the_meta_device_checks_components_without_memory():
    with torch.device("meta"):
        network, report = build(
            NetworkSpec(
                "resnet18",
                classes=5,
                channels=3,
                image_size=32,
                components={"activation": "prelu", "normalization": "none", "dropout": 0.1},
            )
        )
        with pytest.raises(ComponentError, match="resnet18: window_pooling=mixed reaches no site"):
            build(NetworkSpec("resnet18", classes=5, channels=3, image_size=32, components={"window_pooling": "mixed"}))
    assert report.components["activation"].sites == 17
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


def test_an_unreached_component_that_the_study_allows_is_reported_as_such():
    network, report = build(
        NetworkSpec("resnet20", classes=5, channels=3, image_size=32, components={"window_pooling": "max"}),
        allow_unreached=True,
    )
    assert not isinstance(network, torch.fx.GraphModule)
    assert (report.components["window_pooling"].sites, report.components["window_pooling"].how) == (0, "unreached")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architecture": "resnet19"},
            "unknown architecture 'resnet19'; the nearest are resnet18, resnet110, resnet101;",
        ),
        ({"image_size": 8}, "vgg11: images of 8 pixels are too small for its small stem; the smallest it takes is 16"),
        ({"stem": "tiny"}, "vgg11: unknown stem 'tiny'; choose from auto, small, imagenet"),
        ({"architecture": "lenet5", "stem": "imagenet"}, "lenet5: unknown stem 'imagenet'; choose from auto, small"),
        ({"architecture": "lenet5", "width": 0.5}, "lenet5: it has no width multiplier; width must be 1"),
        ({"stem": "imagenet", "width": 0.5}, "vgg.*width applies to the small stem"),
        ({"architecture": "vgg11", "depth": 2.0}, "vgg11: it has no depth multiplier; depth must be 1"),
        ({"width": 0.0}, "vgg11: width is 0.0; it must be above 0"),
        ({"architecture": "resnet20", "depth": -1.0}, "resnet20: depth is -1.0; it must be above 0"),
        ({"classes": 0}, "vgg11: classes is 0; it must be above 0"),
    ],
)
def test_what_can_not_be_built_is_refused_with_what_is_allowed(changes: dict[str, object], message: str):
    options = {"architecture": "vgg11", "classes": 10, "channels": 3, "image_size": 32} | changes
    with pytest.raises(BuildError, match=message):
        build(NetworkSpec(options.pop("architecture"), **options))


def test_an_unknown_component_value_is_refused_before_anything_is_built():
    with pytest.raises(ComponentError, match="activation: unknown value 'relu7'; the nearest are relu, "):
        build(NetworkSpec("lenet5", classes=10, channels=1, image_size=28, components={"activation": "relu7"}))
    assert issubclass(ComponentError, ValueError) and issubclass(BuildError, ValueError)


def test_local_response_norm_is_a_normalisation_that_can_be_replaced():
    shape = {"classes": 10, "channels": 3, "image_size": 32}
    assert sites(NetworkSpec("alexnet_2012", **shape))["normalization"] == 2
    _, report = build(NetworkSpec("alexnet_2012", width=0.1, components={"normalization": "batch"}, **shape))
    assert report.components["normalization"].how == "replaced"
