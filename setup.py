"""Everything stands in pyproject.toml but this: a wheel is told the commit that it is built from, and its pins."""

import json
import os
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

_ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(_ROOT / "platform"))

from cnnbench.origin import BUILT, CONSTRAINTS, commit_of  # noqa: E402


class BuildPy(build_py):
    """Its files go to ``build_lib``, never into the source: a clone goes on being asked itself."""

    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        package = Path(self.build_lib) / "cnnbench"
        shutil.rmtree(package, ignore_errors=True)  # a module that is gone by now would be packed too
        super().run()
        commit = os.environ.get("CNNBENCH_COMMIT") or commit_of(_ROOT)
        (package / BUILT).write_text(json.dumps({"commit": commit}) + "\n")
        shutil.copyfile(_ROOT / CONSTRAINTS, package / CONSTRAINTS)


setup(cmdclass={"build_py": BuildPy})
