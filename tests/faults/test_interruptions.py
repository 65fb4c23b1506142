"""One study that is interrupted again and again: each test here disturbs it once more, in its own way and at a random
moment, and the last one lets it end and compares it with the study that nothing disturbed. They run in this order.

An interruption goes together with a fault of another kind that the user should hardly notice: of MLflow, of a file, of
the clock.
"""

import re
import signal
import socket
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cnnbench.ledger import Ledger
from cnnbench.search.search import StudySearch
from cnnbench.study import load
from cnnbench.training.checkpoints import CheckpointFile, unpacked
from cnnbench.vocabulary import vocabulary
from cnnbench.whole_file import read_json
from disturbed import ALL, HERE, SEARCHED, Place, cut
from fake_mlflow import answering_500, is_made, refusing, written, written_by_others

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.ray]

SPOOLED = "MLflow: 0 events synced, N spooled, shipped on the next run"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("interrupted"))


def expect(output: str, pattern: str) -> re.Match[str]:
    """The one line that is so."""
    found = list(re.finditer(rf"^{pattern}\r?$", output, re.MULTILINE))
    assert len(found) == 1, f"{len(found)} × {pattern!r} in:\n{output}"
    return found[0]


def expect_a_way_on(place: Place, output: str) -> None:
    assert re.search(
        rf"stopped; everything finished is saved. To continue:\s+cnnbench run {re.escape(str(place.study_file))}",
        output,
    ), output
    assert "Traceback" not in output, output


def expect_trouble_with_mlflow(output: str, reason: str) -> None:
    """One warning, and at the end what is spooled."""
    expect(output, rf"MLflow at http://127.0.0.1:\d+ is unreachable: \d+ events spooled, .*{reason}.*")
    expect(output, r"MLflow: 0 events synced, [1-9]\d* spooled, shipped on the next run")


def test_a_killed_worker_is_replaced_and_ctrl_c_stops_cleanly_while_mlflow_is_down(chain, moments, tell):
    first, second = chain.ahead(2)
    kill_at, stop_at = moments.randint(2, 8), moments.randint(2, 8)
    with refusing() as uri, chain.running(f"tracking_uri={uri}") as run:
        with run.held(first, kill_at):
            run.kill_worker()
        with run.held(second, stop_at):
            run.wait_for("is unreachable")
            run.process.send_signal(signal.SIGINT)
        assert run.ended() == 130
    epoch = int(expect(run.output, rf"{first}: its process died.*; retry 1/2 from epoch (\d+)")[1])
    assert kill_at <= epoch <= kill_at + 3
    record = chain.record(first)
    assert record.status == "completed" and [point.epoch for point in record.epochs] == list(range(1, 13))
    assert record.budget.retries == 1 and record.retried[0].endswith(f"retry 1/2 from epoch {epoch}")
    expect_a_way_on(chain, run.output)
    expect_trouble_with_mlflow(run.output, "Connection refused")
    assert [r.trial_id for r in chain.records()] == [first] and chain.cut_off() == [second]
    tell(
        "worker SIGKILL",
        done="SIGKILL to the process that trains, in a random epoch",
        saw="“TRIAL: its process died; retry 1/2 from epoch K”; the trial stands once in the ledger, with the reason",
        kept=0,
        redone=1,
    )
    tell(
        "Ctrl-C",
        done="SIGINT to the driver, in a random epoch",
        saw="“stopping: what is finished is saved; again to stop at once”, the command that continues; exit code 130",
        kept=1,
        redone=1,
    )
    tell(
        "MLflow down",
        done="a tracking server that refuses connections",
        saw=f"one warning, “MLflow at URI is unreachable: N events spooled, …”; at the end “{SPOOLED}”",
    )


def test_a_truncated_checkpoint_is_set_aside_and_sigterm_is_as_ctrl_c_while_mlflow_answers_500(
    chain, moments, tell, tmp_path
):
    first, second = chain.ahead(2)
    checkpoint = chain.results / "checkpoints" / f"{first}.ckpt"
    check_truncated_checkpoints(checkpoint, tmp_path)
    cut(checkpoint, moments.randrange(10))
    with answering_500() as uri, chain.running(f"tracking_uri={uri}") as run:
        with run.held(second, moments.randint(2, 8)):
            run.wait_for("is unreachable")
            run.process.send_signal(signal.SIGTERM)
        assert run.ended() == 130
    expect(run.output, rf"1 finished trial kept, 1 cut off and run again: {first} from epoch \d+")
    expect(
        run.output,
        rf"{first}: quarantined {first}.ckpt as {first}.ckpt.damaged \(checksum differs \(\d+ bytes\)\), "
        rf"using {first}.ckpt.previous",
    )
    expect_a_way_on(chain, run.output)
    expect_trouble_with_mlflow(run.output, "500 error responses")
    assert [point.epoch for point in chain.record(first).epochs] == list(range(1, 13))
    assert chain.cut_off() == [second]
    tell(
        "truncated checkpoint",
        done="cut off at every tenth of its length; the study went on from one of these",
        saw="“TRIAL: quarantined TRIAL.ckpt as TRIAL.ckpt.damaged (checksum differs …), using TRIAL.ckpt.previous”",
        kept=1,
        redone=1,
    )
    tell(
        "SIGTERM",
        done="to the driver, in a random epoch",
        saw="the same as after Ctrl-C; exit code 130",
        kept=2,
        redone=1,
    )
    tell(
        "MLflow answers 500",
        done="a tracking server that answers 500 to all",
        saw=f"one warning, as above; at the end “{SPOOLED}”",
    )


