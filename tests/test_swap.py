"""The swap: which sites it finds, and that it changes nothing else."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from cnnbench.components import ComponentError, count_sites, swap
from cnnbench.components.trace import trace
from traced_networks import IMAGE, SMALL_STAGE, Functional, Gated, Shared, images, modules_of, output


def test_swapping_nothing_returns_the_very_network():
    network = Shared()
    swapped, report = swap(network, {"activation": None}, IMAGE)
    assert swapped is network
    assert report.components == {}


def test_one_shared_relu_becomes_a_prelu_of_the_right_width_at_each_site():
    swapped, report = swap(Shared(), {"activation": "prelu"}, IMAGE)
    slopes = modules_of(swapped, nn.PReLU)
    assert [prelu.num_parameters for prelu in slopes] in ([4, 8], [8, 4])
    assert report.components["activation"].sites == report.components["activation"].of == 2
    assert sorted(report.components["activation"].names) == ["relu", "relu_1"]
    assert not modules_of(swapped, nn.ReLU)


def test_one_prelu_that_was_shared_becomes_one_for_each_site_when_prelu_is_asked_for():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.PReLU(4), nn.Conv2d(4, 4, 1))
    network.append(network[1])
    swapped, report = swap(network, {"activation": "prelu"}, IMAGE)
    assert len(modules_of(swapped, nn.PReLU)) == 2
    assert report.components["activation"].how == "kept"
    assert torch.equal(output(swapped, True), output(network, True))


def test_the_given_network_is_left_as_it_was():
    network = Shared().train()
    before = copy.deepcopy(network.state_dict())
    swap(network, {"activation": "prelu", "normalization": "none", "dropout": 0.1}, IMAGE)
    assert network.state_dict().keys() == before.keys()
    assert network.relu.inplace and network.conv1.bias is None and network.training


def test_calls_are_sites_as_modules_are():
    assert count_sites(Functional(), IMAGE) == {
        "activation": 3,
        "window_pooling": 2,
        "global_pooling": 1,
        "normalization": 2,
        "attention": 2,
        "convolution": 1,  # not the first
        "initialization": 3,
        "dropout": 1,
        "dropout2d": 2,
        "drop_block": 2,
        "stochastic_depth": 0,
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("network", [Shared(), Functional(), Gated()])
def test_putting_in_what_is_there_already_changes_no_output(network: nn.Module, training: bool):
    swapped, report = swap(network, {"activation": "relu", "global_pooling": "average"}, IMAGE)
    assert report.components["activation"].how == report.components["global_pooling"].how == "kept"
    assert report.components["activation"].sites > 0
    assert torch.equal(output(swapped, training), output(network, training))


@pytest.mark.parametrize(("name", "activations"), [("googlenet", 57), ("densenet121", 121), ("mobilenet_v3_small", 24)])
def test_torchvision_networks_of_calls_and_gates_are_seen_whole(name: str, activations: int):
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    network = torchvision.models.get_model(name, weights=None, num_classes=5, **options)
    swapped, report = swap(network, {"activation": "mish"}, (3, 64, 64))
    assert report.components["activation"].sites == report.components["activation"].of == activations
    assert len(modules_of(swapped, nn.Mish)) == activations
    assert not torch.equal(output(swapped, True, 64), output(network, True, 64))
    as_it_is = trace(network, (3, 64, 64))
    assert torch.equal(output(as_it_is, True, 64), output(network, True, 64))
    assert torch.equal(output(as_it_is, False, 64), output(network, False, 64))


def test_googlenet_with_its_auxiliary_heads_is_refused_since_a_trace_would_freeze_them():
    network = torchvision.models.googlenet(weights=None, num_classes=5, aux_logits=True, init_weights=False)
    with pytest.raises(ComponentError, match="GoogLeNet computes something else in training"):
        swap(network, {"activation": "mish"}, (3, 64, 64))


def test_a_network_that_branches_on_its_numbers_is_refused_in_one_line():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ComponentError, match=r"^Branching can't be traced by torch.fx.*TraceError") as caught:
        swap(Branching(), {"activation": "mish"}, IMAGE)
    assert "\n" not in str(caught.value)


def test_gates_are_no_sites():
    assert count_sites(Gated(), IMAGE)["activation"] == 1
    assert count_sites(Gated(), IMAGE)["global_pooling"] == 1
    swapped, _ = swap(Gated(), {"activation": "mish"}, IMAGE)
    assert len(modules_of(swapped, nn.ReLU)) == 1


def test_torchvisions_squeeze_excitation_stays_whole():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), torchvision.ops.SqueezeExcitation(8, 2), nn.Conv2d(8, 5, 1))
    swapped, report = swap(network, {"activation": "mish"}, IMAGE)
    assert report.components["activation"].names == ("1",)
    assert isinstance(swapped.get_submodule("2.activation"), nn.ReLU)


class Auxiliary(nn.Module):
    """A last module that gives its inputs in training, and the first alone in evaluation."""

    opaque = True

    def forward(self, logits, auxiliary):
        return (logits, auxiliary) if self.training else logits


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel_size=1)
        self.act = nn.ReLU()
        self.fc1 = nn.Linear(4, 5)
        self.fc2 = nn.Linear(4, 5)
        self.heads = Auxiliary()

    def forward(self, x):
        x = self.act(self.conv(x)).mean([2, 3])
        return self.heads(self.fc1(x), self.fc2(x))


def test_an_opaque_module_is_not_opened_and_may_do_something_else_in_training():
    swapped, report = swap(TwoHeads(), {"activation": "mish"}, IMAGE)
    logits, auxiliary = swapped.train()(images())
    assert report.components["activation"].sites == 1
    assert logits.shape == auxiliary.shape == (4, 5)
    assert torch.equal(swapped.eval()(images()), logits)


def test_functional_dropout_is_active_in_training_alone_after_tracing():
    swapped, report = swap(Functional(), {"activation": "mish"}, IMAGE)
    assert "dropout" not in report.components
    swapped.train()
    assert not torch.equal(swapped(images()), swapped(images()))
    swapped.eval()
    assert torch.equal(swapped(images()), swapped(images()))


def test_stochastic_depth_is_active_in_training_alone_after_tracing():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), torchvision.ops.StochasticDepth(0.5, "row"))
    swapped, _ = swap(network, {"activation": "mish"}, IMAGE)
    outputs = torch.stack([swapped.train()(images()) for _ in range(8)])
    assert not torch.equal(outputs[0], outputs.mean(0))
    assert torch.equal(swapped.eval()(images()), swapped.eval()(images()))


def test_a_component_that_reaches_no_site_is_refused_and_says_why():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
    with pytest.raises(ComponentError, match="tiny: window_pooling=average reaches no site: it has no max or average"):
        swap(network, {"window_pooling": "average"}, IMAGE, name="tiny")
    swapped, report = swap(network, {"window_pooling": "average"}, IMAGE, allow_unreached=True)
    assert swapped is network
    assert (report.components["window_pooling"].sites, report.components["window_pooling"].how) == (0, "unreached")


def test_a_component_that_reaches_some_sites_is_refused_and_says_which_it_misses():
    network = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 5))
    network.insert(0, nn.BatchNorm2d(3))
    with pytest.raises(ComponentError, match="reaches 1 of 2 sites; at 2: instance normalisation of a 1×1 map"):
        swap(network, {"normalization": "instance"}, IMAGE)
    swapped, report = swap(network, {"normalization": "instance"}, IMAGE, allow_unreached=True)
    assert (report.components["normalization"].sites, report.components["normalization"].of) == (1, 2)
    assert [type(swapped.get_submodule(name)) for name in ("0", "2")] == [nn.InstanceNorm2d, nn.BatchNorm2d]


def test_what_read_an_overwritten_value_reads_the_new_one():
    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, kernel_size=1)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            x = self.conv(x)
            self.relu(x)  # its result is dropped: the next line reads x as it was overwritten
            return x.mean([2, 3])

    network = Overwriting()
    traced = trace(network, IMAGE)
    assert torch.equal(output(traced, True), output(network, True))
    swapped, _ = swap(network, {"activation": "tanh"}, IMAGE)
    assert torch.allclose(output(swapped, True), torch.tanh(network.conv(images())).mean([2, 3]))


def test_taking_a_norm_away_before_an_overwriting_activation_keeps_the_shortcut():
    class PreActivation(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            return x + self.relu(self.norm(x))

    swapped, _ = swap(PreActivation(), {"normalization": "none"}, IMAGE)
    assert torch.equal(swapped(images()), images() + images().relu())


EVERYTHING = {
    "activation": "prelu",
    "window_pooling": "mixed",
    "global_pooling": "average_max",
    "normalization": "layer",
    "dropout": 0.2,
}


def test_all_components_at_once_survive_copying_saving_layouts_and_mixed_precision():
    swapped, report = swap(Shared(), EVERYTHING, IMAGE)
    assert {kind: report.components[kind].value for kind in EVERYTHING} == EVERYTHING
    twin, _ = swap(Shared(), EVERYTHING, IMAGE)
    twin.load_state_dict(swapped.state_dict())
    expected = output(swapped, False)
    assert torch.equal(output(twin, False), expected)
    assert torch.equal(output(copy.deepcopy(swapped), False), expected)
    last = copy.deepcopy(swapped).to(memory_format=torch.channels_last)
    assert torch.allclose(output(last, False), expected, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(output(swapped, False).float(), expected, atol=0.3)


def test_parameters_that_no_component_touched_keep_their_names():
    swapped, _ = swap(Shared(), {"activation": "mish", "window_pooling": "average", "dropout": 0.5}, IMAGE)
    assert swapped.state_dict().keys() == Shared().state_dict().keys()


def test_the_mode_of_the_network_is_kept():
    assert swap(Shared().train(), {"activation": "mish"}, IMAGE)[0].training
    assert not swap(Shared().eval(), {"activation": "mish"}, IMAGE)[0].training


@pytest.mark.parametrize("network", [Shared(), torchvision.models.convnext.ConvNeXt([SMALL_STAGE], num_classes=5)])
def test_a_swapped_network_can_be_swapped_again(network: nn.Module):
    components = {"activation": "prelu", "global_pooling": "average_max", "normalization": "batch", "dropout": 0.2}
    once, _ = swap(network, components, (3, 16, 16))
    twice, report = swap(once, components, (3, 16, 16))
    assert {kind.how for kind in report.components.values()} == {"kept"}
    assert torch.equal(output(twice, False, 16), output(once, False, 16))


def test_a_swapped_network_trains_under_distributed_data_parallel(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        swapped, _ = swap(Shared(), EVERYTHING, IMAGE)
        wrapped = nn.parallel.DistributedDataParallel(swapped)
        wrapped(images()).sum().backward()
        assert all(parameter.grad is not None for parameter in wrapped.parameters())
    finally:
        torch.distributed.destroy_process_group()
