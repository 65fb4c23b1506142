"""What `cnnbench effects` trains: one component swapped at a time, its learning rate tuned again, seeds paired."""

import pytest

from cnnbench.ledger import Ledger, TrialRecord
from cnnbench.protocol.controls import best_row
from cnnbench.protocol.done import study_is_done
from cnnbench.protocol.phases import FinalsPhase
from cnnbench.protocol.variants import complete_schedule, wanted_values
from cnnbench.report import leaderboard
from cnnbench.report.effects.effect_table import effects_table
from cnnbench.study import StudyError, parse
from cnnbench.training.recipe import KNOBS, Recipe
from cnnbench.trial.study_images import open_sources
from cnnbench.vocabulary import vocabulary
from cnnbench.workflows.effects import conduct_effects
from ledger_rows import again, majority
from swaps import Simulated


def swapped(simulated: Simulated) -> dict[tuple[str, object], object]:
    return {(v.component, v.value): v.instead_of for v in simulated.plan().variants}


def line_of(simulated: Simulated, value: str):
    (line,) = [line for line in effects_table(simulated.records).to_dict("records") if line["value"] == value]
    return line


def whole_study(finals: list[TrialRecord]) -> list[TrialRecord]:
    """What a finished study's ledger has beside its finals: the search trial, then the controls."""
    trained = {"test": None, "score": 0.9, "stop_epoch": 5}
    searched = finals[0].model_copy(update={"stage": "search", "trial_id": "searched", **trained})
    return [searched, *(again(final, 0.9) for final in finals), majority(0.1, study="simulated")]


