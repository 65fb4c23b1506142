"""The studies that come with cnnbench. They lie in the package, so that an installed one has them as a clone does."""

from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "studies"


def ready_made_studies() -> dict[str, Path]:
    """The name of each ready-made study → its file, sorted by name. ``search_spaces`` in a clone is the same folder."""
    return {file.stem: file for file in sorted(_FOLDER.glob("*.yaml"))}
