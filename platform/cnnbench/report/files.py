"""Files of a report, written whole."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Written aside and renamed, so that a reader never sees half a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(text, encoding="utf-8", newline="\n")
    os.replace(aside, path)
