"""The check lists of CONTRIBUTING.md's "Adding to it", and a copy of the package in which a test walks them."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Addition:
    """One check list: the file that its code is or goes into, and the commands that show what was added."""

    place: str
    code: str
    commands: tuple[str, ...]

    @property
    def name(self) -> str:
        """What is added, as the commands call it."""
        return re.split("[ =]", self.commands[0])[-1]


def section_of(document: str) -> str:
    text = (ROOT / document).read_text().partition("\n## Adding to it\n")[2]
    return re.split(r"^## ", text, flags=re.MULTILINE)[0]


def check_lists() -> dict[str, Addition]:
    """What is added → its check list."""
    found = {}
    for part in section_of("CONTRIBUTING.md").split("\n### ")[1:]:
        if block := re.search(r"^  ```python\n(.*?)^  ```$", part, flags=re.DOTALL | re.MULTILINE):
            code = re.sub("^  ", "", block[1], flags=re.MULTILINE)
            words = part.replace(block[0], "")
            place = re.findall(r"`(platform/[^`]+\.py)`", words)[0]
            found[part.partition("\n")[0]] = Addition(place, code, tuple(re.findall(r"`(cnnbench [^`]+)`", words)))
    return found


ADDITIONS = check_lists()


def copy_with(folder: Path, *additions: Addition) -> Path:
    """A source root below ``folder`` with a copy of the package, and these additions in it."""
    shutil.copytree(ROOT / "platform", folder / "platform", ignore=shutil.ignore_patterns("__pycache__"))
    for addition in additions:
        file = folder / addition.place
        if file.exists():  # the code is one line of its table
            (line,) = addition.code.splitlines()
            head, brace, tail = file.read_text().partition("\n}\n")
            file.write_text(f"{head}\n{line}{brace}{tail}")
        else:
            file.write_text(addition.code)
    return folder / "platform"
