"""Figures published elsewhere: of networks and data sets that exist, shown beside ours as theirs."""

import re

import pytest

from cnnbench.report import leaderboard, write_report
from cnnbench.report.leaderboard import as_json_rows
from cnnbench.report.published import beside, published_figures
from cnnbench.vocabulary import vocabulary
from ledger_rows import again, finals


def on(dataset: str, records):
    split = records[0].split.model_copy(update={"dataset": dataset})
    return [record.model_copy(update={"split": split}) for record in records]


def test_every_figure_is_of_a_network_and_a_data_set_that_are_here_and_stands_once():
    known = vocabulary()
    figures = published_figures()
    assert {figure.architecture for figure in figures} <= set(known.architectures)
    assert {figure.dataset for figure in figures} <= {*known.datasets, "imagenet"}
    assert all(0.5 < figure.accuracy < 1 and figure.source and figure.recipe for figure in figures)
    assert len({(figure.architecture, figure.dataset, figure.source) for figure in figures}) == len(figures)


@pytest.mark.parametrize(
    ("architecture", "dataset", "accuracy"),
    [("resnet20", "cifar10", 0.9125), ("resnet110", "cifar10", 0.9357), ("lenet5", "cifar10", 0.65)],
)
def test_the_figures_are_those_of_the_papers_and_tutorials(architecture, dataset, accuracy):
    found = [
        each.accuracy for each in published_figures() if (each.architecture, each.dataset) == (architecture, dataset)
    ]
    assert found[0] == pytest.approx(accuracy)


def test_only_the_same_network_on_the_same_data_set_stands_beside(tmp_path):
    half = [record.model_copy(update={"options": {"width": 0.5}}) for record in finals("resnet20", 0.9)]
    records = [*half, *(again(record, 0.9) for record in half), *finals("unheard_of", 0.8)]
    cells = as_json_rows(leaderboard(on("cifar10", records)))
    lines = beside(cells, "cifar10")
    assert {(line.row, line.options) for line in lines} == {("resnet20", "width 0.5")}
    assert lines[0].difference == pytest.approx(-0.0125)
    assert beside(cells, "digits") == []
    html = write_report({}, on("cifar10", records), tmp_path, generated_utc="now", tracking_uri=None).page.read_text()
    section = re.findall(r'<section id="published".*?</section>', html, re.DOTALL)[0]
    assert "He et al. 2015, table 6, arxiv.org/abs/1512.03385" in section and "Recipes differ" in section
    assert "91.25" in section and "−1.25" in section
    html = write_report({}, on("digits", records), tmp_path, generated_utc="now", tracking_uri=None).page.read_text()
    assert 'id="published"' not in html
