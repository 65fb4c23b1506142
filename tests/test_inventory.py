"""Every row of the inventory that the project grew from: reached from a study file, searched, and built.

The rows are written out here. Each goes through the parser of study files and ``network.build``, as ``cnnbench run``
does it; that what is reached computes the right thing is shown by the tests of each component and architecture.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
import pytest
import torch
import torchvision
import yaml
from PIL import Image
from torch import nn

from cnnbench.components import drop_block, dropout
from cnnbench.components.kinds import KINDS
from cnnbench.data.readers import DATASETS
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.protocol.plan import plan_rows
from cnnbench.search.search import suggest
from cnnbench.study import Study, StudyError, parse
from cnnbench.training.loop import _augmentation
from cnnbench.training.optimizers import build_optimizer
from cnnbench.training.recipe import KNOBS, Recipe, effective
from cnnbench.training.schedules import learning_rate
from cnnbench.vocabulary import vocabulary

DRAWS = 200  # of a space with at most eleven values: the seed is fixed, and each value is drawn


def study_of(architectures: list[Any], space: Mapping[str, Any], size: int = 32, dataset: str = "cifar10") -> Study:
    """A study file with these architectures and this space, parsed."""
    tree = {
        "study": "inventory",
        "data": {"dataset": dataset, "image_size": size},
        "architectures": architectures,
        "space": dict(space),
        "budget": {"trials": 1, "epochs": 10},
    }
    return parse(yaml.safe_dump(tree), vocabulary())


def drawn(study: Study) -> list[dict[str, Any]]:
    """Configurations as the search proposes them."""
    sampler = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [suggest(sampler.ask(), study.space) for _ in range(DRAWS)]


# ---------------------------------------------------------------- architectures


@dataclass(frozen=True)
class Case:
    """An entry of a study's ``architectures``, on images of size × size, and what the inventory says of it: the widths
    of its convolutions and linear layers, the rates of its dropouts, its parameters."""

    entry: str | dict[str, Any]
    size: int = 32
    channels: int = 3
    convolutions: tuple[int, ...] | None = None
    linear: tuple[int, ...] | None = None
    dropouts: tuple[float, ...] | None = None
    params: int | None = None
    stem: str = "small"


def both_stems(*names: str) -> list[Case]:
    return [
        Case({"name": name, "stem": stem}, size, stem=stem)
        for name in names
        for stem, size in (("small", 32), ("imagenet", 224))
    ]


VGGS = ("11", "13", "16", "19", "11_bn", "13_bn", "16_bn", "19_bn")
VGG11, VGG16 = (64, 128, *(256,) * 2, *(512,) * 4), (64, 64, 128, 128, *(256,) * 3, *(512,) * 6)
ONE_TOWER, TWO_TOWERS = (64, 192, 384, 256, 256), (96, 256, 384, 384, 256)
CLASSIC = {"linear": (4096, 4096, 10), "dropouts": (0.5, 0.5)}
ARCHITECTURES = {
    "LeNet-5": [
        Case("lenet5", 28, 1, (6, 16), (120, 84, 10), params=61_706),
        Case("lenet5", 32, 3, (6, 16), (120, 84, 10)),
    ],
    "AlexNet": [
        Case("alexnet", 32, 3, ONE_TOWER, **CLASSIC), Case("alexnet", 224, 3, ONE_TOWER, **CLASSIC, stem="imagenet"),
        Case("alexnet_2012", 32, 3, TWO_TOWERS, **CLASSIC),
        Case("alexnet_2012", 224, 3, TWO_TOWERS, **CLASSIC, stem="imagenet"),
    ],
    "VGG-11/13/16/19": [
        *(Case(f"vgg{layers}", 224, **CLASSIC, stem="imagenet") for layers in VGGS),
        *(Case(f"vgg{layers}_gap", linear=(10,)) for layers in VGGS),
        Case("vgg11", convolutions=VGG11), Case("vgg16_bn_gap", convolutions=VGG16, linear=(10,)),
    ],
    "GoogLeNet / Inception": [*both_stems("googlenet"), Case("inception_v3")],
    "ResNet-18/34/50/101": [
        *both_stems("resnet18", "resnet34", "resnet50", "resnet101"), Case("resnet18", params=11_173_962),
    ],
    "SimpleCNN": [
        Case("simple_cnn", 32, 3, (32, 32, 64, 64, 128, 128), (512, 10), (0.25, 0.25, 0.25, 0.5)),
    ],
    "ModernCNN": [Case("modern_cnn", linear=(10,), dropouts=(0.5,))],
    "Attention ResNet (CBAM)": [Case("cbam_resnet18", params=11_261_786)],
    "Regularised ResNet": [Case("regularized_resnet18", dropouts=(0.1,) * 8)],
    "MobileNetV1": [Case("mobilenet_v1", linear=(10,), params=3_217_226)],
    "MobileNetV2": [Case("mobilenet_v2", params=2_236_682), Case({"name": "mobilenet_v2", "width": 0.5})],
    "MobileNetV3 small/large": [Case("mobilenet_v3_small"), Case("mobilenet_v3_large")],
    "EfficientNet B0–B7": [Case(f"efficientnet_b{number}") for number in range(8)],
    "ConvNeXt": [Case(f"convnext_{size}") for size in ("tiny", "small", "base", "large")],
    "ViT-B/16": [Case("vit_b_16", 224, stem="imagenet"), Case("vit_b_16")],
    # what the issue adds
    "ResNet-20/32/44/56/110": [Case(f"resnet{layers}") for layers in (20, 32, 44, 56, 110)],
    "WideResNet-28-10, 40-4": [Case("wide_resnet28_10"), Case("wide_resnet40_4")],
    "PreAct-ResNet-18": [Case("preact_resnet18")],
    "DenseNet": [Case(f"densenet{layers}") for layers in (121, 161, 169, 201)],
    "SqueezeNet": [Case("squeezenet1_0"), Case("squeezenet1_1")],
    "ShuffleNetV2": [Case(f"shufflenet_v2_x{width}") for width in ("0_5", "1_0", "1_5", "2_0")],
    "RegNet": [Case("regnet_x_400mf"), Case("regnet_y_400mf")],
    "depth multiplier": [Case({"name": "resnet20", "depth": 2}), Case({"name": "efficientnet_b0", "depth": 1.2})],
}  # fmt: skip


def one_each(cases: list[Case]) -> list[Any]:
    """The cases' entries, with labels: two may be of one architecture."""
    entries = [{"name": case.entry} if isinstance(case.entry, str) else case.entry for case in cases]
    return [{**entry, "label": f"row{number}"} for number, entry in enumerate(entries)]


