"""What ``cnnbench models`` and ``cnnbench describe`` say of networks, as plain values."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import torch

from cnnbench.architectures import ARCHITECTURES
from cnnbench.components import count_sites
from cnnbench.components.kinds import SITES_OF, ComponentError, allowed, check
from cnnbench.networks import cost, description
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.study.document import DocumentError, read_yaml
from cnnbench.vocabulary import ORIGINAL

ROWS_WORTH_PROCESSES = 16  # a process takes seconds to start, a row a tenth of one


def models(
    names: Sequence[str] = (),
    *,
    image_size: int,
    channels: int,
    classes: int,
    components: bool = False,
    on_row: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """One row an architecture, of all or of ``names``: name, year, family, paper; smallest, stem → the smallest image
    side; stem, params, macs, flops at that input; with ``components`` also each kind's number of sites.

    What can't be known is None, with the reason under ``error``, which for an image that is too small says the smallest
    size. Many rows are shared out among processes, one a core; ``on_row`` hears how many rows of all are done.
    Raises UnknownName.
    """
    wanted = list(names or ARCHITECTURES)
    for name in wanted:
        ARCHITECTURES[name]
    row = partial(_model, image_size=image_size, channels=channels, classes=classes, components=components)
    if len(wanted) < ROWS_WORTH_PROCESSES:
        return [row(name) for name in wanted]
    rows = []
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread) as pool:
        for done, measured in enumerate(pool.map(row, wanted), 1):
            rows.append(measured)
            on_row(done, len(wanted))
    return rows


def _one_thread() -> None:
    torch.set_num_threads(1)


def _model(name: str, *, image_size: int, channels: int, classes: int, components: bool) -> dict[str, Any]:
    facts = ARCHITECTURES[name].facts
    known = {key: facts.get(key) for key in ("year", "family", "paper", "smallest")}
    row: dict[str, Any] = {"name": name, **known, "stem": None, "params": None, "macs": None, "flops": None}
    row |= {"components": None} if components else {}
    spec = NetworkSpec(name, classes=classes, channels=channels, image_size=image_size)
    try:
        with torch.device("meta"):
            built, report = build(spec)
        measured = cost.measure(built, spec.image)
        row |= {"stem": report.stem, "params": measured.params, "macs": measured.macs, "flops": measured.flops}
        if components:
            row["components"] = count_sites(built, spec.image)
    except Exception as error:  # whatever is wrong with one network, the others stand
        row["error"] = (
            str(error).split("\n")[0] if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        )
    return row


def describe(spec: NetworkSpec, *, speed: bool = False) -> dict[str, Any]:
    """The network as plain values: what it is, its layers, sites and cost (``description``), and where each of
    its components went; with ``speed`` also how fast it runs here. Raises BuildError and ComponentError."""
    with torch.device("meta"):
        built, report = build(spec)
    facts = ARCHITECTURES[spec.architecture].facts
    described: dict[str, Any] = {"architecture": spec.architecture}
    described |= {key: facts.get(key) for key in ("year", "family", "paper", "smallest")}
    described |= {"input": spec.image, "classes": spec.classes, "width": spec.width, "depth": spec.depth}
    described |= report.as_dict()
    described |= description.describe(built, spec.image).as_dict()
    described["sites_of"] = SITES_OF
    if speed:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        real, _ = build(spec)
        described["speed"] = vars(cost.speed(real.to(device), spec.image, device))
    return described


def component_values(settings: Sequence[str]) -> dict[str, str | float | None]:
    """``kind=value`` strings as components; "original" is None. Raises ComponentError with a line for each mistake."""
    values: dict[str, str | float | None] = {}
    errors = []
    for setting in settings:
        kind, _, text = setting.partition("=")
        try:
            value = read_yaml(text) if text else None
            if value is None:
                raise ComponentError(f"--set {setting}: write --set kind=value, as in --set activation=mish")
            if value == ORIGINAL:
                allowed(kind)
            else:
                check(kind, value)
            values[kind] = None if value == ORIGINAL else value
        except (ComponentError, DocumentError) as error:
            errors.append(str(error))
    if errors:
        raise ComponentError("\n".join(errors))
    return values