class Heard:
    """A view that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Simulated:
    simulated = Simulated(tmp_path_factory.mktemp("done"), "{activation: [gelu, tanh, elu]}")
    simulated.finals()
    simulated.effects()
    return simulated


# ---------------------------------------------------------------- the effect found


def test_a_component_that_costs_one_point_by_construction_is_found(done):
    line = line_of(done, "tanh")
    assert line["p_value"] <= 0.05 and line["delta"] + line["ci95"] < 0
    assert line["delta"] == pytest.approx(-0.01, abs=0.003)
    assert line["instead_of"] == "relu" and line["n_seeds"] == 6


def test_a_component_that_does_nothing_by_construction_is_not_found(done):
    line = line_of(done, "gelu")
    assert line["p_value"] > 0.05 and abs(line["delta"]) < line["ci95"]


def test_a_component_that_only_needs_another_learning_rate_is_given_it(done):
    """Untuned it would lose 1.3 points: |1/3 - 1| of 2."""
    line = line_of(done, "elu")
    assert line["lr_factor"] == 3.0 and line["p_value"] > 0.05
    assert "highest learning rate" in line["remark"]


# ---------------------------------------------------------------- how it is trained


def test_learning_rates_are_tuned_on_validation_images_and_effects_measured_with_the_finals_seeds(done):
    effects = [spec for spec in done.trained if spec.stage == "effect"]
    tuning, measured = ([spec for spec in effects if spec.effect["phase"] == phase] for phase in ("tuning", "measured"))
    assert len(tuning) == 3 * 3 and len(measured) == 3 * 6
    assert all(spec.on_validation and spec.stop_epoch is None for spec in tuning)
    assert {spec.seed for spec in tuning} == {0}
    rates = [spec.hyperparameters["lr"] for spec in tuning if spec.network.components["activation"] == "tanh"]
    assert rates == pytest.approx([0.03, 0.1, 0.3])
    finals = {spec.index: spec for spec in done.trained if spec.stage == "final"}
    for spec in measured:
        assert not spec.on_validation
        assert (spec.seed, spec.stop_epoch) == (finals[spec.index].seed, finals[spec.index].stop_epoch)


def test_a_tuning_has_no_test_metrics_and_a_measured_effect_no_score(done):
    for record in done.records:
        if record.effect:
            assert (record.test is None) == (record.effect.phase == "tuning") == (record.score is not None)


def test_effects_that_were_interrupted_are_continued_and_come_out_the_same(done, tmp_path):
    again = Simulated(tmp_path, "{activation: [gelu, tanh, elu]}")
    again.finals()
    for most in (10, 20, 10_000):
        again.effects(most)
    assert {record.trial_id for record in again.records} == {record.trial_id for record in done.records}
    assert len(again.trained) == len(done.trained)
    assert effects_table(again.records).equals(effects_table(done.records))


def test_effects_want_finished_finals_and_say_how_to_get_them(tmp_path):
    new = Simulated(tmp_path / "new", "{activation: [gelu]}")
    wanted = r"^simulated: finals: not complete; run `cnnbench run 'a study.yaml'` first$"
    with pytest.raises(StudyError, match=wanted):
        conduct_effects(new.study, Heard(), [], "a study.yaml")
    assert not new.study.folder.path.exists()
    new.train(FinalsPhase(new.study, new.rows, new.recorder, new.winners, range(1000, 1005)))
    with pytest.raises(StudyError, match=wanted):
        conduct_effects(new.study, Heard(), [], "a study.yaml")


def test_effects_that_are_all_there_start_nothing(tmp_path):
    """In this process, where Ray is not started: nothing could be trained."""
    simulated = Simulated(tmp_path, "{activation: [gelu]}")
    simulated.split = open_sources(simulated.study.data).for_search().split  # of the images that are there
    simulated.finals()
    for control in whole_study(simulated.records):
        simulated.recorder.add(control)
    simulated.effects()
    heard = Heard()
    conducted = conduct_effects(simulated.study, heard, [], "study.yaml")
    assert heard.lines == [
        f"{len(simulated.records)} finished trials kept",
        "1 variants (resnet20 1), 9 trainings each, about 1 device-seconds in all",
        "all of these effects are measured; nothing is run again",
    ]
    assert list(conducted.records) == simulated.records


def test_a_variant_that_is_being_measured_keeps_its_learning_rate(tmp_path):
    simulated = Simulated(tmp_path, "{activation: [elu]}")
    simulated.finals()
    simulated.effects(6 + 3 + 2)  # finals, tunings, two measured
    wider = simulated.study.effects.model_copy(update={"lr_factors": (1.0, 2.9)})
    simulated.study = simulated.study.model_copy(update={"effects": wider})
    simulated.effects()
    measured = [record for record in simulated.records if record.effect and record.effect.phase == "measured"]
    assert [record.effect.lr_factor for record in measured] == [3.0] * 6


# ---------------------------------------------------------------- what is swapped


def test_the_value_that_the_architecture_has_is_no_variant_under_either_name(tmp_path):
    published = Simulated(tmp_path, "{activation: [original, relu, gelu]}")
    assert swapped(published) == {("activation", "gelu"): "relu"}
    tuned = Simulated(tmp_path, "{activation: [original, relu, gelu]}", {"activation": "gelu"})
    assert swapped(tuned) == {("activation", "relu"): "gelu"}
    named = Simulated(tmp_path, "{activation: [original, gelu]}", {"activation": "relu"})
    assert swapped(named) == {("activation", "gelu"): "relu"}


def test_without_a_component_is_a_variant_only_where_one_was_put_in(tmp_path):
    rates = "{dropout: [original, 0.0, 0.2]}"
    assert swapped(Simulated(tmp_path, rates)) == {("dropout", 0.2): "original"}
    assert swapped(Simulated(tmp_path, rates, {"dropout": 0.5})) == {
        ("dropout", "original"): 0.5,
        ("dropout", 0.2): 0.5,
    }
    own = Simulated(tmp_path, rates, architectures="alexnet")
    assert swapped(own) == {("dropout", 0.0): "original", ("dropout", 0.2): "original"}


def test_what_a_network_can_not_take_is_left_out_with_the_reason(tmp_path):
    plan = Simulated(tmp_path, "{window_pooling: [max], global_pooling: [average, grid_7]}").plan()
    assert not plan.variants
    pooling, grid = plan.left_out
    assert pooling == "resnet20: window_pooling: it has no such site"
    assert "grid_7" in grid and grid.startswith("resnet20: ")


def test_a_variant_above_a_limit_of_the_study_is_left_out(tmp_path):
    simulated = Simulated(tmp_path, "{attention: [none, squeeze_excite]}")
    limit = simulated.study.constraints.model_copy(update={"max_params": simulated.rows["resnet20"].cost["params"]})
    simulated.study = simulated.study.model_copy(update={"constraints": limit})
    (line,) = simulated.plan().left_out
    assert "squeeze_excite" in line and "constraints.max_params" in line


def test_a_schedule_is_swapped_whole(tmp_path):
    values = {"schedule": "one_cycle", "pct_start": 0.2}
    simulated = Simulated(tmp_path, "{schedule: [one_cycle, step]}", values)
    simulated.finals()
    simulated.effects()
    steps = [record for record in simulated.records if record.effect]
    assert len(steps) == 3 + 6
    for record in steps:
        assert record.hyperparameters["schedule"] == "step" and "pct_start" not in record.hyperparameters
        assert (record.hyperparameters["step_epochs"], record.hyperparameters["gamma"]) == (2, 0.1)


@pytest.mark.parametrize("epochs", [1, 7, 300])
@pytest.mark.parametrize("name", KNOBS["schedule"].choices)
def test_every_schedules_usual_parameters_are_allowed_and_its_own(name, epochs):
    usual = complete_schedule(name, epochs)
    assert Recipe(**usual).schedule == name
    for parameter, value in usual.items():
        assert KNOBS[parameter].accepts(value)
        assert parameter == "schedule" or name in KNOBS[parameter].belongs_to["schedule"]
    assert {n for n, knob in KNOBS.items() if name in knob.belongs_to.get("schedule", ())} == set(usual) - {"schedule"}


def test_by_default_what_the_space_searches_is_swapped_with_all_its_values(tmp_path):
    text = """
