"""The verbs that train: ``run``, ``effects`` and ``reproduce``, with their live view, and how each of them ends."""

import errno
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from cnnbench.commands import report as reporting
from cnnbench.commands.live_view import StudyView
from cnnbench.commands.terminal import print_report
from cnnbench.ledger import LedgerWriteError
from cnnbench.protocol.recorded import RecordedRow
from cnnbench.protocol.verdict import Verdict
from cnnbench.report import Leaderboard, effects_text
from cnnbench.storage.lock import TakenOver
from cnnbench.study import Study
from cnnbench.tracking.observer import Tracking
from cnnbench.tracking.tracker import Shipped
from cnnbench.uri import without_password
from cnnbench.whole_file import WriteError
from cnnbench.workflows import Interrupted
from cnnbench.workflows.continuation import resolved
from cnnbench.workflows.effects import conduct_effects
from cnnbench.workflows.reproduction import reproduce
from cnnbench.workflows.study import Conducted, conduct

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_study(study: Study, again: str, *, takeover: bool, effects_of: Path | None = None) -> int:
    """Search, finals and report, or the effects of a study that was run, from its file; the exit code. again: the
    command that continues it, should it be stopped."""
    if effects_of is None:
        rows = [architecture.row for architecture in study.architectures]
        view = StudyView(Console(), study.study, rows, study.budget.trials, study.finals.seeds)
        conducting: Callable[..., Conducted] = conduct
    else:
        view = StudyView(Console(), study.study, [], 0, 0)
        conducting = partial(conduct_effects, study_file=str(effects_of))
    tracking = Tracking(study, resolved(study))

    def work() -> int:
        with view:
            conducted = conducting(study, view, [tracking], takeover=takeover)
        _print_shipped(tracking.close())
        folder = Path(study.reports).expanduser() / study.study
        made = reporting.write(reporting.read_sources([study.folder.path], None, []), folder)
        print_report(made)
        if effects_of is not None and isinstance(made, Leaderboard):
            typer.echo(f"\nEffects of components on test accuracy:\n{effects_text(made)}\n")
        typer.echo(f"MLflow UI:   {_ui_place(study)}")
        return 0 if any(record.status == "completed" for record in conducted.records) else 1

    return _to_its_end(work, again, lambda: _print_shipped(tracking.close(interrupted=True)))


def run_again(row: RecordedRow, seeds: list[int], again: str, *, allow_different_data: bool, takeover: bool) -> int:
    """Runs a leaderboard row again with ``seeds``; the exit code: 0 reproduced, 3 not, 1 no verdict. again: the command
    that continues it, should it be stopped."""

    def work() -> int:
        with StudyView(Console(), row.study.study, [], 0, len(seeds)) as view:
            verdict: Verdict = reproduce(row, view, seeds, allow_different_data=allow_different_data, takeover=takeover)
        typer.echo(verdict)
        return {True: 0, False: 3, None: 1}[verdict.reproduced]

    return _to_its_end(work, again, lambda: None)


def _to_its_end(work: Callable[[], int], again: str, on_stop: Callable[[], None]) -> int:
    """The exit code of ``work``; 130 if it was interrupted, 1 if something from outside stopped it that can be put
    right, and then says how to go on. on_stop: what is done first if it did not come to its end."""
    try:
        with _sigterm_as_ctrl_c():
            return work()
    except (Interrupted, KeyboardInterrupt):
        code, why = 130, ""
        on_stop()
    except BaseException as error:
        on_stop()
        if not _stops_the_study(error):
            raise
        code, why = 1, f"{error}\n"
    typer.echo(f"\n{why}stopped; everything finished is saved. To continue:\n  {again}")
    return code


def _stops_the_study(error: BaseException) -> bool:
    """True for what comes from outside and can be put right."""
    return isinstance(error, TakenOver | LedgerWriteError | WriteError) or getattr(error, "errno", None) in _FULL_DISK


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_shipped(shipped: Shipped) -> None:
    """Nothing, where MLflow had everything as it came."""
    if shipped.late:
        typer.echo(str(shipped))


def _ui_place(study: Study) -> str:
    """The command that opens the MLflow UI, or a server's own address."""
    uri = study.tracking_uri
    if uri is None:
        return shlex.join(["cnnbench", "ui", "--storage", study.storage])
    shown = without_password(uri)
    return shown if uri.startswith("http") else shlex.join(["cnnbench", "ui", "--tracking-uri", shown])
