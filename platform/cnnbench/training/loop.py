"""The training loop: one network, one recipe, PyTorch alone. It spreads over the ranks of torch.distributed if that
was initialised, each rank holding its own share of every batch."""

import contextlib
import dataclasses
import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cnnbench.data.augmentation import Augmentation
from cnnbench.data.batches import Batch, Batches
from cnnbench.data.images import Images
from cnnbench.data.mixing import Mixing
from cnnbench.data.normalization import Normalization
from cnnbench.data.seeds import derived_seed
from cnnbench.data.warp import Warp
from cnnbench.evaluation.evaluate import evaluate_batches, evaluation_batches
from cnnbench.precision import FP32, Precision
from cnnbench.ranks import Ranks
from cnnbench.training.averaging import WeightAverage
from cnnbench.training.batch_norm import Settling
from cnnbench.training.checkpoints import CheckpointFile
from cnnbench.training.loss import batch_loss, count_right
from cnnbench.training.optimizers import build_optimizer, clip_gradients
from cnnbench.training.outcome import Diverged, EpochMetrics, Trained, best_epoch
from cnnbench.training.recipe import Recipe
from cnnbench.training.schedules import learning_rate, stops_early
from cnnbench.training.tally import Tally
from cnnbench.training.weights import save_weights
from cnnbench.whole_file import WriteError


def set_seed(seed: int) -> None:
    """Seeds torch's global random numbers, on all devices; before a network is built, it fixes the initial weights."""
    torch.manual_seed(seed)


def train(
    network: nn.Module,
    training: Images,
    validation: Images | None,
    recipe: Recipe,
    *,
    normalization: Normalization,
    epochs: int,
    stop_epoch: int | None = None,
    seed: int,
    device: torch.device,
    precision: Precision = FP32,
    on_epoch: Callable[[EpochMetrics], object] = lambda metrics: None,
    on_restored: Callable[[EpochMetrics], object] = lambda metrics: None,
    checkpoint: CheckpointFile | None = None,
    best_weights: Path | None = None,
) -> Trained:
    """Trains ``network`` in place; it ends with the last epoch's weights, or with their average if the recipe has an
    ema_decay: that is then what is validated and what best_weights holds. In training mode the network may return a
    tuple, the logits and then those of auxiliary classifiers.

    epochs: what the schedule is computed for; stop_epoch: where training ends, if earlier. seed: fixes the order of
    images, the augmentation and dropout; on one CPU it repeats a training to the bit. The random state is a function of
    (seed, epoch), so a checkpoint need not hold it: torch's global generator is seeded anew at the start of each epoch.
    on_epoch: called on every rank after each epoch with the same metrics; what it raises ends the training. After a
    crash between this call and the checkpoint, an epoch is reported a second time. on_restored: called with each epoch
    that a checkpoint has, for a caller that does not remember them. checkpoint: continued if it holds
    one of the same configuration. best_weights: file for the weights of the best epoch.

    With several ranks the images of a batch, its augmentation and the weight of each image in the gradient are the same
    as with one; batch normalisation sees each rank's own share in training. What is validated, and what training ends
    with, has its running statistics taken anew (``batch_norm.Settling``).
    Raises Diverged; ValueError for a recipe that can't be carried out, such as early stopping without validation images
    (unless stop_epoch takes its place).
    """
    last = epochs if stop_epoch is None else stop_epoch
    if not 1 <= last <= epochs:
        raise ValueError(f"stop_epoch: {last}; choose a whole number from 1 to epochs ({epochs})")
    if recipe.early_stopping_patience is not None and validation is None and stop_epoch is None:
        raise ValueError("early_stopping_patience: needs validation images, or a stop_epoch in its place")
    run = _Run(network, training, validation, recipe, normalization, epochs, seed, device, precision)
    if checkpoint is not None:
        run.restore(checkpoint)
        for metrics in run.history:
            on_restored(metrics)
    resumed_from = len(run.history)
    while len(run.history) < last and not run.stops_early():
        metrics = run.epoch(is_last=len(run.history) + 1 == last)
        on_epoch(metrics)
        if run.ranks.rank == 0:
            run.save(checkpoint, best_weights, is_last=metrics.epoch == last)
    if run.average is not None:
        network.load_state_dict(run.average.network.state_dict())
    return Trained(
        history=tuple(run.history),
        best_epoch=best_epoch(run.history),
        images=run.images,
        seconds=sum(metrics.seconds for metrics in run.history),
        stopped_early=len(run.history) < last,
        resumed_from=resumed_from,
    )


