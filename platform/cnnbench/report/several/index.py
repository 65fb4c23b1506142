"""reports/index.html: all reports of a folder, from what their own pages say of themselves."""

from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cnnbench.report.files import write_whole
from cnnbench.report.formats import visible
from cnnbench.report.script import asset
from cnnbench.study import ReportFolder

HEAD = 65_536  # bytes: the facts stand before the style sheet


@dataclass(frozen=True)
class Listed:
    """A report: its folder, relative; its page's title, sentence and time."""

    folder: str
    title: str
    sentence: str
    made: str

    @property
    def address(self) -> str:
        return quote(ReportFolder(Path(self.folder)).page.as_posix())


def write_index(reports: Path) -> Path:
    """Lists every page below ``reports`` that cnnbench made, in the order of their folders."""
    index = ReportFolder(reports).page
    pages = sorted(path for path in reports.rglob(index.name) if path != index)
    found = [entry for page in pages if (entry := _listed(page, reports))]
    environment = Environment(
        loader=PackageLoader("cnnbench.report", "template"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["visible"] = visible
    html = environment.get_template("index.html").render(reports=found, style=Markup(asset("style.css")))
    write_whole(index, html)
    return index


def _listed(page: Path, reports: Path) -> Listed | None:
    with open(page, "rb") as file:
        head = _Head()
        head.feed(file.read(HEAD).decode(errors="replace").partition("</head>")[0])  # charts have titles too
    if head.facts.get("generator") != "cnnbench":
        return None
    title = head.title.removesuffix(" – cnnbench leaderboard")
    folder = page.parent.relative_to(reports).as_posix()
    return Listed(folder, title, head.facts.get("description", ""), head.facts.get("date", ""))


class _Head(HTMLParser):
    """The title and the named facts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[str, str] = {}
        self.title = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._inside = tag
        if tag == "meta" and values.get("name"):
            self.facts.setdefault(values["name"] or "", values.get("content") or "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