study: s
data: {dataset: digits}
architectures: [lenet5]
space:
  lr: {float: [0.01, 0.1]}
  activation: {choice: [relu, gelu]}
  normalization: batch
  dropout: {choice: [0.0, 0.3]}
  cutmix: {float: [0.0, 1.0]}
  optimizer: {choice: {sgd: {label_smoothing: {choice: [0.0, 0.2]}}, adamw: null}}
budget: {trials: 1, epochs: 1}
"""
    wanted = wanted_values(parse(text, vocabulary()))
    assert set(wanted) == {"activation", "dropout", "cutmix", "label_smoothing"}
    assert {"original", "relu", "mish", "tanh"} < set(wanted["activation"])
    assert (
        wanted["dropout"] == (0.0, 0.3) and wanted["label_smoothing"] == (0.0, 0.2) and wanted["cutmix"] == (0.0, 1.0)
    )


def test_a_study_file_may_name_known_components_and_their_values_only(tmp_path):
    with pytest.raises(StudyError, match=r"effects\.components: unknown component 'batch_size'; the nearest are sto"):
        Simulated(tmp_path, "[activation, batch_size]")
    with pytest.raises(
        StudyError, match=r"effects\.components\.activation: unknown value 'rellu'; the nearest are relu, "
    ):
        Simulated(tmp_path, "{activation: [rellu]}")


def test_a_space_without_components_asks_for_names(tmp_path):
    simulated = Simulated(tmp_path, "null")
    simulated.study = simulated.study.model_copy(update={"space": {}})
    with pytest.raises(StudyError, match=r"effects\.components: the space searches no component; name some"):
        simulated.plan()


# ---------------------------------------------------------------- who reads the ledger


def test_the_leaderboard_and_what_is_left_to_run_do_not_see_effects(done):
    finals = [record for record in done.records if record.stage == "final"]
    study = [*whole_study(finals), *finals]
    effects = [record for record in done.records if record.effect]
    assert leaderboard([*study, *effects]) == leaderboard(study)
    assert study_is_done(done.study, done.rows, [*study, *effects])
    for missing in range(1, len(study)):  # the first is the search, which a time limit may have ended
        assert not study_is_done(done.study, done.rows, [*study[:missing], *study[missing + 1 :], *effects])
    assert best_row([*finals[:5], *effects], ["resnet20"], 6) is None


def test_the_ledger_gives_effects_back(done):
    assert list(Ledger(done.study.folder.ledger).read().records) == done.records
