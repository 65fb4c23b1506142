"""The plan of a study in words: trials, epochs, images, costs, and how long it should take."""

from cnnbench.distributed import machine
from cnnbench.distributed.material import open_sources
from cnnbench.distributed.plan import plan_rows, searched_names
from cnnbench.distributed.probe import probe_row
from cnnbench.study import Study

# Of a search's epochs, what pruned trials leave unspent is not foreseen: the estimate is an upper bound.
EVALUATION_SHARE = 1 / 3  # of a training step's time, that a forward pass takes


def estimate(study: Study) -> str:
    """Probes each architecture in this process, on its GPU if it has one. Raises what ``conduct`` raises at first."""
    import torch

    sources = open_sources(study.data)
    material = sources.for_search()
    classes, channels, size = len(material.classes), material.channels, study.data.image_size
    rows = plan_rows(study, channels=channels, classes=classes)
    train, held = len(material.train_labels), len(material.held_labels)
    gpus = 1.0 if torch.cuda.is_available() and study.resources.gpus != 0 else 0.0
    epochs, trials, seeds = study.budget.epochs, study.budget.trials, study.finals.seeds
    searched = searched_names(study.space)
    lines = [
        f"study {study.study}: {study.data.dataset}, {train} training and {held} validation images of "
        f"{channels}×{size}×{size}, {classes} classes",
        f"search: {len(rows)} architectures × {trials} trials × at most {epochs} epochs "
        f"({len(rows) * trials * epochs * train:,} images), {study.search.sampler} and {study.search.pruner}, over "
        f"{', '.join(searched) or 'nothing'}",
        f"finals: {len(rows)} × {seeds} seeds × at most {epochs} epochs "
        f"({len(rows) * seeds * epochs * (train + held):,} images)",
        "",
        f"{'architecture':24}{'params':>12}{'MACs':>14}  {'precision':20}{'images/s':>10}{'worker-hours':>14}",
    ]
    total = 0.0
    for label, row in rows.items():
        probed = probe_row(
            row,
            channels=channels,
            classes=classes,
            image_size=size,
            threads=max(1, int(study.resources.cpus)),
            gpus=gpus,
        )
        rate = max(probed["images_per_s"].values())
        images = epochs * (trials * (train + EVALUATION_SHARE * held) + seeds * (train + held))
        total += images / rate / 3600
        precision = probed["dtype"] + (" channels-last" if probed["channels_last"] else "")
        out = f"  without {', '.join(row.left_out)}" if row.left_out else ""
        lines.append(
            f"{label:24}{row.cost['params']:>12,}{row.cost['macs']:>14,}  {precision:20}{rate:>10,.0f}"
            f"{images / rate / 3600:>14.3f}{out}"
        )
    at_once = study.resources.concurrent_trials
    many = at_once if isinstance(at_once, int) else max(1, int(machine.host_cpus() / study.resources.cpus))
    lines += [
        "",
        f"at most {total:.2f} worker-hours; with {many} at once about {_time(total / many)}, less what is pruned",
    ]
    return "\n".join(lines)


def _time(hours: float) -> str:
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:.1f} hours"
