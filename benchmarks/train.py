"""Images per second of cnnbench's training loop against the usual loop, side by side.

The usual loop: a DataLoader over PIL images with torchvision's RandomCrop, RandomHorizontalFlip, ToTensor and
Normalize, fp32, default layout, 0 or 2 worker processes, whichever is faster for that network. cnnbench's loop: the
same crop and flip on whole uint8 batches, and the precision and layout that its probe chose. Both: SGD with momentum,
batch 128, 32×32 colour. Each has a process of its own, because cnnbench tells its C library to keep freed memory. They
take turns, round by round; the first round warms both up and is not counted. Of both, the steady state is timed: the
usual loop without its first batch, cnnbench's without its first epoch.

Run: make bench-train    (about four minutes on two idle cores; figures in build/bench/train.json)
"""

import argparse
import json
import math
import multiprocessing
import os
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for both loops: threads that wait don't take the cores of others

import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "platform"))

from cnnbench.data.image_normalization import Normalization  # noqa: E402
from cnnbench.data.images import Images  # noqa: E402
from cnnbench.data.readers import DATASETS  # noqa: E402
from cnnbench.data.sources import DataError  # noqa: E402
from cnnbench.networks.build import build  # noqa: E402
from cnnbench.networks.spec import NetworkSpec  # noqa: E402
from cnnbench.precision import Precision  # noqa: E402
from cnnbench.training.allocator import keep_freed_memory  # noqa: E402
from cnnbench.training.loop import train  # noqa: E402
from cnnbench.training.probe import probe  # noqa: E402
from cnnbench.training.recipe import Recipe  # noqa: E402

ARCHITECTURES = (
    "lenet5", "simple_cnn", "vgg11_bn", "resnet20", "resnet18", "mobilenet_v2", "shufflenet_v2_x0_5", "convnext_atto",
)  # fmt: skip
BATCH = 128
SECONDS = 1.5  # of the usual loop, a round and network
LIMIT_SECONDS = 60.0  # a network; once they are over, no further round begins
BATCHES = (2, 64)  # fewest and most in a round
RECIPE = Recipe(optimizer="sgd", lr=0.01, schedule="constant", batch_size=BATCH, crop_padding=4, horizontal_flip=True)


class PilImages(Dataset[tuple[torch.Tensor, int]]):
    """As torchvision's CIFAR10 serves its images: a PIL image made of an array, then the transforms."""

    def __init__(self, images: Images, normalization: Normalization) -> None:
        self.arrays = images.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = images.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(normalization.mean, normalization.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index]


def usual_rate(
    network: nn.Module, images: Images, normalization: Normalization, device: torch.device, workers: int
) -> float:
    """Images per second, the workers' start and the first batch left out."""
    loader = DataLoader(
        PilImages(images, normalization), BATCH, shuffle=True, num_workers=workers, pin_memory=device.type == "cuda"
    )
    network = network.to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), RECIPE.lr, momentum=RECIPE.momentum, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss()
    begin, seen, loss_sum, right = 0.0, 0, 0.0, 0
    for index, (inputs, labels) in enumerate(loader):
        inputs, labels = inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        logits = network(inputs)
        loss = criterion(logits, labels)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        right += int((logits.argmax(1) == labels).sum())
        if index == 0:
            begin = time.monotonic()
        else:
            seen += len(labels)
    return seen / (time.monotonic() - begin)


def our_rate(
    network: nn.Module, images: Images, normalization: Normalization, device: torch.device, precision: Precision
) -> float:
    """Images per second of a second epoch, everything in it included."""
    trained = train(
        network, images, None, RECIPE,
        normalization=normalization, epochs=2, seed=0, device=device, precision=precision,
    )  # fmt: skip
    return trained.images / 2 / trained.history[1].seconds


def new_network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(NetworkSpec(name, classes=10, channels=3, image_size=32))[0]


