"""The plan of a study: rows that differ in width and depth, and pairs of network and component that make no sense."""

import pytest
import torch

from cnnbench.components import ComponentError, refusals, swap
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.protocol.plan import plan_rows
from cnnbench.study import StudyError, parse
from cnnbench.vocabulary import vocabulary
from cnnbench.workflows.continuation import resolved

STUDY = """
study: planned
data: {dataset: digits, image_size: 16}
architectures: [resnet20, {name: resnet20, width: 0.5, depth: 1.5}, {name: resnet20, depth: 2}]
space: {lr: 0.1}
budget: {trials: 2, epochs: 3}
"""


def test_a_resolved_study_says_the_defaults_of_its_settings():
    defaults = resolved(parse(STUDY, vocabulary()))["defaults"]
    assert (defaults["lr"], defaults["schedule"], defaults["activation"]) == (0.1, "warmup_cosine", "original")


def test_width_and_depth_make_rows_of_their_own():
    rows = plan_rows(parse(STUDY, vocabulary()), channels=3, classes=10)
    assert list(rows) == ["resnet20", "resnet20_w0.5_d1.5", "resnet20_d2"]
    # He et al. 2015, table 6: ResNet-20 0.27 M; at twice the depth it is ResNet-38
    assert round(rows["resnet20"].cost["params"] / 1e6, 2) == 0.27
    with torch.device("meta"):
        deeper, _ = build(NetworkSpec("resnet20", classes=10, channels=3, image_size=16, depth=2))
    assert rows["resnet20_d2"].cost["params"] == sum(p.numel() for p in deeper.parameters())


@pytest.mark.parametrize("depth", ["0", "17", "-1", "deep"])
def test_a_depth_that_makes_no_sense_is_refused(depth: str):
    with pytest.raises(StudyError, match=r"architectures.2.depth: "):
        parse(STUDY.replace("depth: 2", f"depth: {depth}"), vocabulary())


def test_a_network_without_a_depth_multiplier_says_so():
    study = parse(STUDY.replace("name: resnet20, depth: 2", "name: lenet5, depth: 2"), vocabulary())
    with pytest.raises(StudyError, match=r"architectures.2 \(lenet5_d2\): lenet5: it has no depth multiplier"):
        plan_rows(study, channels=3, classes=10)


def test_every_pair_that_makes_no_sense_is_said_at_once_and_a_line_each():
    space = "normalization: {choice: [batch, instance]}, stochastic_depth: {float: [0.0, 0.2]}, dropout2d: 0.1"
    study = parse(STUDY.replace("lr: 0.1", space).replace("resnet20", "vgg11_gap", 1), vocabulary())
    with pytest.raises(StudyError) as caught:
        plan_rows(study, channels=3, classes=10)
    assert len(caught.value.errors) == 1
    assert "architectures.0 (vgg11_gap): space.stochastic_depth: this architecture has no such site" in str(
        caught.value
    )
    allowed = study.model_copy(update={"unreached_components": "leave_out"})
    with pytest.raises(StudyError) as caught:
        plan_rows(allowed, channels=3, classes=10)  # 1×1 maps, at 16 pixels, at the end of VGG
    assert len(caught.value.errors) == 1
    assert "space.normalization: vgg11_gap: normalization=instance reaches" in str(caught.value)


def test_what_is_refused_in_the_plan_is_what_the_swap_would_raise():
    values = {
        "global_pooling": ["average", "grid_4", "grid_7"], "normalization": ["group_32", "none"],
        "activation": ["frelu"], "stochastic_depth": [0.0, 0.5],
    }  # fmt: skip
    image = (3, 32, 32)
    network, _ = build(NetworkSpec("vgg11_gap", classes=10, channels=3, image_size=32))
    refused = refusals(network, values, image, name="vgg11_gap")
    assert len(refused["global_pooling"]) == len(refused["stochastic_depth"]) == 2  # its last maps are 2×2
    for kind, candidates in values.items():
        raised = []
        for value in candidates:
            try:
                swap(network, {kind: value}, image, name="vgg11_gap")
            except ComponentError as error:
                raised.append(str(error))
        assert refused[kind] == raised
