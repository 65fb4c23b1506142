"""The studies in search_spaces/: what is promised of any study is shown on these, which users run."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from cnnbench.ledger import Ledger, TrialRecord
from cnnbench.search.configuration import hyperparameters, put_in
from cnnbench.search.search import Proposal, StudySearch
from cnnbench.study import load
from cnnbench.study.space import Space, Value
from cnnbench.vocabulary import vocabulary
from trials import EPOCHS, record

STUDIES = sorted((Path(__file__).parents[1] / "search_spaces").glob("*.yaml"))
TRIALS = 12


def _curve(values: Mapping[str, Value]) -> list[float]:
    """Of a simulated training: by the learning rate, and so unlike for unlike trials."""
    end = 1 / (1 + abs(float(values["lr"]) - 0.02))  # type: ignore[arg-type]
    return [end * (1 - 0.5**epoch) for epoch in range(1, EPOCHS + 1)]


def _trained(search: StudySearch, proposal: Proposal) -> TrialRecord:
    """A proposal's ledger line, as the stages write it: its configuration in the ledger's form."""
    points = _curve(proposal.values)
    for epoch, accuracy in enumerate(points, 1):
        search.report(proposal.row, proposal.index, epoch, accuracy)
    parts = {kind: {"value": value, "sites": 3} for kind, value in put_in(proposal.values).items()}
    line = record(proposal, points, components=parts, hyperparameters=hyperparameters(proposal.values))
    done = TrialRecord.model_validate_json(line.model_dump_json())
    search.tell(done)
    return done


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_a_search_that_is_begun_again_from_its_ledger_goes_on_as_if_it_had_not_been_interrupted(file, tmp_path):
    study = load(file, vocabulary())
    rows: dict[str, Space] = {"a": study.space, "b": study.space}

    def search(name: str, records: list[TrialRecord]) -> StudySearch:
        return StudySearch(study.search, TRIALS, rows, tmp_path / name / "journal", records, normalized=("a",))

    undisturbed = search("undisturbed", [])
    proposed = []
    while (proposal := undisturbed.ask()) is not None:
        proposed.append((proposal, _trained(undisturbed, proposal)))
    for kept in (1, 2, 5, len(proposed) - 1):
        continued = search(f"interrupted-{kept}", [done for _, done in proposed[:kept]])
        for proposal, _ in proposed[kept:]:
            assert continued.ask() == proposal
            _trained(continued, proposal)
        for row, optunas in continued._studies.items():
            mine = undisturbed._studies[row]
            assert [trial.params for trial in optunas.trials] == [trial.params for trial in mine.trials]


def _stopped(folder: Path, after: int) -> tuple[int, str]:
    """Runs the digits study until its ledger has ``after`` lines, then stops it with Ctrl-C."""
    study = next(file for file in STUDIES if file.stem == "digits")
    # in three epochs a trial, so that a search of 56 trials is young when it is stopped, whatever the machine
    asked = ["--set", "budget.epochs=3", "--set", "precision=fp32"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cnnbench", "run", str(study), *asked], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    ledger = Ledger(folder / "results" / "digits" / "ledger.jsonl")
    try:
        deadline = time.monotonic() + 900
        while len(ledger.read().records) < after and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=900)
    finally:
        process.kill()
    return process.returncode, output


@pytest.mark.ray
def test_the_study_of_make_run_goes_on_after_ctrl_c(tmp_path):
    code, output = _stopped(tmp_path, after=2)
    assert code == 130, output
    before = Ledger(tmp_path / "results" / "digits" / "ledger.jsonl").read().records
    assert 2 <= len(before) < 56
    assert "activation" not in before[0].components, "it begins with the architectures' own components"
    code, output = _stopped(tmp_path, after=len(before) + 2)
    assert code == 130 and f"{len(before)} finished trials kept" in output, output
    after = Ledger(tmp_path / "results" / "digits" / "ledger.jsonl").read().records
    assert after[: len(before)] == before and len(after) >= len(before) + 2
    assert len({trial.trial_id for trial in after}) == len(after)
