"""A leaderboard row run again: its id, the verdict by hand, and through the CLI on real images."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cnnbench.ledger import Ledger, TrialRecord
from cnnbench.progress import StudyView
from cnnbench.protocol.recorded import data_differences, environment_differences, find
from cnnbench.protocol.verdict import judge
from cnnbench.row_id import row_id
from cnnbench.study import StudyError
from cnnbench.workflows.reproduction import reproduce, seeds_of, still_holds
from ledger_rows import again, final, finals, majority, scored, trial

STUDY = """
study: tiny
data: {dataset: digits, image_size: 16}
architectures: [lenet5]
space: {lr: {float: [0.05, 0.1]}, activation: gelu, schedule: constant}
budget: {trials: 1, epochs: 2}
finals: {seeds: 3, few_seeds_reason: test}
precision: fp32
resources: {concurrent_trials: 1, cluster: local}
"""


def three() -> list[TrialRecord]:
    """Finals with mean 0.92 and deviation 0.02; Student's t(0.975, 2) is 4.302653."""
    return [final("net", 1000 + place, accuracy) for place, accuracy in enumerate((0.90, 0.92, 0.94))]


def changed(record: TrialRecord, part: str, **fields: object) -> TrialRecord:
    return record.model_copy(update={part: getattr(record, part).model_copy(update=fields)})


# ---------------------------------------------------------------- a row's id


def test_a_rows_id_is_the_same_for_the_same_experiment_whatever_came_out():
    first = row_id(three())
    assert first is not None and len(first) == 12 and set(first) <= set("0123456789abcdef")
    assert row_id(reversed(three())) == first
    assert row_id([record.model_copy(update={"test": scored(0.5)}) for record in three()]) == first


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.model_copy(update={"seed": r.seed + 1}),
        lambda r: r.model_copy(update={"row": "other"}),
        lambda r: r.model_copy(update={"commit": "f" * 40}),
        lambda r: r.model_copy(update={"stop_epoch": 1}),
        lambda r: r.model_copy(update={"hyperparameters": {**r.hyperparameters, "lr": 0.2}}),
        lambda r: changed(r, "split", data_checksum="c" * 64),
        lambda r: changed(r, "machine", versions={"torch": "2.14.0"}),
        lambda r: r.model_copy(update={"status": "diverged"}),
    ],
)
def test_a_change_of_anything_that_makes_a_row_changes_its_id(change):
    records = three()
    assert row_id([change(records[0]), *records[1:]]) != row_id(records)


def test_a_row_without_a_completed_final_has_no_id():
    assert row_id([final("net", 1000, 0.9, status="failed", test=None)]) is None


# ---------------------------------------------------------------- the verdict


@pytest.mark.parametrize(
    ("accuracies", "inside"),
    [
        ([0.83], True),  # 0.92 - 4.302653 * 0.02 * sqrt(1 + 1/3) = 0.8206
        ([0.82], False),
        ([0.83, 0.87], True),  # 0.92 - 4.302653 * 0.02 * sqrt(1/2 + 1/3) = 0.8414
        ([0.82, 0.86], False),
        ([1.00], True),  # 1.0194 above
    ],
)
def test_runs_from_fresh_seeds_are_judged_by_the_prediction_interval_of_their_mean(accuracies, inside):
    runs = [final("net", 2000 + place, accuracy) for place, accuracy in enumerate(accuracies)]
    verdict = judge(three(), runs, (), on_cpu=True)
    assert verdict.reproduced is inside and (" inside " if inside else " outside ") in verdict.why
    assert verdict.interval[0] == pytest.approx(0.8206345 if len(runs) == 1 else 0.8414447, abs=1e-7)


def test_equal_accuracies_reproduce_a_row_without_any_spread():
    same = [final("net", seed, 0.1 + 0.2) for seed in (1000, 1001, 1002)]
    assert judge(same, [final("net", 2000 + n, 0.1 + 0.2) for n in range(7)], (), on_cpu=True).reproduced


def test_the_rows_own_seeds_must_repeat_it_to_the_bit_where_nothing_is_different():
    assert judge(three(), three(), (), on_cpu=True).reproduced
    nearly = [*three()[:2], final("net", 1002, 0.94, epochs=[])]  # the same accuracy by another curve
    verdict = judge(three(), nearly, (), on_cpu=True)
    assert verdict.reproduced is False and verdict.why.startswith("2 of 3 equal to the bit")
    assert [run.equal for run in verdict.runs] == [True, True, False]


