"""A disk of 20 MB that fills up in the middle of a study."""

import re

import pytest

from disturbed import ALL, Place
from own_mounts import own_mounts

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.ray]

SIZE = 20_000_000


def test_a_full_disk_ends_the_study_with_path_and_bytes_and_leaves_no_half_file(tmp_path, undisturbed, moments, tell):
    results = tmp_path / "results"
    results.mkdir()
    with own_mounts(f"mount -t tmpfs -o size={SIZE} none {results}") as mounts:
        place = Place(tmp_path, mounts=mounts)
        filler = mounts.seen(results / "filler")
        first, second = place.ahead(2)
        with place.running() as run:
            with run.held(second, moments.randint(2, 8)):
                fill(filler)
            assert run.ended() == 1, run.output
        output = run.output
        words = r"^results/paced/ledger.jsonl: could not write \d+ bytes: No space left on device; make room there$"
        assert re.search(words, output, re.M), output
        assert re.search(rf"{second}: \S*{second}.ckpt: could not write \d+ bytes: No space left on device", output)
        assert "stopped; everything finished is saved. To continue:" in output
        assert "Traceback" not in output, output
        assert [record.trial_id for record in place.records()] == [first]
        assert (place.results / "ledger.jsonl").read_bytes().endswith(b"\n")
        assert not list(place.results.rglob("*.part")) and place.cut_off() == [second]

        filler.unlink()
        again = place.run()
        assert re.search(rf"^1 finished trial kept, 1 cut off and run again: {second} from epoch \d+$", again, re.M)
        assert place.outcome() == undisturbed.outcome() and len(place.records()) == ALL
    tell(
        "full disk",
        done="the disk of the study's folder, a tmpfs of 20 MB, is filled in a random epoch",
        saw="“TRIAL: FILE.ckpt: could not write N bytes: No space left on device”, and the trial goes on; "
        "“ledger.jsonl: could not write N bytes: No space left on device; make room there”, the command that "
        "continues; exit code 1",
        kept=1,
        redone=1,
    )


def fill(filler):
    """To the last byte."""
    with open(filler, "wb", buffering=0) as file:
        for block in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    file.write(b"\0" * block)
            except OSError:
                continue
