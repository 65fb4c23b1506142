"""What the swap does at the sites of each kind: dropouts, norms, poolings."""

import torch
import torchvision
from torch import nn

from cnnbench.components import count_sites, swap
from traced_networks import IMAGE, Functional, Shared, images, modules_of, output


def test_the_dropout_rate_is_set_where_there_is_dropout():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout2d(0.1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 5))
    swapped, report = swap(network, {"dropout": 0.3}, IMAGE)
    assert [type(module) for module in modules_of(swapped, nn.modules.dropout._DropoutNd)] == [nn.Dropout2d, nn.Dropout]
    assert [module.p for module in modules_of(swapped, nn.modules.dropout._DropoutNd)] == [0.1, 0.3]
    assert (report.components["dropout"].how, report.components["dropout"].sites) == ("replaced", 1)
    swapped, report = swap(network, {"dropout2d": 0.3}, IMAGE)
    assert [module.p for module in modules_of(swapped, nn.modules.dropout._DropoutNd)] == [0.3, 0.5]
    assert (report.components["dropout2d"].how, report.components["dropout2d"].sites) == ("replaced", 1)


def test_without_dropout_one_is_inserted_before_the_last_layer():
    swapped, report = swap(Shared(), {"dropout": 1.0}, IMAGE)
    assert report.components["dropout"].how == "inserted"
    # everything is dropped before the classifier, so that its bias is all that is left
    assert torch.equal(swapped.train()(images()), swapped.fc.bias.expand(4, 5))
    assert not torch.equal(swapped.eval()(images()), swapped.fc.bias.expand(4, 5))


def test_a_norm_is_inserted_behind_each_convolution_but_not_behind_the_one_that_makes_the_logits():
    network = nn.Sequential(
        nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 32, 1), nn.ReLU(), nn.Conv2d(32, 5, 1), nn.AdaptiveAvgPool2d(1)
    )
    swapped, report = swap(network, {"normalization": "batch"}, IMAGE)
    assert report.components["normalization"].names == ("0_norm", "2_norm")
    assert [norm.num_features for norm in modules_of(swapped, nn.BatchNorm2d)] == [16, 32]
    assert [conv.bias is None for conv in modules_of(swapped, nn.Conv2d)] == [True, True, False]


def test_without_a_norm_normalization_none_is_kept_and_changes_nothing():
    network = Functional()
    swapped, report = swap(network, {"normalization": "none"}, IMAGE)
    assert (report.components["normalization"].how, report.components["normalization"].sites) == ("kept", 2)
    assert torch.equal(output(swapped, False), output(network, False))


def test_where_a_norm_is_taken_away_its_convolution_gets_a_bias():
    swapped, _ = swap(Shared(), {"normalization": "none"}, IMAGE)
    assert swapped.conv1.bias.tolist() == [0.0] * 4
    assert not modules_of(swapped, nn.BatchNorm2d)
    swapped(images()).sum().backward()
    assert swapped.conv1.bias.grad is not None


def test_a_new_norm_takes_over_scale_and_shift():
    network = Shared()
    nn.init.zeros_(network.norm1.weight)  # as a residual branch that starts at zero has it
    nn.init.constant_(network.norm1.bias, 2.0)
    swapped, _ = swap(network, {"normalization": "group"}, IMAGE)
    assert swapped.norm1.weight.tolist() == [0.0] * 4
    assert swapped.norm1.bias.tolist() == [2.0] * 4


def test_convnexts_norms_are_reached_in_both_layouts():
    network = torchvision.models.convnext.ConvNeXt(
        [torchvision.models.convnext.CNBlockConfig(16, 32, 1), torchvision.models.convnext.CNBlockConfig(32, None, 1)],
        num_classes=5,
    )
    swapped, report = swap(network, {"normalization": "batch", "activation": "prelu"}, (3, 32, 32))
    norms = modules_of(swapped, nn.BatchNorm2d)
    # the stem, a block of each stage, the downsampling, the classifier
    assert sorted(norm.num_features for norm in norms) == [16, 16, 16, 32, 32]
    assert not modules_of(swapped, nn.LayerNorm)
    assert [prelu.num_parameters for prelu in modules_of(swapped, nn.PReLU)] == [64, 128]
    assert report.components["normalization"].of == 5
    swapped.train()(images(32)).sum().backward()
    assert all(parameter.grad is not None for parameter in swapped.parameters())


def test_a_stem_pooling_keeps_its_window():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(3, stride=2, padding=1), nn.Flatten(), nn.Linear(64, 5))
    swapped, _ = swap(network, {"window_pooling": "average"}, IMAGE)
    (pool,) = modules_of(swapped, nn.AvgPool2d)
    assert (pool.kernel_size, pool.stride, pool.padding) == (3, 2, 1)


def test_adaptive_pooling_to_a_grid_is_no_global_pooling():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))
    assert count_sites(network, IMAGE)["global_pooling"] == 0
    assert count_sites(network, IMAGE)["window_pooling"] == 0


def test_a_map_of_one_pixel_is_no_site_of_global_pooling():
    network = nn.Sequential(nn.Conv2d(3, 4, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert count_sites(network, IMAGE)["global_pooling"] == 0
    assert count_sites(network, (3, 16, 16))["global_pooling"] == 1


def test_a_mean_over_the_map_becomes_a_pooling_and_a_flattening():
    swapped, report = swap(Functional(), {"global_pooling": "max"}, IMAGE)
    assert swapped(images()).shape == (4, 5)
    assert (report.components["global_pooling"].how, report.components["global_pooling"].sites) == ("replaced", 1)