def test_the_rows_own_seeds_are_judged_by_the_interval_elsewhere():
    near = [final("net", 1000, 0.91), *three()[1:]]
    far = [final("net", 1000, 0.52), *three()[1:]]
    for elsewhere in ({"differences": ["torch: 2.11.0 in the row, 2.15.0 here"], "on_cpu": True},
                      {"differences": (), "on_cpu": False}):  # fmt: skip
        assert judge(three(), near, **elsewhere).reproduced is True
        assert judge(three(), far, **elsewhere).reproduced is False
        assert judge(three(), three(), **elsewhere).why.startswith("3 of 3 equal to the bit")


def test_a_run_that_did_not_complete_leaves_no_verdict():
    lost = final("net", 2001, 0.9, status="out-of-memory", test=None, reason="try a smaller batch")
    verdict = judge(three(), [final("net", 2000, 0.9), lost], (), on_cpu=True)
    assert verdict.reproduced is None
    assert "seed 2001: out-of-memory (try a smaller batch)" in str(verdict)


# ---------------------------------------------------------------- what is different


def test_every_difference_of_images_is_one_line():
    here = changed(three()[0], "split", data_checksum="c" * 64, test=99).split
    lines = data_differences(three()[0].split, here)
    assert lines == ["test: 100 in the row, 99 here", f"data_checksum: {'a' * 64} in the row, {'c' * 64} here"]


HERE = {
    "commit": "0123456789abcdef0123456789abcdef01234567", "device": "cpu: invented", "CPUs of the host": "2",
    "threads": "not recorded", "Python": "3.11.2", "torch": "2.15.0", "cnnbench": "0.1.0",
}  # fmt: skip


def test_every_difference_of_environment_is_one_line():
    record, here = three()[0], HERE
    assert environment_differences([record], here) == []
    moved = {**here, "device": "cuda: H200", "torch": "2.11.0", "torchvision": "0.26.0"}
    assert environment_differences([record], moved) == [
        "device: cpu: invented in the row, cuda: H200 here",
        "torch: 2.15.0 in the row, 2.11.0 here",
        "torchvision: not recorded in the row, 0.26.0 here",
    ]
    dirty = record.commit + "-dirty"
    unsaved = environment_differences([record.model_copy(update={"commit": dirty})], {**here, "commit": dirty})
    assert unsaved == ["commit: the code here has changes that no commit holds"]


def test_runs_of_an_earlier_call_are_kept_only_where_they_would_come_out_the_same():
    run = three()[0]
    assert still_holds(run, [1000], HERE, run.split)
    assert not still_holds(run, [1001], HERE, run.split)
    assert not still_holds(run, [1000], {**HERE, "torch": "2.11.0"}, run.split)
    assert not still_holds(run, [1000], HERE, changed(run, "split", data_checksum="c" * 64).split)
    assert not still_holds(run.model_copy(update={"status": "failed"}), [1000], HERE, run.split)
    unsaved = HERE["commit"] + "-dirty"
    assert not still_holds(run.model_copy(update={"commit": unsaved}), [1000], {**HERE, "commit": unsaved}, run.split)


# ---------------------------------------------------------------- which row


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder with a ledger and its study, as a published report has them."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    options = {"architecture": "lenet5", "options": {"width": 1.0, "stem": "small"}}
    measured = [record.model_copy(update=options) for record in finals("lenet5", 0.94)]
    for record in [trial("lenet5", 0, 0.9), *measured, again(measured[0], 0.95), majority(0.1)]:
        ledger.append(record)
    study = {"study": "tiny", "data": {"dataset": "digits"}, "architectures": [{"name": "gone"}],
             "budget": {"trials": 1, "epochs": 2}, "space": {"lr": 0.1}, "rows": ["lenet5"]}  # fmt: skip
    (tmp_path / "study.json").write_text(json.dumps(study))
    return tmp_path


def test_a_row_is_found_by_its_name_and_by_its_id(published):
    row = find(published, "lenet5", ["resources.cpus=2", "storage=elsewhere"])
    assert row.accuracies == (0.94,) * 6 and row.study.resources.cpus == 2 and row.study.storage == "elsewhere"
    assert [architecture.row for architecture in row.study.architectures] == ["lenet5"]
    assert find(published, row.id).label == "lenet5"
    assert find(published, "lenet5_aa").study.architectures == row.study.architectures


def test_a_row_of_ones_own_network_which_has_one_stem_of_its_own_is_found(published):
    ledger = published / "ledger.jsonl"
    records = [r.model_copy(update={"options": {"width": 1.0, "stem": "own"}}) for r in Ledger(ledger).read().records]
    ledger.unlink()
    for record in records:
        Ledger(ledger).append(record)
    (architecture,) = find(published, "lenet5", ["storage=elsewhere"]).study.architectures
    assert (architecture.name, architecture.stem) == ("lenet5", "auto")


