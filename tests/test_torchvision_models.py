"""torchvision's classification models under their own names: published sizes, torchvision's own networks as the oracle,
small stems, multipliers and auxiliary classifiers."""

import inspect
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_model, get_model_weights, regnet

from cnnbench.architectures import ARCHITECTURES
from cnnbench.components import swap
from cnnbench.components.trace import trace
from cnnbench.networks.build import BuildError, build
from cnnbench.networks.cost import measure
from cnnbench.networks.spec import NetworkSpec

MODELS = torchvision.models.list_models(module=torchvision.models)

# One of each family or kind of block, small enough to be built for real.
ONE_OF_EACH = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "regnet_x_400mf"),
    *("regnet_y_400mf", "resnet18", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0"),
    *("squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32", "wide_resnet50_2"),
)
LARGE = ("vgg11_bn", "vit_b_32", "wide_resnet50_2")  # it takes seconds to draw their weights
# The others of a family differ in the numbers of a table; all parameters are counted, and the rest takes minutes.
MODELS_SLOWLY = [name if name in ONE_OF_EACH else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
WITH_STEM = [
    pytest.param(name, stem, marks=() if name in ONE_OF_EACH else pytest.mark.slow)
    for name in MODELS
    for stem in ARCHITECTURES[name].facts["smallest"]
]
FIXED_SIZE = {"inception_v3": 299, "maxvit_t": 224, "vit_h_14": 224}  # built for one size; others of ViT at 224 too

# What torchvision publishes and we count differently, and why.
OTHER_PARAMETERS = {"googlenet": 6_379_984}  # published without its auxiliary classifiers; this many are theirs
OTHER_MACS = {"shufflenet_v2_x0_5": 0.0405}  # published as 0.04: rounded to two decimals


def plain(name: str, *, classes: int = 5, channels: int = 3, image_size: int = 32, **options: object) -> nn.Module:
    """The network without memory for its numbers."""
    with torch.device("meta"):
        return build(NetworkSpec(name, classes=classes, channels=channels, image_size=image_size, **options))[0]


def size_of(name: str) -> int:
    """An image side that both torchvision's and our network take, small where it may be."""
    return FIXED_SIZE.get(name, 224 if name.startswith("vit") else 64)


def torchvisions(name: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # GoogLeNet's and Inception's, of a new initialisation
        return get_model(name, weights=None, num_classes=5)


def shapes(network: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]


def parts(network: nn.Module) -> list[str]:
    """Every module with its options, in order; our names for the auxiliary classifiers are torchvision's."""
    found = [f"{name}: {type(part).__name__}({part.extra_repr()})" for name, part in network.named_modules()]
    return [re.sub("(GoogLeNet|Inception)Head", "InceptionAux", part) for part in found[1:] if "Outputs" not in part]


@contextmanager
def cheap_initialisation() -> Iterator[None]:
    """Weights stay as their memory was: to build large networks in little time."""
    patch = pytest.MonkeyPatch()
    for name in ("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_uniform_"):
        patch.setattr(nn.init, name, lambda tensor, *args, **options: tensor)
    try:
        yield
    finally:
        patch.undo()


# ---------------------------------------------------------------- torchvision's own


def test_every_classification_model_of_torchvision_is_there_with_what_is_known_of_it():
    assert len(MODELS) >= 80
    for name in MODELS:
        facts = ARCHITECTURES[name].facts
        assert 2012 <= facts["year"] <= 2022 and facts["family"] and re.match(r"arXiv:\d{4}\.\d{4,5}$", facts["paper"])
        assert set(facts["smallest"]) == {"small", "imagenet"}


def published(name: str) -> tuple[dict[str, object], int]:
    """What torchvision says of the model's weights, and the side of the images that it evaluates them at."""
    weights = get_model_weights(name)
    # ViT-H's end-to-end weights have positions for larger images
    chosen = next(candidate for candidate in weights if "E2E" not in candidate.name)
    return chosen.meta, chosen.transforms().crop_size[0]


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_that_torchvision_publishes(name: str):
    meta, size = published(name)
    network = plain(name, classes=1000, image_size=size, stem="imagenet")
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count - OTHER_PARAMETERS.get(name, 0) == meta["num_params"]


def test_googlenets_other_parameters_are_its_auxiliary_classifiers():
    network = plain("googlenet", classes=1000, image_size=224)
    heads = [*network.aux1.parameters(), *network.aux2.parameters()]
    assert sum(parameter.numel() for parameter in heads) == OTHER_PARAMETERS["googlenet"]


@pytest.mark.parametrize("name", MODELS_SLOWLY)
def test_macs_are_those_that_torchvision_publishes(name: str):
    meta, size = published(name)
    counted = measure(plain(name, classes=1000, image_size=size, stem="imagenet"), (3, size, size))
    assert counted.macs / 1e9 == pytest.approx(OTHER_MACS.get(name, meta["_ops"]), rel=0.01)


@pytest.mark.parametrize("name", MODELS_SLOWLY)
def test_every_part_and_every_tensor_is_torchvisions(name: str, monkeypatch: pytest.MonkeyPatch):
    ours = plain(name, image_size=size_of(name), stem="imagenet")
    compute = regnet.BlockParams.from_init_params

    def on_the_cpu(*args: object, **options: object) -> object:
        """torchvision's RegNets compute their widths with tensors, which have no values on the meta device."""
        with torch.device("cpu"):
            return compute(*args, **options)

    monkeypatch.setattr(regnet.BlockParams, "from_init_params", on_the_cpu)
    with torch.device("meta"):
        theirs = torchvisions(name)
    assert shapes(ours) == shapes(theirs)
    assert parts(ours) == parts(theirs)


@pytest.mark.parametrize("name", [name for name in ONE_OF_EACH if name not in LARGE])
def test_one_seed_gives_torchvisions_weights_and_outputs_to_the_bit(name: str):
    size = size_of(name)
    torch.manual_seed(3)
    theirs = torchvisions(name)
    torch.manual_seed(3)
    ours, _ = build(NetworkSpec(name, classes=5, channels=3, image_size=size, stem="imagenet"))
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    assert all(torch.equal(tensor, expected[key]) for key, tensor in ours.state_dict().items())
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(expected)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        assert torch.equal(ours.eval()(images), theirs.eval()(images))


@pytest.mark.parametrize(
    "name", [name if name in LARGE else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_with_one_state_dict_every_models_outputs_are_torchvisions_to_the_bit(name: str):
    size = size_of(name)
    with cheap_initialisation():
        theirs = torchvisions(name)
        ours, _ = build(NetworkSpec(name, classes=5, channels=3, image_size=size, stem="imagenet"))
    generator = torch.Generator().manual_seed(0)
    for key, tensor in theirs.state_dict().items():
        if tensor.is_floating_point() and not key.endswith("running_var"):
            tensor.uniform_(-0.05, 0.05, generator=generator)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        logits = ours.eval()(images)
        assert logits.isfinite().all() and logits.std() > 0
        assert torch.equal(logits, theirs.eval()(images))
    theirs.load_state_dict(ours.state_dict())


# ---------------------------------------------------------------- stems, sizes, multipliers


def shallow(name: str) -> dict[str, float]:
    """One block a stage where the architecture has a depth: the stem and the sizes of the maps are the same."""
    return {"depth": 0.01} if "depth" in inspect.signature(ARCHITECTURES[name].thing).parameters else {}


def outputs_of(name: str, stem: str, size: int, *, through_the_door: bool = True) -> tuple[Tensor, ...]:
    """Logits of two grey images in training, without numbers."""
    has = inspect.signature(ARCHITECTURES[name].thing).parameters
    given = {"stem": stem, "image_size": size, **shallow(name)}
    with torch.device("meta"):
        if through_the_door:
            network = build(NetworkSpec(name, classes=5, channels=1, **given))[0]
        else:
            network = ARCHITECTURES[name].thing(5, 1, **{key: given[key] for key in given if key in has})
        outputs = network.train()(torch.empty(2, 1, size, size))
    return outputs if isinstance(outputs, tuple) else (outputs,)


def side_of_last_maps(name: str, stem: str, size: int) -> int:
    network = plain(name, channels=1, image_size=size, stem=stem, **shallow(name)).eval()
    sides: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            module.register_forward_pre_hook(lambda module, inputs: sides.append(inputs[0].shape[-1]))
    network(torch.empty(1, 1, size, size, device="meta"))
    return [side for side in sides if side > 1][-1]  # not those of a squeeze-excitation


@pytest.mark.parametrize(("name", "stem"), WITH_STEM)
def test_the_smallest_size_works_and_one_pixel_less_is_refused_because_it_can_not(name: str, stem: str):
    smallest = ARCHITECTURES[name].facts["smallest"][stem]
    assert all(logits.shape == (2, 5) for logits in outputs_of(name, stem, smallest))
    with pytest.raises(BuildError, match=f"too small for its {stem} stem; the smallest it takes is {smallest}$"):
        plain(name, image_size=smallest - 1, stem=stem)
    try:
        outputs_of(name, stem, smallest - 1, through_the_door=False)
    except (RuntimeError, ValueError):
        return
    # padding lets it through: then one pixel of the last maps must stand for the smallest image
    assert side_of_last_maps(name, stem, 5 * smallest) == 5


@pytest.mark.parametrize(("name", "sizes"), [("vit_b_16", (16, 4)), ("vit_h_14", (14, 4)), ("maxvit_t", (32, 16))])
def test_a_size_that_patches_or_windows_do_not_fit_is_refused_with_what_fits(name: str, sizes: tuple[int, int]):
    for stem, multiple in zip(("imagenet", "small"), sizes, strict=True):
        with pytest.raises(
            BuildError, match=f"{name}: .*images of 225 pixels .*{stem} stem.*; use a multiple of {multiple}$"
        ):
            plain(name, image_size=225, stem=stem)
        plain(name, image_size=9 * multiple, stem=stem)


@pytest.mark.parametrize("name", sorted({*ONE_OF_EACH} - {"inception_v3", "maxvit_t", "wide_resnet50_2", "swin_v2_t"}))
def test_the_small_stem_trains_a_step_on_small_grey_images(name: str):
    torch.manual_seed(0)
    has = inspect.signature(ARCHITECTURES[name].thing).parameters
    options = {option: 0.25 for option in ("width", "depth") if option in has}
    network, report = build(NetworkSpec(name, classes=5, channels=1, image_size=16, **options))
    assert report.stem == "small"
    outputs = network.train()(torch.randn(4, 1, 16, 16))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sum(F.cross_entropy(logits, torch.tensor([0, 1, 2, 3])) for logits in outputs).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


FIRST_CONVOLUTION = {
    **{name: "features.0" for name in ("alexnet", "squeezenet1_0", "vgg11_bn")},
    **{name: "features.0.0" for name in ("convnext_tiny", "efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small")},
    **{"densenet121": "features.conv0", "googlenet": "conv1.conv", "inception_v3": "Conv2d_1a_3x3.conv"},
    **{"maxvit_t": "stem.0.0", "mnasnet0_5": "layers.0", "regnet_x_400mf": "stem.0", "resnet50": "conv1"},
    **{"shufflenet_v2_x1_0": "conv1.0", "swin_t": "features.0.0", "vit_b_16": "conv_proj"},
}


@pytest.mark.parametrize("name", FIRST_CONVOLUTION)
def test_the_first_convolution_for_grey_images_is_drawn_as_that_for_colour_is(name: str):
    """Same distribution at its own fan-in: the kernels' standard deviation, over at least 400 draws each, to a fifth
    (its standard error is below 1/28 of it)."""
    size = {"inception_v3": 75, "maxvit_t": 32, "vit_b_16": 16}.get(name, 64)
    spread = {}
    for channels in (1, 3):
        torch.manual_seed(0)
        # VGG's stems differ behind the convolutions alone, in a head of 120 million weights
        stem = "small" if name.startswith("vgg") else "imagenet"
        network, _ = build(NetworkSpec(name, classes=5, channels=channels, image_size=size, stem=stem, **shallow(name)))
        spread[channels] = network.get_submodule(FIRST_CONVOLUTION[name]).weight.std().item()
    by_fan_in = ("alexnet", "squeezenet1_0", "densenet121", "shufflenet_v2_x1_0", "swin_t", "vit_b_16")
    expected = spread[3] * (3**0.5 if name in by_fan_in else 1)
    assert spread[1] == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize(
    ("name", "options", "same_as"),
    [
        ("efficientnet_b0", {"width": 1.1, "depth": 1.2}, "efficientnet_b2"),  # compound scaling
        ("efficientnet_b1", {"width": 2.0, "depth": 3.1 / 1.1}, "efficientnet_b7"),
        ("mnasnet1_0", {"width": 0.5}, "mnasnet0_5"),
        ("mnasnet0_5", {"width": 2.6}, "mnasnet1_3"),
        ("convnext_small", {"depth": 1 / 3}, None),
        ("resnet34", {"depth": 0.5}, None),
        ("shufflenet_v2_x1_0", {"width": 176 / 116}, "shufflenet_v2_x1_5"),
        ("convnext_small", {"width": 4 / 3}, "convnext_base"),
        ("convnext_base", {"width": 1.5}, "convnext_large"),
        ("vit_b_32", {"width": 4 / 3, "depth": 2}, "vit_l_32"),
    ],
)
def test_multipliers_lead_from_one_size_of_a_family_to_another(
    name: str, options: dict[str, float], same_as: str | None
):
    stem = {"stem": "imagenet", "image_size": 224}
    scaled = plain(name, **stem, **options)
    if same_as is None:
        blocks = {"convnext_small": [1, 1, 9, 1], "resnet34": [2, 2, 3, 2]}[name]
        stages = [f"features.{i}" for i in (1, 3, 5, 7)] if "conv" in name else [f"layer{i}" for i in (1, 2, 3, 4)]
        assert [len(scaled.get_submodule(stage)) for stage in stages] == blocks
    else:
        assert shapes(scaled) == shapes(plain(same_as, **stem))


@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "densenet121"])
def test_half_the_width_has_about_a_quarter_of_the_parameters(name: str):
    full, half = (sum(p.numel() for p in plain(name, width=width).parameters()) for width in (1.0, 0.5))
    assert 3.4 < full / half < 4.2
    assert plain(name, width=0.02)(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 5)


# ---------------------------------------------------------------- auxiliary classifiers


@pytest.mark.parametrize(("name", "heads"), [("googlenet", 2), ("inception_v3", 1)])
def test_auxiliary_logits_in_training_are_torchvisions_to_the_bit(name: str, heads: int):
    theirs = torchvisions(name)
    ours, _ = build(NetworkSpec(name, classes=5, channels=3, image_size=299, stem="imagenet"))
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 299, 299)
    with torch.no_grad():
        torch.manual_seed(1)
        expected = theirs.train()(images)
        torch.manual_seed(1)
        outputs = ours.train()(images)
    assert len(outputs) == len(expected) == 1 + heads
    assert all(torch.equal(*pair) for pair in zip(outputs, expected, strict=True))
    assert isinstance(ours.eval()(images[:1]), Tensor)


@pytest.mark.parametrize(("stem", "size"), [("imagenet", 299), ("small", 71)])
def test_inception_v3_has_its_auxiliary_classifier_from_the_size_on_that_its_maps_allow(stem: str, size: int):
    assert len(outputs_of("inception_v3", stem, size)) == 2
    assert len(outputs_of("inception_v3", stem, size - 1)) == 1
    # the head's convolution needs maps of 17×17
    with_head = plain("inception_v3", channels=1, image_size=size, stem=stem).train()
    with pytest.raises(RuntimeError):
        with_head(torch.empty(2, 1, size - 1, size - 1, device="meta"))


@pytest.mark.parametrize(("name", "size", "outputs"), [("googlenet", 16, 3), ("inception_v3", 71, 2)])
def test_one_graph_serves_training_and_evaluation(name: str, size: int, outputs: int):
    network = plain(name, image_size=size)
    traced = trace(network, (3, size, size))
    images = torch.empty(2, 3, size, size, device="meta")
    for graph in (traced, swap(network, {"activation": "gelu"}, (3, size, size))[0]):
        assert [logits.shape for logits in graph.train()(images)] == [(2, 5)] * outputs
        assert graph.eval()(images).shape == (2, 5)