def check_truncated_checkpoints(checkpoint: Path, folder: Path) -> None:
    """Each is set aside, and the one before is used."""
    copy = CheckpointFile(folder / checkpoint.name)
    previous = unpacked(copy_of(CheckpointFile(checkpoint).previous, copy.previous).read_bytes())
    for tenth in range(10):
        cut(copy_of(checkpoint, copy.path), tenth)
        found = copy.load(previous["fingerprint"])
        assert found is not None and found["history"] == previous["state"]["history"]
        assert copy.notes[-1].endswith(f"using {copy.previous.name}") and len(copy.notes) == tenth + 1


def copy_of(file: Path, copy: Path) -> Path:
    copy.write_bytes(file.read_bytes())
    return copy


def test_a_truncated_ledger_and_a_killed_driver_while_mlflow_is_slow(chain, moments, tell, tmp_path):
    whole = chain.records()
    check_truncated_ledgers(chain.results / "ledger.jsonl", tmp_path)
    check_truncated_optuna_stores(chain, tmp_path)
    ledger, journal = chain.results / "ledger.jsonl", chain.results / "optuna.journal"
    lines = ledger.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1][: len(lines[-1]) * moments.randint(1, 9) // 10]
    ledger.write_bytes(b"".join(lines))
    cut(journal, moments.randrange(10))
    first, second = chain.ahead(2)
    assert first == whole[-1].trial_id
    with (
        answering_500(after_s=60.0) as uri,
        chain.running(f"tracking_uri={uri}", MLFLOW_HTTP_REQUEST_TIMEOUT="1") as run,
        run.held(second, moments.randint(2, 8)),
    ):
        run.wait_for("is unreachable")
        run.process.kill()
        assert run.ended() == -signal.SIGKILL
    expect(
        run.output,
        r"quarantined the half-written last line of ledger.jsonl as ledger.jsonl.damaged, using the 1 whole line "
        r"before it; that trial is run again",
    )
    expect(run.output, rf"1 finished trial kept, 1 cut off and run again: {second} from epoch \d+")
    expect(run.output, r"MLflow at http://127.0.0.1:\d+ is unreachable: \d+ events spooled, .*timed out.*")
    assert chain.records()[0] == whole[0] and chain.record(first).epochs[-1].val_loss == whole[1].epochs[-1].val_loss
    assert chain.cut_off() == [second]
    tell(
        "truncated ledger",
        done="cut off at every tenth of its length; the study went on from one whose last line was cut",
        saw="“quarantined the half-written last line of ledger.jsonl as ledger.jsonl.damaged, using the 1 whole line "
        "before it; that trial is run again”",
        kept=1,
        redone=2,
    )
    tell(
        "truncated Optuna store",
        done="cut off at every tenth of its length; the study went on with one of these",
        saw="nothing: it is written anew from the ledger, and proposes the same",
        kept=1,
        redone=2,
    )
    tell(
        "MLflow slow",
        done="a tracking server that takes longer than the client waits for it",
        saw="one warning, as above; no trial waits for it",
    )


def check_truncated_ledgers(ledger: Path, folder: Path) -> None:
    """The whole lines are used, and the half one is kept beside."""
    whole = Ledger(ledger).read().records
    content = ledger.read_bytes()
    for tenth in range(1, 10):
        copy = copy_of(ledger, folder / "ledger.jsonl")
        cut(copy, tenth)
        lines = copy.read_bytes().count(b"\n")
        note = Ledger(copy).quarantine_half_line()
        assert note is not None and f"using the {lines} whole line" in note
        assert Ledger(copy).read().records == whole[:lines] and content.startswith(copy.read_bytes())


def check_truncated_optuna_stores(place: Place, folder: Path) -> None:
    """The next proposal does not depend on what is left of it."""
    study = load(place.study_file, vocabulary())
    proposals = set()
    for tenth in range(11):
        journal = copy_of(place.results / "optuna.journal", folder / "optuna.journal")
        cut(journal, tenth)
        search = StudySearch(study.search, SEARCHED, {place.name: study.space}, journal, place.records())
        proposals.add(str(search.ask()))
    assert len(proposals) == 1


def test_truncated_state_is_set_aside_and_a_second_ctrl_c_stops_at_once(chain, moments, tell, tmp_path):
    first, second = chain.ahead(2)
    kept = len(chain.records())
    database = chain.folder / "results" / "mlflow.db"
    for name in ("study.json", "precision.json"):
        for tenth in range(10):
            copy = copy_of(chain.results / name, tmp_path / name)
            cut(copy, tenth)
            said: list[str] = []
            assert read_json(copy, said.append, using="what is left") is None and not copy.exists()
            assert re.fullmatch(rf"quarantined {name} as {name}.damaged \(not JSON: .*\), using what is left", said[0])
        cut(chain.results / name, moments.randrange(10))
    with chain.typed() as run, run.held(second, moments.randint(2, 8)):
        run.wait("MLflow's database", lambda: is_made(database))
        run.press_ctrl_c()
        run.wait_for("again to stop at once")
        run.press_ctrl_c()
        assert run.ended() == 130
    output = run.output
    expect(output, rf"process \d+ on {re.escape(socket.gethostname())} ended without a word; going on from what .*")
    expect(output, rf"{kept} finished trials kept, 1 cut off and run again: {first} from epoch \d+")
    expect(
        output, r"quarantined study.json as study.json.damaged \(not JSON: .*\), using the study file as it is now.*"
    )
    expect(output, r"quarantined precision.json as precision.json.damaged \(not JSON: .*\), using what .*")
    expect(output, r"MLflow: [1-9]\d* events synced, \d+ spooled.*")
    expect_a_way_on(chain, output)
    assert chain.cut_off() == [second]
    tell(
        "driver SIGKILL",
        done="in a random epoch; then the same command again",
        saw="“process PID on HOST ended without a word; going on from what it finished”, “2 finished trials kept, 1 "
        "cut off and run again: TRIAL from epoch K”",
        kept=kept,
        redone=1,
    )
    tell(
        "truncated state",
        done="`study.json` and `precision.json` cut off at every tenth of their length; the study went on from one of "
        "these",
        saw="“quarantined study.json as study.json.damaged (not JSON: …), using the study file as it is now, and what "
        "the ledger says”; the other alike",
        kept=kept,
        redone=1,
    )
    tell(
        "Ctrl-C, twice",
        done="typed in a terminal",
        saw="the same as after one; the trial in flight is not waited for; exit code 130",
        kept=kept + 1,
        redone=1,
    )


def test_it_ends_as_if_nothing_had_been_also_where_it_is_started_twice_and_the_clock_jumps(
    chain, undisturbed, moments, tell
):
    first, _ = chain.ahead(2)
    kept = len(chain.records())
    database = chain.folder / "results" / "mlflow.db"
    with chain.running(PYTHONPATH=f"{HERE}:{HERE / 'jumping_clock'}") as run:
        run.wait("MLflow's database", lambda: is_made(database))
        with written_by_others(database):
            with run.held(first, moments.randint(2, 11)):
                refusal = chain.run(code=2)
            assert run.ended() == 0, run.output
    assert written(database) > 50
    held = rf"study: it is running already, as process {run.process.pid} on {re.escape(socket.gethostname())}; "
    assert re.search(held + r"last sign of life \d+ s ago .* continue with --takeover", refusal), refusal
    for words in ("Traceback", "unreachable", "locked", "refused", "Warning"):
        assert words not in run.output, run.output
    assert chain.outcome() == undisturbed.outcome()
    assert len(chain.records()) == ALL
    for record in chain.records():
        assert 0 <= record.budget.device_seconds < 600 and all(0 < point.seconds < 600 for point in record.epochs)
    assert runs_in_mlflow(database) == sorted(["study", *(record.trial_id for record in chain.records())])
    tell(
        "MLflow back",
        done="the same study with a store that answers",
        saw="“MLflow: N events synced, M spooled”; in the end each trial stands there once",
    )
    tell("sqlite locked", done="8 other processes write to MLflow's database, 50 ms each time", saw="nothing")
    tell(
        "clock jump",
        done="`time.time` jumps by a day every two seconds, in the driver and in its workers",
        saw="nothing: durations are of the monotonic clock",
    )
    tell(
        "one study started twice",
        done="a second driver, while the first runs",
        saw="the second: “study: it is running already, as process PID on HOST; last sign of life S s ago (…). If that "
        "process is gone, continue with --takeover”; exit code 2",
        kept=kept,
        redone=0,
    )
    tell(
        "interrupted five times",
        done="a worker's SIGKILL, Ctrl-C, SIGTERM, the driver's SIGKILL, Ctrl-C twice",
        saw="the same trials, curves and leaderboard as undisturbed, to the bit",
        kept=kept,
        redone=1,
    )


def runs_in_mlflow(database: Path) -> list[str]:
    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("paced")
    return sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id], max_results=100))
