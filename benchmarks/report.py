"""What a report of many trials costs: to make, to keep, to open, to sort and to filter.

An invented study of 12 architectures, with a curve of up to 30 epochs for every trial, is appended to a ledger, record
by record as a study does. A fresh process then makes the report from the file, as ``cnnbench report`` does; its time
counts imports, its memory is the process's peak. The page is opened in Chromium: from the start of navigation to the
frame with the table in it, then from a click on a heading, or a word in the filter, to the frame after it. Every page
is opened several times, and medians are told with the largest value.

Run: make bench-report    (about ten minutes, most of them for the 100,000 trials' ledger; build/bench/report.json)
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench" / "report.json"
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from playwright.sync_api import Page, sync_playwright  # noqa: E402

from cnnbench.ledger import Ledger  # noqa: E402
from large_study import SPACE, large_study  # noqa: E402

TRIALS = (1_000, 10_000, 100_000)
LIMITS = {  # at 10,000 trials
    "made_s": 10.0, "file_mb": 4.0, "memory_mb": 1000.0, "table_ms": 1500.0, "sort_ms": 150.0, "filter_ms": 150.0,
}  # fmt: skip
# Also the child's report of itself: its peak memory, in 10^6 bytes.
MAKE = """
import resource, sys
from pathlib import Path
from cnnbench import reporting
reporting.write(reporting.read_sources([Path(sys.argv[1])], None, []), Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
"""
# Two frames later, what a script did is on the screen.
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"


def write_ledger(folder: Path, trials: int) -> float:
    """Appends the study's records; returns the seconds."""
    begin = time.monotonic()
    ledger = Ledger(folder / "ledger.jsonl")
    for record in large_study(trials):
        ledger.append(record)
    described = {"study": "large", "reports": str(folder / "reports"), "space": SPACE, "tracking_uri": None}
    (folder / "study.json").write_text(json.dumps(described))
    return time.monotonic() - begin


def make_report(folder: Path, out: Path) -> tuple[float, float]:
    """(seconds, peak memory in 10^6 bytes) of a process that makes the report."""
    begin = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    ran = subprocess.run(
        [sys.executable, "-c", MAKE, str(folder), str(out)], env=environment, capture_output=True, text=True, check=True
    )
    return time.monotonic() - begin, float(ran.stdout.split()[-1])


def open_page(page: Page, address: str) -> dict[str, float]:
    """Milliseconds to the table, of a sort and of a filter."""
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#board tbody tr")
    table = page.evaluate(f"{DRAWN}")  # performance.now() counts from the start of navigation
    page.wait_for_load_state()
    sort = page.evaluate(
        f"""async () => {{
          const button = document.querySelector("#board thead [data-column=accuracy] button");
          const begin = performance.now();
          button.click();
          return (await {DRAWN}) - begin;
        }}"""
    )
    filtered = page.evaluate(
        f"""async () => {{
          const field = document.querySelector(".tools input.search");
          const begin = performance.now();
          field.value = "residual";
          field.dispatchEvent(new Event("input", {{bubbles: true}}));
          return (await {DRAWN}) - begin;
        }}"""
    )
    assert 0 < page.locator("#board tbody tr:visible").count() < 12, "the filter did nothing"
    return {"table_ms": table, "sort_ms": sort, "filter_ms": filtered}


def measure(trials: int, folder: Path, runs: int) -> dict[str, Any]:
    """All figures of one size: medians, and the largest."""
    (folder / "ledger.jsonl").unlink(missing_ok=True)
    written = write_ledger(folder, trials)
    made = [make_report(folder, folder / "out") for _ in range(runs)]
    file = folder / "out" / "index.html"
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        opened = [open_page(browser.new_page(viewport={"width": 1440, "height": 900}), file.as_uri()) for _ in range(5)]
        version = browser.version
        browser.close()
    values: dict[str, list[float]] = {
        "made_s": [seconds for seconds, _ in made],
        "memory_mb": [memory for _, memory in made],
        **{name: [each[name] for each in opened] for name in opened[0]},
    }
    figures = {
        name: {"median": round(statistics.median(each), 3), "max": round(max(each), 3), "runs": len(each)}
        for name, each in values.items()
    }
    sizes = {"ledger_mb": (folder / "ledger.jsonl").stat().st_size / 1e6, "file_mb": file.stat().st_size / 1e6}
    rounded = {name: round(size, 3) for name, size in sizes.items()}
    return {"trials": trials, "ledger_written_s": round(written, 1), **rounded, **figures, "chromium": version}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=TRIALS)
    parser.add_argument("--runs", type=int, default=3, help="how often each report is made")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for trials in arguments.trials:
            found.append(measure(trials, Path(folder), arguments.runs))
            print(_line(found[-1]), flush=True)
    over = [
        name
        for figure in found
        if figure["trials"] == 10_000
        for name, most in LIMITS.items()
        if _of(figure, name) > most
    ]
    print("within every limit at 10,000 trials" if not over else f"over the limit at 10,000 trials: {', '.join(over)}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "benchmark": "report", "architectures": 12, "epochs": 30, "limits_at_10000": LIMITS, "figures": found,
        "machine": {"processor": _processor(), "cpus": os.cpu_count(), "python": platform.python_version()},
    }  # fmt: skip
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {OUT}")


def _of(figure: dict[str, Any], name: str) -> float:
    value = figure[name]
    return float(value["median"] if isinstance(value, dict) else value)


def _line(figure: dict[str, Any]) -> str:
    cells = [f"{figure['trials']:>9,} trials", f"ledger {figure['ledger_mb']:.0f} MB"]
    cells += [f"{name} {_of(figure, name):.4g}" for name in LIMITS]
    return "   ".join(cells)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