class _Run:
    """The state of one training on one rank."""

    def __init__(
        self,
        network: nn.Module,
        training: Images,
        validation: Images | None,
        recipe: Recipe,
        normalization: Normalization,
        epochs: int,
        seed: int,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.recipe, self.epochs, self.seed, self.device, self.precision = recipe, epochs, seed, device, precision
        self.ranks = ranks = Ranks.current()
        self.network = precision.place(network, device)
        self.parallel = _parallel(self.network, device) if ranks.size > 1 else None
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimizer = build_optimizer(network, recipe)
        self.average = WeightAverage(self.network, recipe.ema_decay) if recipe.ema_decay else None
        self.classes = len(training.classes)
        self.batches = Batches(
            training,
            recipe.batch_size,
            normalization,
            augmentation=_augmentation(recipe),
            mixing=Mixing(recipe.mixup, recipe.cutmix),
            seed=seed,
            device=device,
            channels_last=precision.channels_last,
            rank=ranks.rank,
            ranks=ranks.size,
        )
        self.settling = Settling(training, normalization, seed=seed, device=device, precision=precision)
        self.steps_per_epoch = math.ceil(len(self.batches) / recipe.accumulation_steps)
        self.validation = None
        if validation is not None:
            self.validation = evaluation_batches(
                validation, normalization, device=device, precision=precision, ranks=ranks
            )
        self.history: list[EpochMetrics] = []
        self.images = 0
        self.fingerprint = _fingerprint(
            network,
            recipe,
            normalization,
            epochs,
            seed,
            precision,
            len(training),
            0 if validation is None else len(validation),
        )

    def epoch(self, *, is_last: bool) -> EpochMetrics:
        """Trains one epoch and validates. Raises Diverged."""
        begin = time.monotonic()
        epoch = len(self.history) + 1
        torch.manual_seed(derived_seed(self.seed, "network", epoch, self.ranks.rank))  # dropout
        train_loss, train_accuracy = self._train(epoch)
        if self.validation is not None or is_last:
            self.settling.settle(self.evaluated)
        self.ranks.average(self.network.buffers())
        if self.average is not None:
            self.ranks.average(self.average.network.buffers())
        val_loss, val_accuracy = self._validate(epoch)
        rate = float(self.optimizer.param_groups[0]["lr"])
        seconds = time.monotonic() - begin
        self.history.append(
            EpochMetrics(epoch, train_loss, train_accuracy, val_loss, val_accuracy, rate, self.images, seconds)
        )
        return self.history[-1]

    def _train(self, epoch: int) -> tuple[float, float]:
        self.network.train()
        first_batch = (epoch - 1) * len(self.batches)
        tally = Tally(epoch, first_batch, self.device, self.ranks)
        group = self.recipe.accumulation_steps
        for index, batch in enumerate(self.batches.epoch(epoch)):
            in_group = min(group, len(self.batches) - index // group * group)  # the last may be short
            ends_group = index % group == in_group - 1
            self._backward(batch, 1.0 / in_group, tally, ends_group)
            if ends_group:
                self._step((epoch - 1) * self.steps_per_epoch + index // group)
        self.images += tally.images
        return tally.means()

    def _backward(self, batch: Batch, weight: float, tally: Tally, ends_group: bool) -> None:
        local = contextlib.nullcontext() if ends_group or self.parallel is None else self.parallel.no_sync()
        with local:
            with self.precision.autocast(self.device):
                outputs = (self.parallel or self.network)(batch.inputs)
            loss = batch_loss(outputs, batch, self.recipe.label_smoothing)
            tally.add(loss, count_right(outputs, batch), len(batch.labels), batch.total)
            # DDP averages over ranks, whose shares of a batch may differ by an image
            share = len(batch.labels) * self.ranks.size / batch.total
            torch.autograd.backward(loss * (weight * share))

    def _step(self, step: int) -> None:
        losses = [metrics.train_loss if metrics.val_loss is None else metrics.val_loss for metrics in self.history]
        rate = learning_rate(self.recipe, step, self.steps_per_epoch, self.epochs, losses)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        clip_gradients(self.parameters, self.recipe)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.network, step + 1)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and kept: the averaged one if there is one."""
        return self.network if self.average is None else self.average.network

    def _validate(self, epoch: int) -> tuple[float | None, float | None]:
        """(loss, accuracy) on the validation images. Raises Diverged if the loss or a weight is not finite."""
        finite = torch.stack([parameter.detach().isfinite().all() for parameter in self.parameters]).all()
        if not bool(finite):
            raise Diverged(epoch, epoch * len(self.batches))
        if self.validation is None:
            return None, None
        result = evaluate_batches(self.evaluated, self.validation, self.classes, self.precision, self.ranks)
        if not math.isfinite(result.loss):
            raise Diverged(epoch, epoch * len(self.batches))
        return result.loss, result.accuracy

    def stops_early(self) -> bool:
        """True once early stopping asks for it; the metrics are the same on all ranks, so all stop together."""
        patience = self.recipe.early_stopping_patience
        accuracies = [metrics.val_accuracy for metrics in self.history if metrics.val_accuracy is not None]
        return patience is not None and stops_early(accuracies, patience, self.recipe.early_stopping_min_delta)

    def save(self, checkpoint: CheckpointFile | None, best_weights: Path | None, is_last: bool) -> None:
        """On rank 0, after an epoch: what is due."""
        epoch = len(self.history)
        if best_weights and best_epoch(self.history) == epoch and (self.validation is not None or is_last):
            save_weights(self.evaluated, best_weights)
        if checkpoint is not None and checkpoint.is_due():
            state = {
                "network": self.network.state_dict(),
                "average": None if self.average is None else self.average.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "history": [dataclasses.asdict(metrics) for metrics in self.history],
                "images": self.images,
            }
            try:
                checkpoint.save(state, self.fingerprint, epoch)
            except WriteError as error:  # a full disk: the training itself can go on without it
                if checkpoint.unsaved is None:
                    checkpoint.notes.append(str(error))
                checkpoint.unsaved = str(error)

    def restore(self, checkpoint: CheckpointFile) -> None:
        """Goes on from rank 0's checkpoint, if it has one of this configuration."""
        state = checkpoint.load(self.fingerprint) if self.ranks.rank == 0 else None
        state = self.ranks.from_first(state, self.device)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = [EpochMetrics(**metrics) for metrics in state["history"]]
        self.images = state["images"]


def _augmentation(recipe: Recipe) -> Augmentation:
    return Augmentation(
        crop_padding=recipe.crop_padding,
        horizontal_flip=recipe.horizontal_flip,
        random_erasing=recipe.random_erasing,
        cutout=recipe.cutout,
        vertical_flip=recipe.vertical_flip,
        warp=Warp(recipe.resized_crop, recipe.rotation, recipe.translation, recipe.scaling, recipe.shear),
        color_jitter=recipe.color_jitter,
    )


def _parallel(network: nn.Module, device: torch.device) -> DistributedDataParallel:
    # buffers are averaged once an epoch instead of being sent from rank 0 at every step
    return DistributedDataParallel(
        network, device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False
    )


def _fingerprint(network: nn.Module, *configuration: object) -> str:
    """Names a configuration: a checkpoint of another one must not be continued."""
    shapes = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    return hashlib.sha256(repr((shapes, configuration)).encode()).hexdigest()
