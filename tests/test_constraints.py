"""Limits on parameters and MACs: known before anything is trained, and kept by every proposal."""

from collections.abc import Mapping

import pytest
import torch

from cnnbench.networks.build import build
from cnnbench.networks.cost import measure
from cnnbench.networks.spec import NetworkSpec
from cnnbench.protocol.constraints import admission
from cnnbench.protocol.plan import plan_rows
from cnnbench.search.search import StudySearch
from cnnbench.study import Study, StudyError, parse
from cnnbench.vocabulary import vocabulary

STUDY = """
study: limited
data: {dataset: digits, image_size: 16}
architectures: [{name: simple_cnn, width: 0.25}]
space: {attention: {choice: [none, squeeze_excite, cbam]}, lr: {float: [0.01, 0.1], log: true}}
budget: {trials: 12, epochs: 1}
search: {sampler: random}
"""


def study(limits: str) -> Study:
    return parse(f"{STUDY}constraints: {limits}", vocabulary())


def measured(attention: str) -> Mapping[str, int]:
    components = {} if attention == "none" else {"attention": attention}
    with torch.device("meta"):
        built, _ = build(
            NetworkSpec("simple_cnn", classes=10, channels=1, image_size=16, width=0.25, components=components)
        )
        return vars(measure(built, (1, 16, 16)))


@pytest.mark.parametrize("what", ["params", "macs"])
def test_no_configuration_above_a_limit_is_proposed_and_those_below_are(what, tmp_path):
    prices = {attention: measured(attention)[what] for attention in ("none", "squeeze_excite", "cbam")}
    limit = sorted(prices.values())[1]  # the dearest is over it
    limited = study(f"{{max_{what}: {limit}}}")
    rows = plan_rows(limited, channels=1, classes=10)
    spaces = {label: row.space for label, row in rows.items()}
    admits = admission(limited, rows)
    search = StudySearch(limited.search, limited.budget.trials, spaces, tmp_path / "optuna.journal", (), admits)
    proposed = []
    while (proposal := search.ask()) is not None:
        proposed.append(proposal.values["attention"])
    assert len(proposed) == 12
    assert set(proposed) == {attention for attention, price in prices.items() if price <= limit}


def test_an_architecture_above_a_limit_is_refused_with_its_figure_before_the_study_starts():
    params = measured("none")["params"]
    with pytest.raises(StudyError, match=rf"{params:,} params are more than constraints\.max_params, 100"):
        plan_rows(study("{max_params: 100}"), channels=1, classes=10)


def test_a_study_without_limits_admits_everything():
    assert admission(study("{max_params: null}"), {}) is None
