"""How the report writes numbers and names, its protocol and its provenance."""

import pytest

from cnnbench.report.formats import count, duration, listed, round_count, share, tally, visible, without_secrets
from cnnbench.report.page.provenance import protocol, study_settings
from cnnbench.report.table.row_records import by_row
from ledger_rows import two_rows


def test_numbers_and_names_read_as_english():
    assert [count(n).replace("\u202f", " ") for n in (0, 7, 999, 1000, 999_999, 1_814_073, None)] == [
        *("0", "7", "999", "1.00 k", "1.00 M", "1.81 M", "–"),
    ]
    assert [duration(s).replace("\u202f", " ") for s in (0.04, 95.2, 400, 9000)] == [
        "0.04 s",
        "95.2 s",
        "6.67 min",
        "2.50 h",
    ]
    assert [round_count(n).replace("\u202f", " ") for n in (10_000_000, 500, 2500)] == ["10 M", "500", "2.5 k"]
    assert (share(3, 100), share(1, 2000)) == ("3\u202f%", "0.05\u202f%")
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(list("abcde")) == "a, b, c and 2 more"
    assert tally(["x", "x"]) == "x"
    assert tally(["x", "y", "x"]) == "x (2), y (1)"
    assert visible("a\u202eb\x00", 10) == "a\ufffdb\ufffd"
    assert visible("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host:5000/path?token=secret", "https://host:5000/path"),
        ("sqlite:////home/someone/results/mlflow.db", "sqlite:…/mlflow.db"),
        ("/home/someone/results", "…/results"),
        ("~/results/cifar", "…/cifar"),
        ("results", "results"),
        ("http://localhost:5000", "http://localhost:5000"),
    ],
)
def test_secrets_and_folders_are_left_out(text, shown):
    assert without_secrets(text) == shown


def test_study_settings_are_flat_and_without_folders():
    tree = {"data": {"root": "/home/someone/data"}, "architectures": [{"name": "a"}, "b"], "seeds": [1, 2], "none": {}}
    assert study_settings(tree) == [
        ("data.root", "…/data"),
        ("architectures.0.name", "a"),
        ("architectures.1", "b"),
        ("seeds", "1, 2"),
        ("none", "{}"),
    ]


def test_protocol_counts_test_reads_from_records():
    facts = dict(protocol(by_row(two_rows())))
    assert facts["Times the test set was read"] == "12"
    assert facts["Images in a search trial"] == "80 training, 20 validation, no test"
    assert facts["Seeds of the finals"] == "1000, 1001, 1002, 1003, 1004, 1005"
