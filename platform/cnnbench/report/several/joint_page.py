"""The page of several studies: a joint table, and each study's own page behind a tab, in one file."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cnnbench.report.figures.rank_diagram import DRAWN, rank_diagram
from cnnbench.report.files import write_whole
from cnnbench.report.formats import points, spreadsheet, visible
from cnnbench.report.page.leaderboard_page import write_report
from cnnbench.report.script import asset, joint_script, script, script_hash
from cnnbench.report.several.joint import Joint, as_records, cell_text, join
from cnnbench.report.source import Source
from cnnbench.study import ReportFolder


def write_joint(sources: Sequence[Source], folder: Path, *, generated_utc: str) -> tuple[Joint, Path]:
    """Writes index.html, joint.csv and joint.json into ``folder``; returns what they say, and the page.

    Raises SourceError where two studies have one name.
    """
    joint = join(sources)
    files = ReportFolder(folder)
    write_whole(files.joint_csv, joint_csv(joint))
    write_whole(files.joint_json, joint_json(joint))
    write_whole(files.page, joint_html(joint, sources, generated_utc=generated_utc))
    return joint, files.page


def joint_csv(joint: Joint) -> str:
    """One line an architecture and study."""
    return pd.DataFrame(as_records(joint)).map(spreadsheet).to_csv(index=False, lineterminator="\n")


def joint_json(joint: Joint) -> str:
    return json.dumps(as_records(joint), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def joint_html(joint: Joint, sources: Sequence[Source], *, generated_utc: str) -> str:
    """Each study's page lies in a template element until its address, ?study=NAME, is asked for: the one script of all
    of them then finds its page as if it were alone."""
    contents = {
        board.key: content(single_page(source, generated_utc))
        for board, source in zip(joint.boards, sources, strict=True)
    }
    chooses, shows = joint_script(), script()
    environment = Environment(
        loader=PackageLoader("cnnbench.report", "template"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(visible=visible, points=points, cell=cell_text)
    drawn = [rank_diagram(joint.difference, variant) for variant in ("wide", "narrow")] if joint.difference else []
    return environment.get_template("joint.html").render(
        joint=joint,
        contents=contents,
        sentence=joint.sentence,
        generated_utc=generated_utc,
        drawn=drawn,
        omitted=max(0, len(joint.difference.mean_ranks) - DRAWN) if joint.difference else 0,
        style=Markup(asset("style.css") + asset("joint.css")),
        script=Markup(chooses),
        script_hash=script_hash(chooses),
        study_script=Markup(shows),
        study_script_hash=script_hash(shows),
    )


def single_page(source: Source, generated_utc: str) -> str:
    """One study's page as HTML."""
    with TemporaryDirectory() as folder:
        made = write_report(
            source.study, source.records, Path(folder), generated_utc=generated_utc,
            tracking_uri=source.tracking_uri, prediction=source.prediction, runs=source.runs,
        )  # fmt: skip
        return made.page.read_text(encoding="utf-8")


def content(page: str) -> Markup:
    """What stands in the body of a page that template/page.html made, but for its script: names in it are escaped, so
    its own tags are found by their text."""
    return Markup(page.partition("<body>")[2].rpartition("<script>")[0])
