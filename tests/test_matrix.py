"""A part of the matrix: every component in small networks of each kind of block."""

import pytest
from torch import nn

from cnnbench.architectures import ARCHITECTURES
from cnnbench.components.kinds import KINDS
from matrix import PAGE, Ineffective, answers_of, built, row, try_cell, values

NETWORKS = ("lenet5", "simple_cnn", "resnet20", "convnext_atto")


@pytest.mark.parametrize("architecture", NETWORKS)
def test_every_component_changes_the_network_or_is_refused_with_a_reason(architecture):
    cells, faults = row(architecture)
    assert not faults
    assert set(cells) == set(values())
    for (kind, value), cell in cells.items():
        assert cell.sites > 0 or len(cell.reason) > 20, (kind, value)
    assert any(cell.own for cell in cells.values())


def test_a_component_without_effect_is_caught(monkeypatch):
    original = built("simple_cnn")
    before = answers_of(original)
    monkeypatch.setattr("cnnbench.components.activation.nn.Tanh", nn.ReLU)
    with pytest.raises(Ineffective, match="activation=tanh: replaced at 7 sites, outputs equal"):
        try_cell(original, before, "activation", "tanh")


def test_the_page_is_of_today():
    text = PAGE.read_text()
    assert all(f"\n| {name} |" in text for name in ARCHITECTURES)
    for kind in KINDS:
        assert f"\n## {kind}\n" in text
    for _, value in values():
        assert f" {value} |" in text
