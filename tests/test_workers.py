"""A training that two DDP workers share."""

import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing

from cnnbench.training.outcome import Diverged
from trainings import PLAIN, run, small_network

SHARED = dataclasses.replace(PLAIN, accumulation_steps=2, crop_padding=1, schedule="cosine", clip_norm=1.0)
SHARED = dataclasses.replace(SHARED, batch_size=15)  # of which one worker has 8 images, the other 7


MIXED = dataclasses.replace(SHARED, mixup=0.4, cutmix=1.0, ema_decay=0.9, rotation=20.0, color_jitter=0.3)


def _worker(rank: int, size: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    results: dict[str, Any] = {}
    for name, recipe, norm in (("plain", SHARED, False), ("mixed", MIXED, False), ("norm", MIXED, True)):
        trained, network = run(recipe, small_network(norm=norm))
        rows = [dataclasses.astuple(metrics)[:-1] for metrics in trained.history]  # without the seconds
        results[name] = {"history": rows, "weights": network.state_dict()}
    with pytest.raises(Diverged) as caught:
        run(dataclasses.replace(SHARED, lr=1e30, clip_norm=None))
    results["diverged"] = str(caught.value)
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two DDP workers (gloo) got: a plain network, one of mixed images and averaged weights, one that has
    batch normalisation besides, one that diverges."""
    folder = tmp_path_factory.mktemp("workers")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_worker, (2, port, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize(("name", "recipe"), [("plain", SHARED), ("mixed", MIXED)])
def test_two_workers_have_the_loss_curve_of_one_with_the_same_global_batch(two_workers, name, recipe):
    alone, network = run(recipe)
    for worker in two_workers:
        for mine, other in zip(alone.history, worker[name]["history"], strict=True):
            assert other == pytest.approx(dataclasses.astuple(mine)[:-1], abs=1e-5)
        for key, tensor in network.state_dict().items():
            assert torch.allclose(worker[name]["weights"][key], tensor, atol=1e-5)


def test_two_workers_end_with_the_same_weights_running_statistics_and_metrics(two_workers):
    first, second = (worker["norm"] for worker in two_workers)
    assert first["history"] == second["history"]
    assert first["weights"].keys() == small_network(norm=True).state_dict().keys()
    for name, tensor in first["weights"].items():
        assert torch.equal(tensor, second["weights"][name]), name


def test_two_workers_diverge_together(two_workers):
    assert two_workers[0]["diverged"] == two_workers[1]["diverged"] and "diverged at step" in two_workers[0]["diverged"]