@pytest.mark.parametrize(
    ("row", "settings", "message"),
    [
        ("lenet", (), r"row 'lenet': not among the rows with finals; choose from lenet5 \([0-9a-f]{12}\), lenet5_aa"),
        ("majority_class", (), "not among the rows with finals"),
        ("lenet5", ["budget.epochs=3"], "--set: budget.epochs: a row is run as its ledger says; set only data.root"),
    ],
)
def test_what_can_not_be_run_again_is_refused_with_what_can(published, row, settings, message):
    with pytest.raises(StudyError, match=message):
        find(published, row, settings)


def test_new_runs_have_seeds_of_their_own_unless_those_of_the_finals_are_asked_for(published):
    row, control = find(published, "lenet5"), find(published, "lenet5_aa")
    assert seeds_of(row, None, same=True) == [1000, 1001, 1002, 1003, 1004, 1005]
    assert seeds_of(row, 2, same=True) == [1000, 1001]
    fresh = seeds_of(row, 40, same=False)
    assert len(set(fresh)) == 40 and not {*fresh} & {*range(1000, 1006), *range(101000, 101006)}
    with pytest.raises(StudyError, match="--seeds: 7: with --same-seeds there are only the row's own 6"):
        seeds_of(row, 7, same=True)
    with pytest.raises(StudyError, match="it has one final, and a prediction interval takes two"):
        seeds_of(control, None, same=False)


def test_other_images_are_said_and_refused_before_anything_starts(published, tmp_path):
    row = find(published, "lenet5", [f"storage={tmp_path / 'results'}"])
    said = io.StringIO()
    with pytest.raises(StudyError) as refusal:
        reproduce(row, StudyView(Console(file=said), "tiny", [], 0, 1), [201000])
    assert f"lenet5: data_checksum: {'a' * 64} in the row, " in str(refusal.value)
    assert "test: 100 in the row, 359 here" in str(refusal.value)
    assert "--allow-different-data runs it" in str(refusal.value)
    assert not said.getvalue() and not (tmp_path / "results").exists()


# ---------------------------------------------------------------- through the CLI


def cnnbench(folder: Path, *arguments: str, code: int = 0) -> str:
    environment = {**os.environ, "CNNBENCH_COMMIT": "0" * 40}  # a source tree with changes repeats nothing for sure
    done = subprocess.run(
        [sys.executable, "-m", "cnnbench", *arguments], cwd=folder, text=True, timeout=900, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.mark.ray
def test_a_row_repeats_to_the_bit_and_a_falsified_ledger_does_not(tmp_path):
    (tmp_path / "tiny.yaml").write_text(STUDY)
    cnnbench(tmp_path, "run", "tiny.yaml", "--set", "resources.price_per_hour=2.5")
    assert json.loads((tmp_path / "results/tiny/prediction.json").read_text())["price"] > 0
    assert "At 2.5 an hour" in (tmp_path / "reports/tiny/index.html").read_text()
    ledger = Ledger(tmp_path / "results/tiny/ledger.jsonl")
    before = ledger.path.read_bytes()

    output = cnnbench(tmp_path, "reproduce", "tiny.yaml", "lenet5", "--same-seeds")
    assert output.count(", equal to the bit") == 3 and "different" not in output
    assert output.endswith("reproduced: 3 of 3 equal to the bit to the final of their seed\n")
    assert ledger.path.read_bytes() == before
    (verdict,) = (tmp_path / "results/reproductions").glob("lenet5-*/tiny/verdict.json")
    assert json.loads(verdict.read_text())["reproduced"] is True

    published = tmp_path / "published"
    published.mkdir()
    (published / "study.json").write_text((tmp_path / "results/tiny/study.json").read_text())
    for record in ledger.read().records:
        claimed = 0.99 + record.index / 1000
        false = changed(record, "test", accuracy=claimed) if record.test else record
        other = changed(false, "split", data_checksum="0" * 64)
        Ledger(published / "ledger.jsonl").append(changed(other, "machine", versions={"torch": "2.11.0"}))
    output = cnnbench(tmp_path, "reproduce", "published", "lenet5", "--seeds", "2", "--allow-different-data", code=3)
    said_before, _ = output.split("reproduction: 2 trials")
    assert "different: torch: 2.11.0 in the row" in said_before
    assert f"different: data_checksum: {'0' * 64} in the row" in said_before
    assert "not reproduced: the mean accuracy of 2 new runs" in output and "lies outside" in output
