"""Epochs that a search spends until it has what random search has at its full budget, over recorded trainings.

For each table (a data set and an architecture, 210 configurations trained for 27 epochs each; see trial_tables.py) the
target is the median, over the seeds, of the best last validation accuracy among random search's first TRIALS trials,
each trained to its end. What is counted: epochs spent on all trials, those stopped early included, until a trial that
ran to its end has reached the target; median over the seeds. A search that has not reached it after the whole budget of
TRIALS × 27 epochs counts as infinitely many in the median, a median that is infinite as that budget in the ratio, which
favours it; random search goes on until it has. Nothing is trained.

The best of many trainings is a lucky one: a handful of 210 configurations reach it, by an image or two. So the same is
counted for a second target, one standard error of the validation images below the first: what they can't tell from it.

Run: make bench-search    (half an hour on two cores; figures in build/bench/search.json)
"""

import argparse
import json
import math
import multiprocessing
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import ray
from searchers import SEARCHERS
from trial_tables import EPOCHS, GRID, TABLES, Table, read_table

TRIALS = 20  # of random search at full budget, as in the README's study
QUARTER = 0.25  # of random search's epochs: what cnnbench should need
PATIENCE = 20  # budgets that random search may take
OUT = Path(__file__).resolve().parent.parent / "build" / "bench" / "search.json"


def targets(name: str, trials: int, seeds: int) -> dict[str, float]:
    """Both targets of a table."""
    table = read_table(name)
    assert len(table.accuracies) == len(GRID), f"{name}: {len(table.accuracies)} of {len(GRID)} are recorded"
    best = statistics.median(random_bests(table, trials, seeds))
    return {"best": best, "within its standard error": best - math.sqrt(best * (1 - best) / table.validation_images)}


def random_bests(table: Table, trials: int, seeds: int) -> list[float]:
    """Random search's best last accuracy among its first ``trials`` trials, for each seed."""
    budget = trials * EPOCHS
    runs = (SEARCHERS["random"](table, seed, budget) for seed in range(seeds))
    return [max((accuracy for _, accuracy in run), default=0.0) for run in runs]


def epochs_to(wanted: Sequence[float], searcher: str, table: Table, seed: int, budget: int) -> list[float]:
    """Epochs spent until a trial that ran to its end has reached each of ``wanted``; infinity if over ``budget``."""
    found = [math.inf] * len(wanted)
    for spent, accuracy in SEARCHERS[searcher](table, seed, budget):
        if spent > budget:
            break
        found = [spent if epochs > spent and accuracy >= t else epochs for epochs, t in zip(found, wanted, strict=True)]
        if max(found) < math.inf:
            break
    return found


def one(task: tuple[str, str, int, Sequence[float], int]) -> list[float]:
    """``epochs_to`` in a process of its own, which finds the table by its name."""
    name, searcher, seed, wanted, budget = task
    return epochs_to(wanted, searcher, read_table(name), seed, budget)


def measure(name: str, trials: int, seeds: int, pool: Any) -> dict[str, Any]:
    """A table's figures: target → its accuracy, and each searcher's epochs by seed."""
    wanted = targets(name, trials, seeds)
    figures: dict[str, Any] = {target: {"accuracy": accuracy, "searchers": {}} for target, accuracy in wanted.items()}
    for searcher in SEARCHERS:
        budget = trials * EPOCHS * (PATIENCE if searcher == "random" else 1)
        tasks = [(name, searcher, seed, list(wanted.values()), budget) for seed in range(seeds)]
        by_target = zip(*pool.map(one, tasks, chunksize=1), strict=True)
        for target, epochs in zip(wanted, by_target, strict=True):
            figures[target]["searchers"][searcher] = summary(sorted(epochs))
    for of_target in figures.values():
        rows = of_target["searchers"]
        for searcher, row in rows.items():
            median = row["median"] if searcher == "random" else min(row["median"], trials * EPOCHS)
            row["ratio"] = median / rows["random"]["median"]
    return figures


def summary(epochs: Sequence[float]) -> dict[str, Any]:
    """Median and quartiles; epochs rise."""
    quartiles = [epochs[round(share * (len(epochs) - 1))] for share in (0.25, 0.75)]
    missed = sum(map(math.isinf, epochs))
    return {"median": statistics.median(epochs), "quartiles": quartiles, "not_reached": missed, "epochs": list(epochs)}


def show(name: str, figures: dict[str, Any]) -> None:
    for target, of_target in figures.items():
        print(f"\n{name}: {target}, {100 * of_target['accuracy']:.2f} %")
        for searcher, row in of_target["searchers"].items():
            low, high = row["quartiles"]
            lost = f"   not reached from {row['not_reached']} seeds" if row["not_reached"] else ""
            epochs = f"{row['median']:8.0f} epochs ({low:.0f} to {high:.0f})"
            print(f"  {searcher:32}{epochs}{row['ratio']:8.3f}{lost}", flush=True)


def geometric_means(figures: dict[str, Any], target: str) -> dict[str, float]:
    """Of each searcher's ratios to random search, over the tables."""
    found = {}
    for searcher in SEARCHERS:
        ratios = [of_table[target]["searchers"][searcher]["ratio"] for of_table in figures.values()]
        found[searcher] = math.exp(statistics.fmean(map(math.log, ratios)))
    return found


def verdict(means: dict[str, float]) -> str:
    ours, theirs = means["cnnbench"], min(mean for searcher, mean in means.items() if searcher.startswith("Ray"))
    return (
        f"a quarter of random search's epochs: {'met' if ours <= QUARTER else 'missed'} ({ours:.3f}); "
        f"ahead of Ray's own: {'yes' if ours < theirs else 'no'} ({theirs:.3f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--trials", type=int, default=TRIALS, help="of random search at full budget")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    print(f"{arguments.seeds} seeds; full budget: {arguments.trials} trials of {EPOCHS} epochs")
    figures = {}
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for name in arguments.tables:
            figures[name] = measure(name, arguments.trials, arguments.seeds, pool)
            show(name, figures[name])
            write(arguments.out, figures, arguments.seeds, arguments.trials)  # what is done stays
    for target in next(iter(figures.values())):
        means = geometric_means(figures, target)
        print(f"\n{target}: geometric mean of the ratios to random search over {len(figures)} tables")
        for searcher, mean in means.items():
            print(f"  {searcher:32}{mean:8.3f}")
        print(f"  {verdict(means)}")
    print(arguments.out)


def write(path: Path, figures: dict[str, Any], seeds: int, trials: int) -> None:
    of_table = next(iter(figures.values()))
    result = {
        "unit": "epochs until a whole trial reaches random search's median best at full budget",
        "figures": figures, "ratios": {target: geometric_means(figures, target) for target in of_table},
        "runs": seeds, "trials": trials, "machine": f"{os.cpu_count()} CPUs; nothing is timed",
        "versions": {"optuna": optuna.__version__, "ray": ray.__version__},
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2).replace("Infinity", "null") + "\n")


if __name__ == "__main__":
    main()
