"""The study file: what it means, and what it refuses."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbench.study import Study, StudyError, Vocabulary, load, parse
from cnnbench.study.space import Choice, Fixed, FloatRange, IntRange, values_of, walk, without
from cnnbench.training.recipe import KNOBS

VOCABULARY = Vocabulary(("lenet5", "resnet20"), ("digits", "cifar10"), KNOBS)
SMALL = """
study: small
data: {dataset: digits, image_size: 16}
architectures: [lenet5, {name: resnet20, width: 0.5}]
budget: {trials: 8, epochs: 10}
"""


def errors_of(text: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(StudyError) as caught:
        parse(text, VOCABULARY, overrides)
    return caught.value.errors


def study(space: str = "", *overrides: str) -> Study:
    return parse(SMALL + space, VOCABULARY, overrides)


def test_a_small_study_has_the_documented_defaults():
    result = study()
    assert [architecture.row for architecture in result.architectures] == ["lenet5", "resnet20_w0.5"]
    assert (result.search.sampler, result.search.pruner, result.finals.seeds) == ("tpe", "asha", 6)
    assert result.resources.gpus == "auto"


@pytest.mark.parametrize(("epochs", "first"), [(1, 1), (8, 1), (27, 3), (100, 11)])
def test_trials_are_first_judged_after_a_ninth_of_their_epochs_unless_the_study_says_when(epochs, first):
    assert study("", f"budget.epochs={epochs}").search.min_epochs == first
    assert study("", f"budget.epochs={epochs}", "search.min_epochs=1").search.min_epochs == 1


def test_every_kind_of_domain_is_read():
    space = study("space: {lr: {float: [1e-3, 1], log: true}, batch_size: {int: [16, 64], step: 16}, "
                  "optimizer: adamw, schedule: {choice: [constant, cosine]}}").space  # fmt: skip
    assert space["lr"] == FloatRange(0.001, 1.0, log=True)
    assert space["batch_size"] == IntRange(16, 64, step=16)
    assert space["optimizer"] == Fixed("adamw")
    assert space["schedule"] == Choice({"constant": {}, "cosine": {}})


def test_a_schedules_own_parameters_exist_only_under_it():
    space = study("space: {schedule: {choice: {constant: null, step: {gamma: {float: [0.1, 0.5]}}}}}").space
    assert [path for _, path, _ in walk(space)] == ["schedule", "schedule.step.gamma"]
    (error,) = errors_of(SMALL + "space: {schedule: {choice: [constant, step]}, gamma: 0.5}")
    assert error.startswith("space.gamma: exists only under schedule: step, multi_step")


def test_a_parameter_may_stand_flat_where_its_parent_is_fixed():
    assert study("space: {schedule: step, gamma: 0.5}").space["gamma"] == Fixed(0.5)


def test_exponents_without_a_dot_are_numbers_in_yaml():
    assert study("space: {lr: 1e-3}").space["lr"] == Fixed(0.001)


def test_no_and_times_are_refused_by_name_where_another_type_is_meant():
    assert "write true or false" in errors_of(SMALL + "space: {nesterov: no, optimizer: sgd}")[0]
    errors = errors_of(SMALL, "budget.time_limit_s=12:30")
    assert errors == ("budget.time_limit_s: should be a number, got '12:30'; write a time as a number of seconds",)


def test_all_errors_come_at_once_each_with_its_field():
    errors = errors_of(
        "study: My Study\n"
        "data: {dataset: digts, image_size: big}\n"
        "architectures: [lenet5, {name: resnet20, wdth: 2}]\n"
        "budget: {trials: 0, epochs: 3}\n"
        "resources: {gpus: lots}\n"
        "space: {lr: [1, 2], activation: rellu, batch_size: {int: [9, 3]}}\n"
    )
    assert [error.split(":")[0] for error in errors] == [
        "study", "data.image_size", "architectures.1.wdth", "budget.trials", "resources.gpus",
        "data.dataset", "space.lr", "space.activation", "space.batch_size.int",
    ]  # fmt: skip


def test_a_message_keeps_its_own_words():
    (error,) = errors_of(SMALL, "architectures=[]")
    assert error == "architectures: Tuple should have at least 1 item, not 0, got []"


def test_unknown_names_list_what_is_allowed():
    errors = errors_of(SMALL.replace("lenet5", "lenet").replace("digits,", "digts,"))
    assert errors == (
        "data.dataset: unknown data set 'digts'; choose from digits, cifar10",
        "architectures.0: unknown architecture 'lenet'; choose from lenet5, resnet20",
    )


def test_fewer_than_six_seeds_need_a_reason_in_words():
    assert "say why in finals.few_seeds_reason" in errors_of(SMALL, "finals.seeds=3")[0]
    assert study("", "finals.seeds=3", "finals.few_seeds_reason=a smoke test").finals.seeds == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x", "line 2, column 4: aliases are not allowed"),
        ("a: 1\na: 2", "line 2, column 1: key 'a' stands twice"),
        ("[" * 50, "nested deeper than 20"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("- 1", "the document is not a mapping"),
    ],
)
def test_a_document_beyond_plain_yaml_is_refused(text, message):
    assert message in errors_of(text)[0]


def test_overrides_reach_every_field_and_unknown_ones_are_refused():
    assert study("", "budget.trials=3", "space.lr={float: [0.1, 1]}").space == {"lr": FloatRange(0.1, 1.0)}
    assert "choose from trials, epochs, images, device_seconds, time_limit_s" in errors_of(SMALL, "budget.trails=3")[0]
    assert "--set budget.trials: write --set field=value" in errors_of(SMALL, "budget.trials")[0]


def test_a_missing_file_is_one_clear_error(tmp_path: Path):
    with pytest.raises(StudyError, match="No such file"):
        load(tmp_path / "none.yaml", VOCABULARY)


def test_a_left_out_hyperparameter_takes_what_exists_only_under_it():
    space = study("space: {lr: 0.1, schedule: {choice: {step: {gamma: 0.1}, cosine: null}}}").space
    assert without(space, {"schedule"}) == {"lr": Fixed(0.1)}
    assert without(space, {"gamma"})["schedule"] == Choice({"step": {}, "cosine": {}})
    assert values_of(space["schedule"]) == ("step", "cosine")


@settings(max_examples=200, deadline=None)
@given(
    path=st.sampled_from(["study", "data", "data.image_size", "architectures", "budget.trials", "space", "space.lr",
                          "search.sampler", "finals", "resources.gpus", "storage", "nothing"]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
)  # fmt: skip
def test_any_value_anywhere_gives_a_study_or_errors_that_name_a_field(path, value):
    import yaml

    tree = yaml.safe_load(SMALL)
    *parents, last = path.split(".")
    place = tree
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    try:
        parse(yaml.safe_dump(tree), VOCABULARY)
    except StudyError as error:
        assert error.errors and all(line.strip() for line in error.errors)
