"""``cnnbench report``: where its studies come from, and where the report goes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from cnnbench.report import Leaderboard, write_report
from cnnbench.report.several.index import write_index
from cnnbench.report.several.joint import Joint, join, joint_table
from cnnbench.report.several.joint_page import joint_csv, joint_html, joint_json, single_page, write_joint
from cnnbench.report.source import MLflowRun, Source, SourceError, read_source
from cnnbench.report.table.leaderboard import as_csv, as_json, leaderboard
from cnnbench.report.table.text_tables import FORMATS, TextTable, latex, leaderboard_table, markdown
from cnnbench.study import StudyError, StudyFolder, is_slug, recorded_folder
from cnnbench.tracking.tracker import known_runs

JOINT = "joint"  # the folder of a report of several studies, below that of reports


def read_sources(folders: Sequence[Path], tracking_uri: str | None, studies: Sequence[str]) -> list[Source]:
    """The studies of these folders, or these studies of an MLflow store. Raises SourceError, TrackedError and
    LedgerError."""
    if tracking_uri is None:
        if studies:
            raise SourceError("--study: names a study of the MLflow store of --tracking-uri, which is missing")
        if not folders:
            raise SourceError("give a study's folder, such as results/digits, or --tracking-uri and --study")
        return [_read(folder) for folder in folders]
    if folders:
        raise SourceError(f"{folders[0]}: give either folders of studies, or --tracking-uri and --study")
    if not studies:
        raise SourceError("--tracking-uri: name the study, as in --study digits")
    return [_read_tracked(tracking_uri, study) for study in studies]


def write(sources: Sequence[Source], out: Path | None) -> Leaderboard | tuple[Joint, Path]:
    """Writes the report of one study or of several into ``out``, by default below the folder that the (first) study
    names for reports; and the index of the folder above anew, if reports are kept there. Raises StudyError if a study
    of others names a folder that is not below the current one."""
    folder = out or _reports_of(sources[0]) / (sources[0].name if len(sources) == 1 else JOINT)
    made: Leaderboard | tuple[Joint, Path]
    if len(sources) == 1:
        made = write_report(
            sources[0].study, sources[0].records, folder, generated_utc=now(),
            tracking_uri=sources[0].tracking_uri, prediction=sources[0].prediction, runs=sources[0].runs,
        )  # fmt: skip
    else:
        made = write_joint(sources, folder, generated_utc=now())
    if out is None or folder.resolve().parent == Path(str(sources[0].study.get("reports"))).expanduser().resolve():
        write_index(folder.parent)
    return made


def _reports_of(source: Source) -> Path:
    """A study.json may come from somebody else, who must not choose where files go."""
    remedy = "say where the report goes with --out"
    if not is_slug(source.name):
        raise StudyError(StudyFolder(Path()).study_json.name, [f"study: {source.name!r} is no plain name; {remedy}"])
    return recorded_folder({"reports": "reports", **source.study}, "reports", source.name, remedy)


def text(sources: Sequence[Source], kind: str) -> str:
    """The leaderboard, or the joint table of several, as one text. Raises SourceError for an unknown format."""
    if kind not in FORMATS:
        raise SourceError(f"--format: unknown value {kind!r}; choose from {', '.join(FORMATS)}")
    if len(sources) > 1:
        return _joint_text(sources, kind)
    source = sources[0]
    board = leaderboard(source.records, rows=tuple(source.study.get("rows", ())))
    if kind == "html":
        return single_page(source, now())
    if kind in ("csv", "json"):
        return as_csv(board) if kind == "csv" else as_json(board)
    return _drawn(leaderboard_table(board), kind)


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _joint_text(sources: Sequence[Source], kind: str) -> str:
    joint = join(sources)
    if kind == "html":
        return joint_html(joint, sources, generated_utc=now())
    if kind in ("csv", "json"):
        return joint_csv(joint) if kind == "csv" else joint_json(joint)
    return _drawn(joint_table(joint), kind)


def _drawn(table: TextTable, kind: str) -> str:
    return markdown(table) if kind == "md" else latex(table)


def _read(folder: Path) -> Source:
    source = read_source(folder)
    return _with_runs(source, known_runs(folder, source.tracking_uri))


def _read_tracked(uri: str, study: str) -> Source:
    from cnnbench.tracking.tracked import download

    with TemporaryDirectory() as folder:
        runs = download(uri, study, Path(folder))
        return _with_runs(read_source(Path(folder)), runs)


def _with_runs(source: Source, runs: Mapping[str, tuple[str, str]]) -> Source:
    return replace(source, runs={trial: MLflowRun(*place) for trial, place in runs.items()})
