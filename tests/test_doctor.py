"""cnnbench doctor: what it looks at, and that it finds what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnbench.commands import doctor
from cnnbench.commands.doctor import Diagnosis, differences, pins

ROOT = Path(__file__).parents[1]


def doctors(folder: Path, *arguments: str, code: int, **environment: str) -> list[str]:
    """Its lines, in a home of its own below ``folder``."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "CNNBENCH_"))}
    done = subprocess.run(
        [sys.executable, "-m", "cnnbench", "doctor", *arguments], cwd=folder, text=True, timeout=600,
        env={**ours, "HOME": str(folder), **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout.splitlines()


def test_a_machine_with_three_faults_has_three_remedies_and_exit_code_1(tmp_path):
    (tmp_path / "constraints.txt").write_text("# pinned\ntorch==1.0.0\nnot-here==3.0\n")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("token")
    (tmp_path / ".ray" / "auth_token").chmod(0o644)
    lines = doctors(tmp_path, code=1, CNNBENCH_DATA=str(tmp_path / "nowhere"))
    assert [line.partition(":")[0] for line in lines] == [
        "ok    Python", "FAIL  versions", "ok    torch", "ok    Ray", "ok    MLflow", "FAIL  Ray's token", "FAIL  data",
        "ok    storage", "ok    Ray's folder",
    ]  # fmt: skip
    assert "torch 2." in lines[1] and "not 1.0.0 → pip install -c constraints.txt" in lines[1]
    assert lines[5].endswith(f"mode 644 → chmod 600 {tmp_path}/.ray/auth_token")
    assert f"{tmp_path}/nowhere: not there → mount or make" in lines[6]
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o644  # it looks, and changes nothing
    assert not (tmp_path / "results").exists()


def test_this_environment_is_as_constraints_txt_pins_it():
    assert differences(pins((ROOT / "constraints.txt").read_text())) == []


def test_pins_are_read_by_normalised_names():
    assert pins("# a\nPyYAML==6.0.3\nruamel_yaml.x==1\n\n") == {"pyyaml": "6.0.3", "ruamel-yaml-x": "1"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "FAIL  Ray's token: RAY_AUTH_MODE turns it off → unset RAY_AUTH_MODE"),
        ({"RAY_AUTH_TOKEN": "secret"}, "ok    Ray's token: in RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, "ok    Ray's token: /nowhere/token: none yet"),
    ],
)
def test_the_token_is_looked_for_where_ray_does(environment, found, monkeypatch):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(doctor._token()).startswith(found)
    assert "secret" not in str(doctor._token())


@pytest.mark.parametrize(
    ("version", "well"), [("3.10.9", False), ("3.11.0", True), ("4.0", True), ("not installed", False)]
)
def test_an_mlflow_with_known_holes_is_named(version, well, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda package: version)
    assert (doctor._mlflow().remedy is None) is well


def test_a_broken_library_is_one_line_with_its_error():
    raising = doctor._tried("torch", "raise ImportError('no libcudart')")
    assert raising.found == "ImportError: no libcudart" and "--force-reinstall" in str(raising)
    crashing = doctor._tried("torch", "import os; os.kill(os.getpid(), 11)")
    assert crashing.found == "ended with code -11"


def test_a_full_disk_and_a_folder_of_others_are_found(tmp_path, monkeypatch):
    assert doctor._disk("storage", tmp_path / "not" / "yet").remedy is None
    monkeypatch.setattr(doctor, "LEAST_FREE_GB", 1e9)
    assert doctor._disk("storage", tmp_path).remedy.startswith("free 9999")
    assert "can't be written" in doctor._disk("storage", Path("/proc/self/nowhere")).found


def test_an_answer_is_one_line():
    assert str(Diagnosis("a", "b")) == "ok    a: b" and str(Diagnosis("a", "b", "c")) == "FAIL  a: b → c"
