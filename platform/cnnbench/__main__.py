"""``python -m cnnbench``, and the script that ``ray submit cluster.yaml platform/cnnbench/__main__.py …`` sends."""

import sys
from pathlib import Path

# Run as a script, Python puts this folder first on the path, where our statistics would hide the standard library's.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _HERE]
if _HERE.name == "cnnbench" and str(_HERE.parent) not in sys.path:
    sys.path.append(str(_HERE.parent))  # last: an installed cnnbench comes first

from cnnbench.commands.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
