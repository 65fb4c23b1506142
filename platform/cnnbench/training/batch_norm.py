"""Batch normalisation's statistics, taken anew for the weights as they are ("PreciseBN": Wu & Johnson 2021,
arXiv:2105.07576).

While weights move fast, the running averages that PyTorch keeps belong to weights that are gone: a ResNet-8 on digits
that has learnt 91 % by its third epoch is then validated at 24 %. Trials would be stopped early for that.
"""

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cnnbench.data.batches import Batches
from cnnbench.data.image_normalization import Normalization
from cnnbench.data.images import Images
from cnnbench.data.seeds import derived_seed
from cnnbench.precision import Precision

IMAGES = 1024  # at most; a statistic averages over all positions of a map, too
BATCH_SIZE = 256


class Settling:
    """A sample of the training images, as they are, from which running statistics are taken."""

    def __init__(
        self, training: Images, normalization: Normalization, *, seed: int, device: torch.device, precision: Precision
    ) -> None:
        generator = torch.Generator().manual_seed(derived_seed(seed, "batch norm"))
        sample = torch.randperm(len(training), generator=generator)[:IMAGES]
        size = math.ceil(len(sample) / math.ceil(len(sample) / BATCH_SIZE))  # about equal, none of a single image
        self._batches = Batches(
            training.take(sample), size, normalization, device=device, channels_last=precision.channels_last
        )
        self._precision = precision

    @torch.no_grad()
    def settle(self, network: nn.Module) -> None:
        """Gives each batch normalisation that the images pass the mean and variance of its inputs, all else in
        evaluation mode. With but one image, all is left as it is."""
        norms = [norm for norm in network.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
        if not norms or len(self._batches.labels) == 1:
            return
        was_training = network.training
        network.eval()
        momenta = [norm.momentum for norm in norms]
        counts = [count for norm in norms if (count := norm.num_batches_tracked) is not None]
        counted = [count.clone() for count in counts]
        for norm, count in zip(norms, counts, strict=True):
            norm.momentum = None  # an average over the batches,
            count.zero_()  # of which the first one replaces what was there
            norm.train()
        try:
            for batch in self._batches.in_order():
                with self._precision.autocast(self._batches.device):
                    network(batch.inputs)
        finally:
            for norm, momentum, count, before in zip(norms, momenta, counts, counted, strict=True):
                norm.momentum = momentum
                count.copy_(before)
            network.train(was_training)
