"""Attention modules against their papers' equations in numpy, and where they go."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from cnnbench.components import COMPONENTS, ComponentError, swap
from cnnbench.components.attention import CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from cnnbench.components.kinds import Place
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec

PLACE = Place((1, 32, 5, 6))
GATES = ("squeeze_excite", "channel", "spatial", "cbam")


def make(value: str) -> nn.Module:
    torch.manual_seed(0)
    return COMPONENTS["attention"][value].thing(PLACE).double()


def maps() -> torch.Tensor:
    return torch.randn(2, 32, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def channel_gate(module: ChannelAttention, x: np.ndarray) -> np.ndarray:
    first, second = module.fc1.weight.detach().numpy(), module.fc2.weight.detach().numpy()
    assert first.shape == (2, 32) and second.shape == (32, 2)  # reduction 16

    def mlp(pooled: np.ndarray) -> np.ndarray:
        return np.maximum(pooled @ first.T, 0) @ second.T

    return sigmoid(mlp(x.mean((2, 3))) + mlp(x.max((2, 3))))[:, :, None, None]


def spatial_gate(module: SpatialAttention, x: np.ndarray) -> np.ndarray:
    weight = module.conv.weight.detach().numpy()[0]
    pooled = np.stack([x.mean(1), x.max(1)], axis=1)
    padded = np.pad(pooled, ((0, 0), (0, 0), (3, 3), (3, 3)))
    gate = np.empty((len(x), 1, *x.shape[2:]))
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            gate[:, 0, row, column] = (padded[:, :, row : row + 7, column : column + 7] * weight).sum((1, 2, 3))
    return sigmoid(gate)


def test_squeeze_excite_is_equations_2_to_4_of_hu_et_al():
    module, x = make("squeeze_excite"), maps().numpy()
    first, second = (layer.weight.detach().numpy()[:, :, 0, 0] for layer in (module.fc1, module.fc2))
    biases = module.fc1.bias.detach().numpy(), module.fc2.bias.detach().numpy()
    hidden = np.maximum(x.mean((2, 3)) @ first.T + biases[0], 0)
    gate = sigmoid(hidden @ second.T + biases[1])
    assert hidden.shape == (2, 2)  # reduction 16
    np.testing.assert_allclose(module(maps()).detach(), x * gate[:, :, None, None], rtol=1e-10)


def test_channel_attention_is_equation_2_of_woo_et_al():
    module, x = make("channel"), maps().numpy()
    np.testing.assert_allclose(module(maps()).detach(), x * channel_gate(module, x), rtol=1e-10)


def test_spatial_attention_is_equation_3_of_woo_et_al():
    module, x = make("spatial"), maps().numpy()
    np.testing.assert_allclose(module(maps()).detach(), x * spatial_gate(module, x), rtol=1e-10)


def test_cbam_is_channel_attention_and_then_spatial_attention():
    module, x = make("cbam"), maps().numpy()
    x = x * channel_gate(module.channel, x)
    np.testing.assert_allclose(module(maps()).detach(), x * spatial_gate(module.spatial, x), rtol=1e-10)


@pytest.mark.parametrize("value", GATES)
def test_gradients_are_those_of_the_function(value: str):
    x = maps()[:1, :, :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(make(value), x)


@pytest.mark.parametrize("value", GATES)
def test_mixed_precision_and_layouts_keep_shape_and_type(value: str):
    module, x = make(value).float(), maps().float()
    last = module(x.to(memory_format=torch.channels_last))
    assert torch.allclose(last, module(x), atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(x.bfloat16()).dtype == torch.bfloat16
    assert COMPONENTS["attention"][value].thing(Place((1, 3, 2, 2)))(torch.randn(1, 3, 2, 2)).shape == (1, 3, 2, 2)


def test_it_ends_the_branch_before_the_addition():
    network = torchvision.models.resnet.BasicBlock(16, 16)
    swapped, report = swap(network, {"attention": "channel"}, (16, 8, 8))
    (gate,) = [module for module in swapped.modules() if isinstance(module, ChannelAttention)]
    nn.init.zeros_(gate.fc2.weight)  # every gate is sigmoid(0), a half
    x = torch.randn(2, 16, 8, 8)
    branch = network.bn2(network.conv2(network.relu(network.bn1(network.conv1(x)))))
    assert torch.allclose(swapped(x), torch.relu(0.5 * branch + x), atol=1e-6)
    assert report.components["attention"].names == ("attention",)


def test_without_branches_it_stands_behind_the_activation_of_each_convolution():
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 1))
    network.extend([nn.ReLU(), nn.Flatten(), nn.Linear(288, 8), nn.ReLU(), nn.Linear(8, 5)])
    swapped, report = swap(network, {"attention": "squeeze_excite"}, (3, 8, 8))
    assert report.components["attention"].names == ("2_attention", "5_attention")
    order = [str(node.target) for node in swapped.graph.nodes if node.op == "call_module"]
    assert order == ["0", "1", "2", "2_attention", "3", "4", "5", "5_attention", "6", "7", "8", "9"]


def test_a_gate_that_the_network_has_is_replaced_or_taken_away():
    torch.manual_seed(0)
    network = torchvision.models.get_model("mobilenet_v3_small", weights=None, num_classes=5)
    for value, kind in (("cbam", CBAM), ("squeeze_excite", SqueezeExcite), ("none", torchvision.ops.SqueezeExcitation)):
        swapped, report = swap(network, {"attention": value}, (3, 32, 32))
        # MobileNetV3's table 2 has 9 blocks with squeeze-excite
        assert (report.components["attention"].sites, report.components["attention"].how) == (9, "replaced")
        assert sum(isinstance(module, kind) for module in swapped.modules()) == (0 if value == "none" else 9)


def test_a_papers_own_cbam_is_a_site_too():
    torch.manual_seed(0)
    network, _ = build(NetworkSpec("cbam_resnet18", classes=5, channels=3, image_size=16, width=0.25))
    swapped, report = swap(network, {"attention": "none"}, (3, 16, 16))
    assert (report.components["attention"].sites, report.components["attention"].how) == (8, "replaced")
    plain, _ = build(NetworkSpec("modern_cnn", classes=5, channels=3, image_size=16, width=0.25))
    parameters = [sum(p.numel() for p in network.parameters()) for network in (swapped, plain)]
    assert parameters[0] == parameters[1]


def test_none_in_a_network_without_gates_changes_nothing():
    network = torchvision.models.resnet.BasicBlock(16, 16).eval()
    swapped, report = swap(network, {"attention": "none"}, (16, 8, 8))
    assert report.components["attention"].how == "kept"
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(swapped(x), network(x))


def test_tokens_are_no_maps():
    with torch.device("meta"):
        network = torchvision.models.vit_b_32(image_size=64)
    with pytest.raises(ComponentError, match="attention=cbam reaches no site: it has neither an attention module"):
        swap(network, {"attention": "cbam"}, (3, 64, 64))
