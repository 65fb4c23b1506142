"""Architectures × components, each pair tried: ``make matrix`` writes docs/matrix.md.

A cell builds the network on 32×32 colour images, puts the component in, trains one step, and compares outputs with
those of the network without it. Run: python tests/matrix.py [ARCHITECTURE …]
"""

import copy
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnbench import network
from cnnbench.architectures import ARCHITECTURES
from cnnbench.components import ComponentError, swap
from cnnbench.components.kinds import NAMES, NUMBERS, SITES_OF
from cnnbench.network import BuildError

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


def values() -> Iterator[tuple[str, str | float]]:
    """Every (kind, value); one rate stands for all of a number's range."""
    for kind, registry in NAMES.items():
        yield from ((kind, value) for value in registry)
    yield from ((kind, RATE) for kind in NUMBERS)


def built(architecture: str) -> nn.Module:
    """The network without components, always with the same weights."""
    torch.manual_seed(0)
    return network.build(architecture, classes=CLASSES, channels=3, image_size=SIZE)[0]


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


def row(architecture: str) -> tuple[dict[tuple[str, str | float], Cell], list[str]]:
    """All cells of one architecture, and what is wrong with some."""
    torch.set_num_threads(1)
    original = built(architecture)
    before = answers_of(original)
    cells, faults = {}, []
    for kind, value in values():
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
            sites = network.sites(name, channels=3, image_size=SIZE)
        except BuildError:
            continue
        layers = frozenset(type(module).__name__ for module in original.modules())
        kinds = frozenset(kind for kind, count in sites.items() if count)
        alike[name] = key = (ARCHITECTURES[name].facts["family"], layers, kinds)
        size = sum(parameter.numel() for parameter in original.parameters())
        smallest[key] = min(smallest.get(key, (size, name)), (size, name))
    return {name: smallest[key][1] for name, key in alike.items()}


def page(rows: dict[str, dict[tuple[str, str | float], Cell]], stands_for: dict[str, str]) -> str:
    """The whole of docs/matrix.md."""
    blocks = [_INTRODUCTION.format(size=SIZE, batch=BATCH)]
    for kind in (*NAMES, *NUMBERS):
        columns = [value for of, value in values() if of == kind]
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


def main() -> None:
    stands_for = representatives(sys.argv[1:] or list(ARCHITECTURES))
    listed = list(dict.fromkeys(stands_for.values()))
    rows, faults = {}, []
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for name, (cells, faulty) in zip(listed, pool.imap(row, listed), strict=True):
            rows[name] = cells
            faults += faulty
            print(f"{name}: {sum(not cell.reason for cell in cells.values())} of {len(cells)}", *faulty, flush=True)
    if faults:
        raise SystemExit(f"{len(faults)} cells are wrong")
    if not sys.argv[1:]:
        PAGE.write_text(page(rows, stands_for))
        print(PAGE)


if __name__ == "__main__":
    main()
