"""Architectures × components, each pair tried: ``make matrix`` writes docs/matrix.md.

A cell builds the network on 32×32 colour images, puts the component in, trains one step, and compares outputs with
those of the network without it. All of it takes half an hour; ``make matrix-missing`` tries only what the page lacks.
Run: python tests/matrix.py [--missing] [--kind KIND …] [ARCHITECTURE …]
"""

import argparse
import copy
import multiprocessing
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnbench.architectures import ARCHITECTURES
from cnnbench.components import ComponentError, swap
from cnnbench.components.kinds import KINDS, NAMES, NUMBERS, SITES_OF
from cnnbench.networks import build as network
from cnnbench.networks.build import BuildError
from cnnbench.networks.spec import NetworkSpec

PAGE = Path(__file__).parents[1] / "docs" / "matrix.md"
SIZE, CLASSES, BATCH = 32, 10, 4
RATE = 0.5  # of the kinds whose value is a number


class Ineffective(AssertionError):
    """A component that was put in and changed nothing, or the other way round."""


@dataclass(frozen=True)
class Cell:
    """What became of one pair. sites: how many it reached; own: the network has the value already; reason: why it was
    refused, "" if it was not."""

    sites: int
    own: bool = False
    reason: str = ""


Row = dict[tuple[str, str | float], Cell]


def values() -> Iterator[tuple[str, str | float]]:
    """Every (kind, value); one rate stands for all of a number's range."""
    for kind, registry in NAMES.items():
        yield from ((kind, value) for value in registry)
    yield from ((kind, RATE) for kind in NUMBERS)


def built(architecture: str) -> nn.Module:
    """The network without components, always with the same weights."""
    torch.manual_seed(0)
    return network.build(NetworkSpec(architecture, classes=CLASSES, channels=3, image_size=SIZE))[0]


def try_cell(original: nn.Module, before: Sequence[Tensor], kind: str, value: str | float) -> Cell:
    """Puts one component into ``original`` (which stays as it is) and trains a step. ``before``: the answers of
    ``original`` itself. Raises Ineffective."""
    torch.manual_seed(1)
    try:
        changed, report = swap(original, {kind: value}, (3, SIZE, SIZE))
    except ComponentError as error:
        return Cell(0, reason=str(error).partition(": ")[2])
    used = report.components[kind]
    after = answers_of(changed)
    if not all(answer.isfinite().all() for answer in after):
        raise Ineffective(f"{kind}={value}: an output is not finite after one step")
    same = all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    if same != (used.how == "kept"):
        raise Ineffective(f"{kind}={value}: {used.how} at {used.sites} sites, outputs {'equal' if same else 'differ'}")
    return Cell(used.sites, own=same)


def answers_of(original: nn.Module) -> list[Tensor]:
    """Logits of a copy in evaluation on images of two scales (relu6 is relu on small values), in training, and in
    training after one step (a learned component may begin as the one that it replaces)."""
    trained = copy.deepcopy(original)
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=generator)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.01)
    with torch.no_grad():
        answers = [trained.eval()(scale * images) for scale in (1.0, 1000.0)]
    trained.train()
    for step in (0, 1):
        torch.manual_seed(3)  # for dropout
        with torch.set_grad_enabled(step == 0):
            outputs = trained(images)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        answers.append(outputs.detach())
        if step == 0:
            F.cross_entropy(outputs, labels).backward()
            nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
            optimizer.step()
    return answers


def row(architecture: str, wanted: Sequence[tuple[str, str | float]] | None = None) -> tuple[Row, list[str]]:
    """The cells of one architecture, all or the wanted ones, and what is wrong with some."""
    torch.set_num_threads(1)
    original = built(architecture)
    before = answers_of(original)
    cells, faults = {}, []
    for kind, value in values() if wanted is None else wanted:
        try:
            cells[kind, value] = try_cell(original, before, kind, value)
        except Ineffective as error:
            faults.append(f"{architecture}: {error}")
    return cells, faults


def representatives(architectures: Sequence[str]) -> dict[str, str]:
    """Architecture → the one that stands for it: the smallest of its family with the same types of layers and the same
    kinds of sites. Those that take no images of SIZE pixels are left out."""
    smallest: dict[object, tuple[int, str]] = {}
    alike: dict[str, object] = {}
    for name in architectures:
        try:
            with torch.device("meta"):
                original = built(name)
            sites = network.sites(NetworkSpec(name, classes=10, channels=3, image_size=SIZE))
        except BuildError:
            continue
        layers = frozenset(type(module).__name__ for module in original.modules())
        kinds = frozenset(kind for kind, count in sites.items() if count)
        alike[name] = key = (ARCHITECTURES[name].facts["family"], layers, kinds)
        size = sum(parameter.numel() for parameter in original.parameters())
        smallest[key] = min(smallest.get(key, (size, name)), (size, name))
    return {name: smallest[key][1] for name, key in alike.items()}