@pytest.mark.parametrize("row", ARCHITECTURES)
def test_every_architecture_is_reached_from_a_study_file_and_is_what_the_inventory_says(row: str):
    cases = ARCHITECTURES[row]
    study = study_of(one_each(cases), {})
    for case, entry in zip(cases, study.architectures, strict=True):
        spec = NetworkSpec(
            entry.name, classes=10, channels=case.channels, image_size=case.size, stem=entry.stem, width=entry.width,
            depth=entry.depth,
        )  # fmt: skip
        with torch.device("meta"):
            network, report = build(spec)
        assert report.stem == case.stem
        parts = list(network.modules())
        found = {
            "convolutions": tuple(part.out_channels for part in parts if isinstance(part, nn.Conv2d)),
            "linear": tuple(part.out_features for part in parts if isinstance(part, nn.Linear)),
            "dropouts": tuple(part.p for part in parts if isinstance(part, nn.Dropout | nn.Dropout2d)),
            "params": sum(parameter.numel() for parameter in network.parameters()),
        }
        said = {name: getattr(case, name) for name in found if getattr(case, name) is not None}
        assert {name: found[name] for name in said} == said, case


def test_what_architectures_have_beyond_their_widths():
    def parts(name: str, size: int = 32, channels: int = 3) -> list[nn.Module]:
        with torch.device("meta"):
            return list(build(NetworkSpec(name, classes=10, channels=channels, image_size=size))[0].modules())

    def kernels(name: str, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
        first = next(part for part in parts(name, size) if isinstance(part, nn.Conv2d))
        return first.kernel_size, first.stride

    of_lenet = [part for part in parts("lenet5", 28, 1) if isinstance(part, nn.Conv2d | nn.AvgPool2d)]
    assert of_lenet[0].padding == (2, 2) and sum(isinstance(part, nn.AvgPool2d) for part in of_lenet) == 2
    assert kernels("resnet18", 32) == ((3, 3), (1, 1)) and kernels("resnet18", 224) == ((7, 7), (2, 2))
    depthwise = [part for part in parts("mobilenet_v1") if isinstance(part, nn.Conv2d) and part.groups > 1]
    assert len(depthwise) == 13 and parts("mobilenet_v1")[-1].in_features == 1024
    assert sum(isinstance(part, nn.ReLU6) for part in parts("mobilenet_v2")) == 35
    with torch.device("meta"):
        google, _ = build(NetworkSpec("googlenet", classes=10, channels=3, image_size=32))
        outputs = google.train()(torch.empty(2, 3, 32, 32))
    assert [tuple(logits.shape) for logits in outputs] == [(2, 10)] * 3


def test_the_regularised_resnets_norm_and_dropouts_are_chosen_by_the_search():
    choices = {"normalization": {"choice": ["batch", "group", "none"]}, "drop_block": {"choice": ["original", 0.1]}}
    choices |= {"dropout2d": {"choice": [0.0, 0.2]}, "stochastic_depth": {"float": [0.0, 0.2]}}
    study = study_of([{"name": "regularized_resnet18", "width": 0.25, "depth": 0.5}], choices)
    (row,) = plan_rows(study, channels=3, classes=10).values()
    assert all(row.sites[kind] > 0 for kind in choices) and not row.left_out


def test_any_torchvision_model_ones_own_and_timms_are_names_of_a_study_file():
    names = torchvision.models.list_models(module=torchvision.models)
    assert len(study_of(names, {}).architectures) == len(names) >= 80
    assert study_of(["torchvision.models:resnet18"], {}).architectures[0].row == "torchvision.models_resnet18"
    with pytest.raises(StudyError, match=r"architectures.0: unknown architecture 'resnet19'"):
        study_of(["resnet19"], {})


# ---------------------------------------------------------------- components


@dataclass(frozen=True)
class Reached:
    """One value of the inventory: what a study file says for it, and what stands in the network then."""

    value: str | float
    module: type[nn.Module] | None = None
    options: Mapping[str, Any] | None = None


def of(module: type[nn.Module], **options: Any) -> dict[str, Any]:
    return {"module": module, "options": options}


class Ours:
    """Our own modules, by their name in cnnbench.components."""

    def __class_getitem__(cls, name: str) -> Any:
        from cnnbench.components import activation, attention, global_pooling, normalization, window_pooling

        homes = (activation, attention, global_pooling, normalization, window_pooling)
        return next(getattr(home, name) for home in homes if hasattr(home, name))


# kind → (architecture that takes all of its values, inventory's word → how it is reached)
NARROW, SHALLOW = {"name": "resnet18", "width": 0.5, "depth": 0.25}, {"name": "resnet20", "depth": 0.3}
COMPONENTS: dict[str, tuple[Any, dict[str, Reached]]] = {
    "activation": (NARROW, {
        "ReLU": Reached("relu", **of(nn.ReLU)),
        "LeakyReLU(0.01)": Reached("leaky_relu", **of(nn.LeakyReLU, negative_slope=0.01)),
        "PReLU (learnable)": Reached("prelu", **of(nn.PReLU)),
        "ELU": Reached("elu", **of(nn.ELU)),
        "Swish/SiLU": Reached("silu", **of(nn.SiLU)),
        "Swish (β)": Reached("swish", **of(Ours["Swish"])),
        "Mish": Reached("mish", **of(nn.Mish)),
        "GELU exact": Reached("gelu", **of(nn.GELU, approximate="none")),
        "GELU tanh": Reached("gelu_tanh", **of(nn.GELU, approximate="tanh")),
        "FReLU": Reached("frelu", **of(Ours["FReLU"])),
        "ReLU6": Reached("relu6", **of(nn.ReLU6)),
        "hard-swish": Reached("hardswish", **of(nn.Hardswish)),
    }),
    "window_pooling": ({"name": "vgg11"}, {
        "max": Reached("max", **of(nn.MaxPool2d)),
        "average": Reached("average", **of(nn.AvgPool2d)),
        "mixed": Reached("mixed", **of(Ours["MixedPool2d"])),
        "stochastic": Reached("stochastic", **of(Ours["StochasticPool2d"])),
        "learnable": Reached("learnable", **of(Ours["LearnablePool2d"])),
        "attention-weighted": Reached("attention", **of(Ours["AttentionPool2d"])),
    }),
    "global_pooling": (SHALLOW, {
        "average": Reached("average", **of(nn.AdaptiveAvgPool2d, output_size=1)),
        "max": Reached("max", **of(nn.AdaptiveMaxPool2d, output_size=1)),
        "adaptive to a given grid (7×7)": Reached("grid_7", **of(Ours["GridPool2d"], output_size=7)),
        "average+max": Reached("average_max", **of(Ours["AverageMaxPool2d"])),
        "flatten": Reached("flatten", **of(Ours["WholeMap"])),
    }),
    "normalization": (NARROW, {
        "batch": Reached("batch", **of(nn.BatchNorm2d)),
        "layer (over channels)": Reached("layer", **of(Ours["ChannelLayerNorm"])),
        "layer (over channels and pixels)": Reached("layer_chw", **of(nn.GroupNorm, num_groups=1)),
        "group (8)": Reached("group_8", **of(nn.GroupNorm, num_groups=8)),
        "group (32)": Reached("group_32", **of(nn.GroupNorm, num_groups=32)),
        "instance": Reached("instance", **of(nn.InstanceNorm2d, affine=True)),
        "switchable": Reached("switchable", **of(Ours["SwitchableNorm2d"])),
        "none": Reached("none"),
    }),
    "attention": (SHALLOW, {
        "none": Reached("none"),
        "squeeze-excite": Reached("squeeze_excite", **of(torchvision.ops.SqueezeExcitation)),
        "channel": Reached("channel", **of(Ours["ChannelAttention"])),
        "spatial": Reached("spatial", **of(Ours["SpatialAttention"])),
        "CBAM": Reached("cbam", **of(Ours["CBAM"])),
    }),
    "initialization": (SHALLOW, {
        "Kaiming normal (fan-out)": Reached("kaiming_normal"),
        "PyTorch default": Reached("default"),
    }),
    "convolution": ({"name": "vgg11"}, {
        "kernel size 3": Reached("kernel_3", **of(nn.Conv2d, kernel_size=(3, 3))),
        "kernel size 5, padding": Reached("kernel_5", **of(nn.Conv2d, kernel_size=(5, 5), padding=(2, 2))),
        "kernel size 7": Reached("kernel_7", **of(nn.Conv2d, kernel_size=(7, 7))),
        "padding by reflection": Reached("reflect_padding", **of(nn.Conv2d, padding_mode="reflect")),
        "dilation": Reached("dilation_2", **of(nn.Conv2d, dilation=(2, 2))),
        "groups 2": Reached("groups_2", **of(nn.Conv2d, groups=2)),
        "groups 4": Reached("groups_4", **of(nn.Conv2d, groups=4)),
        "groups 8": Reached("groups_8", **of(nn.Conv2d, groups=8)),
        "depthwise": Reached("depthwise_separable", **of(nn.Conv2d, groups=64, kernel_size=(3, 3))),
        "1×1": Reached("pointwise", **of(nn.Conv2d, kernel_size=(1, 1))),
    }),
    # a strided depthwise convolution in pooling's place, and the stems: strides that a search and a row can choose
    "dropout": (SHALLOW, {"dropout": Reached(0.3, **of(nn.Dropout, p=0.3))}),
    "dropout2d": (SHALLOW, {"Dropout2d (spatial)": Reached(0.3, **of(nn.Dropout2d, p=0.3))}),
    "drop_block": (SHALLOW, {"DropBlock": Reached(0.1, **of(drop_block.DropBlock2d, p=0.1))}),
    "stochastic_depth": (SHALLOW, {
        "stochastic depth": Reached(0.2, **of(torchvision.ops.StochasticDepth, p=0.2, mode="row")),
    }),
}  # fmt: skip


def test_every_kind_of_component_stands_in_the_inventory():
    assert set(COMPONENTS) == set(KINDS)
    assert set(dropout.MODULES) <= set(COMPONENTS)


@pytest.mark.parametrize("kind", COMPONENTS)
def test_every_component_is_searched_from_a_study_file_and_stands_in_the_network_then(kind: str):
    architecture, words = COMPONENTS[kind]
    values = [reached.value for reached in words.values()]
    study = study_of([architecture], {kind: {"choice": ["original", *values]}})
    (entry,) = study.architectures
    plan_rows(study, channels=3, classes=10)  # builds the row and tries every value: raises unless all sites take it
    assert {configuration[kind] for configuration in drawn(study)} == {"original", *values}
    for word, reached in words.items():
        spec = NetworkSpec(
            entry.name, classes=10, channels=3, image_size=32, width=entry.width, depth=entry.depth,
            components={kind: reached.value},
        )  # fmt: skip
        with torch.device("meta"):
            network, report = build(spec)
        done = report.components[kind]
        assert done.value == reached.value and done.sites == done.of > 0, word
        if reached.module is not None:
            there = [part for part in network.modules() if isinstance(part, reached.module)]
            options = reached.options or {}
            assert any(all(getattr(part, key) == value for key, value in options.items()) for part in there), word


@pytest.mark.parametrize("kind", ["dropout", "dropout2d", "drop_block", "stochastic_depth"])
def test_a_rate_is_searched_over_a_range_too(kind: str):
    study = study_of([SHALLOW], {kind: {"float": [0.0, 0.5]}})
    rates = [configuration[kind] for configuration in drawn(study)]
    assert 0 <= min(rates) < 0.05 and 0.45 < max(rates) <= 0.5


def test_a_value_that_an_inventory_does_not_have_is_refused_with_those_that_there_are():
    with pytest.raises(
        StudyError, match=r"space.convolution.choice: unknown value 'kernel_4'; the nearest are kernel_3, "
    ):
        study_of(["resnet20"], {"convolution": {"choice": ["kernel_4"]}})


# ---------------------------------------------------------------- training

SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"constant": {}},
    "step": {"step": {"step_epochs": {"int": [2, 4]}, "gamma": 0.5}},
    "multi-step": {"multi_step": {"first_milestone": 0.4, "second_milestone": 0.8, "gamma": 0.5}},
    "cosine": {"cosine": {}},
    "cosine with linear warm-up": {"warmup_cosine": {"warmup_epochs": {"int": [1, 3]}}},
    "reduce-on-plateau": {"plateau": {"plateau_factor": 0.5, "plateau_patience": 1}},
    "linear warm-up then step": {"warmup_step": {"warmup_epochs": 2, "step_epochs": 3, "gamma": 0.5}},
}
OPTIMIZERS = {
    "SGD+momentum (0.9)": ({"sgd": {"momentum": {"float": [0.8, 0.95]}}}, torch.optim.SGD),
    "Adam": ({"adam": {"lr": {"float": [1e-4, 1e-2], "log": True}}}, torch.optim.Adam),
    "AdamW": ({"adamw": {}}, torch.optim.AdamW),
    "RMSprop": ({"rmsprop": {"momentum": 0.9}}, torch.optim.RMSprop),
}
# inventory's word → (the study file's, values of it)
REGULARIZERS: dict[str, tuple[str, list[Any]]] = {
    "weight decay": ("weight_decay", [0.0, 5e-4]),
    "label smoothing 0.1": ("label_smoothing", [0.0, 0.1]),
    "gradient clipping by norm 1.0": ("clip_norm", [None, 1.0]),
    "gradient clipping by value": ("clip_value", [None, 0.5]),
    "early stopping": ("early_stopping_patience", [None, 5]),
    "early stopping, minimum delta": ("early_stopping_min_delta", [0.0, 0.001]),
    "mixup": ("mixup", [0.0, 0.2]),
    "CutMix": ("cutmix", [0.0, 1.0]),
    "random erasing": ("random_erasing", [0.0, 0.25]),
    "EMA": ("ema_decay", [0.0, 0.999]),
    "gradient accumulation": ("accumulation_steps", [1, 4]),
}
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "random crop with padding 4": {"crop_padding": 4},
    "horizontal flip": {"horizontal_flip": True},
    "vertical flip": {"vertical_flip": True},
    "resized crop": {"resized_crop": 0.08},
    "rotation ±15°": {"rotation": 15},
    "colour jitter": {"color_jitter": 0.2},
    "affine": {"translation": 0.1, "scaling": 0.1, "shear": 10},
    "random erasing": {"random_erasing": 0.25},
}