def serve_usual(connection: Connection, images: Images, normalization: Normalization, device: torch.device) -> None:
    """The usual loop's process: (network, batches, workers) in, images per second out, until None comes."""
    while (asked := connection.recv()) is not None:
        name, batches, workers = asked
        some = images.take(torch.arange((batches + 1) * BATCH) % len(images))
        connection.send(usual_rate(new_network(name), some, normalization, device, workers))


def measure(
    name: str, images: Images, normalization: Normalization, device: torch.device, rounds: int, other: Connection
) -> dict[str, Any]:
    """One network's figures over ``rounds`` counted rounds, or fewer when they take too long. ``other`` leads to the
    usual loop's process."""
    begin = time.monotonic()
    probed = probe(lambda: new_network(name), (3, 32, 32), BATCH, device)
    expected = probed.images_per_s[Precision()]
    batches = min(max(round(SECONDS * expected / BATCH), BATCHES[0]), BATCHES[1])
    some = images.take(torch.arange(batches * BATCH) % len(images))

    def usual(workers: int) -> float:
        other.send((name, batches, workers))
        rate: float = other.recv()
        return rate

    def ours() -> float:
        return our_rate(new_network(name), some, normalization, device, probed.precision)

    ours()
    workers = max((0, 2), key=usual)
    pairs = [(usual(workers), ours())]
    while len(pairs) < rounds and time.monotonic() - begin < LIMIT_SECONDS:
        pairs.append((usual(workers), ours()))
    return {
        "usual_images_per_s": statistics.median(pair[0] for pair in pairs),
        "cnnbench_images_per_s": statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(pair[1] / pair[0] for pair in pairs),
        "rounds": [{"usual": pair[0], "cnnbench": pair[1]} for pair in pairs],
        "usual_workers": workers,
        "precision": str(probed.precision),
        "batches_a_round": batches,
        "probe_images_per_s": {str(precision): rate for precision, rate in probed.images_per_s.items()},
    }


def load_images() -> tuple[Images, str]:
    """CIFAR-10's training images, or generated ones of its size: the speed is the same."""
    try:
        return DATASETS["cifar10"].thing.load_train(), "cifar10"
    except DataError:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (10_000, 3, 32, 32), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, 10, (10_000,), generator=generator)
        return Images(pixels, labels, tuple("0123456789")), "generated noise (set CNNBENCH_DATA for CIFAR-10)"


def machine(device: torch.device) -> str:
    """For example "Intel Xeon, 2 CPUs"."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    gpu = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{model}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads{gpu}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES))
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, source = load_images()
    images = images.take(torch.arange(min(len(images), (BATCHES[1] + 1) * BATCH)))
    normalization = Normalization.of(images)
    print(f"{machine(device)}; torch {torch.__version__}; data: {source}; {arguments.rounds} rounds")
    print(f"{'architecture':22}{'usual':>9}{'cnnbench':>10}{'ratio':>7}  workers  precision")
    keep_freed_memory()
    figures = {}
    here, there = multiprocessing.get_context("spawn").Pipe()
    place = (there, images, normalization, device)
    process = multiprocessing.get_context("spawn").Process(target=serve_usual, args=place)
    process.start()
    for name in arguments.architectures:
        figures[name] = row = measure(name, images, normalization, device, arguments.rounds, here)
        print(
            f"{name:22}{row['usual_images_per_s']:9.0f}{row['cnnbench_images_per_s']:10.0f}{row['ratio']:7.2f}"
            f"{row['usual_workers']:9d}  {row['precision']}",
            flush=True,
        )
    here.send(None)
    process.join()
    ratios = {name: row["ratio"] for name, row in figures.items()}
    mean = math.exp(statistics.fmean(math.log(ratio) for ratio in ratios.values()))
    print(f"{'geometric mean':22}{mean:26.2f}")
    result = {
        "unit": "training images per second, batch 128, 32×32 colour",
        "figures": figures,
        "ratios": ratios,
        "geometric_mean": mean,
        "runs": min(len(row["rounds"]) for row in figures.values()),
        "data": source,
        "machine": machine(device),
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
    }
    path = ROOT / "build" / "bench" / "train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path)


if __name__ == "__main__":
    main()