def page(rows: dict[str, Row], stands_for: dict[str, str]) -> str:
    """The whole of docs/matrix.md, from which ``read`` gets both back."""
    blocks = [_INTRODUCTION.format(size=SIZE, batch=BATCH)]
    for kind in (*NAMES, *NUMBERS):
        columns = [value for of, value in values() if of == kind and all((of, value) in row for row in rows.values())]
        reasons: dict[str, int] = {}
        lines = [
            f"## {kind}\n\n{SITES_OF[kind]}\n",
            "| architecture | " + " | ".join(str(value) for value in columns) + " |",
            "| --- |" + " --- |" * len(columns),
        ]
        for name, cells in rows.items():
            marks = [_mark(cells[kind, value], reasons) for value in columns]
            lines.append(f"| {name} | " + " | ".join(marks) + " |")
        lines += ["", *(f"{number}. {reason}" for reason, number in reasons.items())]
        blocks.append("\n".join(lines).rstrip())
    others = [f"| {name} | {other} |" for name, other in stands_for.items() if name != other]
    blocks.append("\n".join(["## Alike\n", "| architecture | has the row of |", "| --- | --- |", *others]))
    return "\n\n".join(blocks) + "\n"


def _mark(cell: Cell, reasons: dict[str, int]) -> str:
    if cell.reason:
        return f"({reasons.setdefault(cell.reason, len(reasons) + 1)})"
    return f"{cell.sites} own" if cell.own else str(cell.sites)


_INTRODUCTION = """# Architectures × components

Written by `make matrix`; not by hand. Each cell was built on {size}×{size} colour images, {batch} at a time, and
trained one step: the number is that of the sites that the component reached, and the network's outputs differ from
those without it. "own": the network has that value already, and its outputs are the same to the bit. "(1)": refused,
for the reason below the table. One network, the smallest, stands for all of its family that have the same types of
layers and the same kinds of sites; the last table names it for each."""


def read(text: str) -> tuple[dict[str, Row], dict[str, str]]:
    """Rows and representatives of a page, as ``page`` was given them."""
    rows: dict[str, Row] = {}
    *sections, alike = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    for section in sections:
        kind = section.partition("\n")[0]
        reasons = dict(re.findall(r"^(\d+)\. (.+)$", section, flags=re.MULTILINE))
        head, *lines = _table(section)
        for name, *marks in lines:
            cells = rows.setdefault(name, {})
            for value, mark in zip(head[1:], marks, strict=True):
                cells[kind, float(value) if kind in NUMBERS else value] = _cell(mark, reasons)
    others = {name: other for name, other in _table(alike)[1:]}
    return rows, {**{name: name for name in rows}, **others}


def _table(section: str) -> list[list[str]]:
    """A table's rows, its head among them."""
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [cells for cells in lines if set(cells) != {"---"}]


def _cell(mark: str, reasons: Mapping[str, str]) -> Cell:
    if mark.startswith("("):
        return Cell(0, reason=reasons[mark.strip("()")])
    return Cell(int(mark.split()[0]), own=mark.endswith("own"))


def missing(rows: dict[str, Row], listed: Sequence[str]) -> dict[str, list[tuple[str, str | float]]]:
    """Architecture → the cells that ``rows`` does not have of it."""
    lacking = {name: [cell for cell in values() if cell not in rows.get(name, {})] for name in listed}
    return {name: cells for name, cells in lacking.items() if cells}


def _row(asked: tuple[str, Sequence[tuple[str, str | float]]]) -> tuple[Row, list[str]]:
    return row(*asked)


def main() -> None:
    parser = argparse.ArgumentParser(description="architectures × components, each pair tried")
    parser.add_argument("architectures", nargs="*", metavar="ARCHITECTURE", help="these rows alone")
    parser.add_argument("--kind", nargs="+", choices=KINDS, help="these kinds of component alone")
    parser.add_argument("--missing", action="store_true", help="what the page lacks alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    asked = parser.parse_args()

    known = read(PAGE.read_text())[0] if PAGE.exists() else {}
    stands_for = representatives(list(ARCHITECTURES))
    listed = list(dict.fromkeys(stands_for.values()))
    if unknown := set(asked.architectures) - set(listed):
        raise SystemExit(f"{', '.join(sorted(unknown))}: no row; rows are {', '.join(listed)}")
    todo = missing(known if asked.missing else {}, asked.architectures or listed)
    todo = {
        name: [(kind, value) for kind, value in cells if kind in (asked.kind or KINDS)] for name, cells in todo.items()
    }
    tried, faults = {}, []
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        for name, (cells, faulty) in zip(todo, pool.imap(_row, todo.items()), strict=True):
            tried[name] = cells
            faults += faulty
            print(f"{name}: {sum(not cell.reason for cell in cells.values())} of {len(cells)}", *faulty, flush=True)
    if faults:
        raise SystemExit(f"{len(faults)} cells are wrong")
    rows = {name: {**known.get(name, {}), **tried.get(name, {})} for name in listed}
    if lacking := missing(rows, listed):
        raise SystemExit(f"the page would lack cells of {', '.join(lacking)}; run it with --missing first")
    PAGE.write_text(page(rows, stands_for))
    print(PAGE)


if __name__ == "__main__":
    main()