def recipes(space: Mapping[str, Any]) -> list[Recipe]:
    """Recipes of drawn configurations, as a trial makes them."""
    return [Recipe(**effective(values)) for values in drawn(study_of(["lenet5"], space))]


def test_every_schedule_is_searched_with_its_own_parameters_and_gives_each_step_a_rate():
    choice = {name: below for row in SCHEDULES.values() for name, below in row.items()}
    found = recipes({"schedule": {"choice": choice}, "lr": 0.1})
    assert {recipe.schedule for recipe in found} == set(choice)
    for name in choice:
        recipe = next(recipe for recipe in found if recipe.schedule == name)
        rates = [learning_rate(recipe, step, 5, 10, [1.0] * (step // 5)) for step in range(50)]
        assert all(0 <= rate <= 0.1 for rate in rates) and (len(set(rates)) > 1) == (name != "constant"), name
    warm = learning_rate(next(recipe for recipe in found if recipe.schedule == "warmup_step"), 0, 5, 10)
    assert warm == pytest.approx(0.1 / 10)  # the first of two epochs' ten steps


def test_every_optimizer_is_searched_and_is_torchs():
    choice = {name: below for row, _ in OPTIMIZERS.values() for name, below in row.items()}
    found = recipes({"optimizer": {"choice": choice}})
    assert {recipe.optimizer for recipe in found} == set(choice)
    for row, kind in OPTIMIZERS.values():
        recipe = next(recipe for recipe in found if recipe.optimizer in row)
        assert type(build_optimizer(nn.Linear(2, 2), recipe)) is kind
    assert all(0.8 <= recipe.momentum <= 0.95 for recipe in found if recipe.optimizer == "sgd")


@pytest.mark.parametrize("word", REGULARIZERS)
def test_every_regulariser_is_searched(word: str):
    name, values = REGULARIZERS[word]
    found = recipes({name: {"choice": values}, "batch_size": 8})
    assert {getattr(recipe, name) for recipe in found} == set(values)


@pytest.mark.parametrize("word", AUGMENTATIONS)
def test_every_augmentation_is_searched_and_changes_training_images(word: str):
    settings = AUGMENTATIONS[word]
    off = {name: KNOBS[name].default for name in settings}
    found = recipes({name: {"choice": [off[name], value]} for name, value in settings.items()})
    on = next(recipe for recipe in found if all(getattr(recipe, name) == value for name, value in settings.items()))
    none = next(recipe for recipe in found if all(getattr(recipe, name) == off[name] for name in settings))
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    fill = torch.zeros(3, 1, 1, dtype=torch.uint8)
    for recipe, changes in ((on, True), (none, False)):
        augmentation = _augmentation(recipe)
        draws = augmentation.draw(8, 16, 16, torch.Generator().manual_seed(1))
        assert torch.equal(augmentation.apply(images, draws, fill), images) != changes


# ---------------------------------------------------------------- data

DATA = {
    "MNIST": "mnist",
    "Fashion-MNIST": "fashion_mnist",
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "ImageNet folders": "image_folder",
    "one's own class-per-folder images": "image_folder",
    "fake data": "fake",
}


@pytest.mark.parametrize("word", DATA)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_data_set_is_a_name_of_a_study_file_in_grey_and_colour(word: str, channels: int):
    tree = {"study": "inventory", "data": {"dataset": DATA[word], "image_size": 28, "channels": channels}}
    tree |= {"architectures": ["lenet5"], "budget": {"trials": 1, "epochs": 1}}
    assert parse(yaml.safe_dump(tree), vocabulary()).data.channels == channels
    assert DATASETS[DATA[word]].thing.read_train


def test_folders_are_cut_to_their_centre_and_resized(tmp_path):
    """Evaluation sees the central square of an image: here the green middle of red, green, blue."""
    stripes = Image.new("RGB", (60, 20))
    for left, color in ((0, "red"), (20, "lime"), (40, "blue")):
        stripes.paste(color, (left, 0, left + 20, 20))
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            stripes.save(tmp_path / split / name / "one.png")
    folder = DATASETS["image_folder"].thing
    for images in (folder.load_test(tmp_path, image_size=8), folder.load_validation(tmp_path, image_size=8)):
        assert images.pixels.shape == (2, 3, 8, 8)
        inner = images.pixels[:, :, :, 1:-1].double()  # the resampling looks a little beyond the cut
        assert inner.mean((0, 2, 3)).tolist() == [0, 255, 0]
