"""The ledger: appended whole, read whole, and clear about what it can't read."""

import json
import resource

import pytest
from pydantic import ValidationError

from cnnbench.ledger import Ledger, LedgerError, LedgerWriteError, TrialRecord
from cnnbench.search.search import Proposal
from trials import record


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    ledger = Ledger(tmp_path / "study" / "ledger.jsonl")
    for index in range(3):
        ledger.append(record(Proposal("a", index, {"lr": 0.1}), [0.5, 0.6]))
    return ledger


def test_what_was_appended_is_read_in_order(ledger):
    assert [r.trial_id for r in ledger.read().records] == ["a-000", "a-001", "a-002"]
    assert ledger.read().warnings == ()


def test_an_empty_ledger_has_no_records(tmp_path):
    assert Ledger(tmp_path / "none.jsonl").read().records == ()


@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_last_line_cut_off_anywhere_is_dropped_and_said_and_overwritten_by_the_next(ledger, tenth):
    whole = ledger.path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    ledger.path.write_bytes(whole[: last + (len(whole) - last) * tenth // 10])
    reading = ledger.read()
    assert [r.index for r in reading.records] == [0, 1] and "not written whole" in reading.warnings[0]
    ledger.append(record(Proposal("a", 3, {"lr": 0.1}), [0.7]))
    assert [r.index for r in ledger.read().records] == [0, 1, 3] and ledger.read().warnings == ()


def test_a_half_line_is_kept_beside_and_the_user_is_told_what_is_used(ledger):
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole[:-40])
    assert ledger.quarantine_half_line() == (
        "quarantined the half-written last line of ledger.jsonl as ledger.jsonl.damaged, using the 2 whole lines "
        "before it; that trial is run again"
    )
    assert whole.startswith(ledger.path.read_bytes()) and len(ledger.read().records) == 2
    assert (ledger.path.parent / "ledger.jsonl.damaged").read_bytes() == whole.splitlines()[2][:-39] + b"\n"
    assert ledger.quarantine_half_line() is None


def test_a_full_disk_is_reported_with_path_and_size_and_leaves_no_half_line(ledger):
    before = ledger.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))  # a larger file fails as on a full disk
    try:
        with pytest.raises(LedgerWriteError, match=r"ledger.jsonl: could not write \d{3,4} bytes: File too large"):
            ledger.append(record(Proposal("a", 3, {"lr": 0.1}), [0.7]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ledger.path.read_bytes() == before
    ledger.append(record(Proposal("a", 3, {"lr": 0.1}), [0.7]))
    assert len(ledger.read().records) == 4


def test_another_schema_version_is_refused_with_the_remedy(ledger):
    fields = json.loads(ledger.path.read_text().splitlines()[0])
    ledger.path.write_text(json.dumps({**fields, "schema_version": 2}) + "\n")
    with pytest.raises(LedgerError, match="line 1: schema version 2, but this cnnbench reads version 1; run the study"):
        ledger.read()


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(ledger):
    lines = ledger.path.read_text().splitlines()
    ledger.path.write_text("\n".join([lines[0], lines[1][:50], lines[2]]) + "\n")
    with pytest.raises(LedgerError, match="line 2: not JSON"):
        ledger.read()


@pytest.mark.parametrize("field", ["seed", "split", "budget", "machine", "commit", "hyperparameters", "status"])
def test_a_record_without_what_makes_rows_comparable_cannot_be_written(field):
    fields = record(Proposal("a", 0, {"lr": 0.1}), [0.5]).model_dump()
    del fields[field]
    with pytest.raises(ValidationError, match=field):
        TrialRecord.model_validate(fields)


def test_a_score_that_is_not_finite_cannot_be_written():
    with pytest.raises(ValidationError, match="score"):
        record(Proposal("a", 0, {"lr": 0.1}), [0.5], score=float("nan"))
