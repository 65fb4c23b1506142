"""A part of the matrix: every component in small networks of each kind of block."""

import warnings

import pytest
from torch import nn

from cnnbench.architectures import ARCHITECTURES
from cnnbench.components.kinds import KINDS
from cnnbench.networks.build import sites
from cnnbench.networks.spec import NetworkSpec
from matrix import PAGE, SIZE, Cell, Ineffective, answers_of, built, missing, page, read, row, try_cell, values

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


def test_the_page_has_no_architecture_and_no_value_that_is_not_there_and_says_what_it_lacks():
    rows, stands_for = read(PAGE.read_text())
    assert set(stands_for) <= set(ARCHITECTURES)
    assert set(stands_for.values()) == set(rows)
    for name, cells in rows.items():
        assert set(cells) <= set(values()), name
        assert all(cell.sites > 0 or len(cell.reason) > 20 for cell in cells.values()), name
    lacking = {f"{kind}={value}" for cells in missing(rows, list(rows)).values() for kind, value in cells}
    if lacking := sorted(lacking | set(ARCHITECTURES) - set(stands_for)):
        warnings.warn(f"docs/matrix.md has no {', '.join(lacking)} yet: make matrix-missing", stacklevel=1)


def test_each_row_of_the_page_has_the_sites_that_its_network_has_today():
    """A cell that reached something reached all sites; of a few networks, whose count takes no time."""
    rows, _ = read(PAGE.read_text())
    for name in (*NETWORKS, "mobilenet_v2", "vit_b_16"):
        found = sites(NetworkSpec(name, classes=10, channels=3, image_size=SIZE))
        counts = {kind: {cell.sites for (of, _), cell in rows[name].items() if of == kind} - {0} for kind in KINDS}
        assert all(counts[kind] <= {found[kind]} for kind in KINDS), name


def test_a_page_that_is_read_and_written_again_is_the_same():
    text = PAGE.read_text()
    assert page(*read(text)) == text


def test_what_a_new_value_or_architecture_adds_is_missing_and_nothing_else():
    rows = {name: dict.fromkeys(values(), Cell(1)) for name in ("lenet5", "resnet20")}
    assert missing(rows, list(rows)) == {}
    del rows["resnet20"]["activation", "mish"]
    assert missing(rows, [*rows, "a_new_one"]) == {"resnet20": [("activation", "mish")], "a_new_one": list(values())}
