"""mixup and CutMix: the pictures, the labels, the loss, and how often which."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from cnnbench.data.augmentation import Augmentation
from cnnbench.data.batches import Batch, Batches
from cnnbench.data.image_normalization import Normalization
from cnnbench.data.images import Images
from cnnbench.data.mixing import Mix, Mixing
from cnnbench.training.loss import batch_loss, count_right
from trainings import CPU, PLAIN, random_images, run, small_network

UNIT = Normalization((0.0,), (1.0,))


def batches(images: Images, mixing: Mixing | None, batch_size: int = 8, **options: object) -> list[Batch]:
    augmentation = Augmentation(crop_padding=1, horizontal_flip=True, cutout=2)
    made = Batches(images, batch_size, UNIT, device=CPU, augmentation=augmentation, mixing=mixing, **options)
    return list(made.epoch(3))


def test_switched_off_it_draws_nothing_and_marks_nothing():
    assert Mixing().draw(3, 4, 4, seed=0) == [None, None, None]
    for batch in batches(random_images(16), None):
        assert batch.other_labels is None and batch.kept == 1.0


def test_mixup_blends_each_image_with_the_next_and_says_by_how_much():
    images = random_images(24)
    for plain, mixed in zip(batches(images, None), batches(images, Mixing(mixup=1.0)), strict=True):
        own, others = plain.inputs.numpy(), np.roll(plain.inputs.numpy(), -1, axis=0)
        expected = mixed.kept * own + (1 - mixed.kept) * others
        assert 0.0 < mixed.kept < 1.0 and np.allclose(mixed.inputs.numpy(), expected, atol=1e-6)
        assert torch.equal(mixed.labels, plain.labels)
        assert mixed.other_labels.tolist() == np.roll(plain.labels.numpy(), -1).tolist()


def test_cutmix_pastes_one_box_and_keeps_the_share_of_pixels_that_it_says():
    images = random_images(80)
    seen = set()
    for plain, mixed in zip(batches(images, None), batches(images, Mixing(cutmix=1.0)), strict=True):
        own, others = plain.inputs.numpy(), np.roll(plain.inputs.numpy(), -1, axis=0)
        taken = (mixed.inputs.numpy() != own).any((0, 1))  # where any image of the batch differs
        assert np.array_equal(mixed.inputs.numpy(), np.where(taken, others, own))
        rows, columns = taken.any(1).sum(), taken.any(0).sum()
        assert taken.sum() == rows * columns == pytest.approx((1 - mixed.kept) * 36)
        seen.add((rows, columns))
    assert len(seen) > 3


def test_the_share_has_the_mean_and_variance_of_the_beta_distribution():
    for alpha in (0.2, 1.0, 4.0):
        kept = np.array([mix.kept for mix in Mixing(mixup=alpha).draw(4000, 8, 8, seed=1)])
        variance = 1 / (4 * (2 * alpha + 1))
        assert abs(kept.mean() - 0.5) < 4 * math.sqrt(variance / 4000)  # four standard errors
        assert kept.var() == pytest.approx(variance, rel=0.1)


def test_cutmix_keeps_what_uniform_boxes_leave_inside_of_the_image():
    """α = 1 makes λ uniform; the expected share of a side that stays inside, for a box of relative side s with a
    uniform centre, is s - s²/4, so the expected share kept is 1 - E[(s - s²/4)²] with s² uniform."""
    mixes = Mixing(cutmix=1.0).draw(4000, 64, 64, seed=2)
    squares = (np.arange(100_000) + 0.5) / 100_000  # s², by the midpoint rule
    expected = 1 - np.mean((np.sqrt(squares) - squares / 4) ** 2)
    kept = np.array([mix.kept for mix in mixes])
    assert abs(kept.mean() - expected) < 4 * kept.std() / math.sqrt(4000) + 0.015  # 64 pixels: sides are rounded down
    for mix in mixes:
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= 64 and 0 <= left <= right <= 64


def test_a_wide_image_has_boxes_of_its_own_shape():
    boxes = np.array([mix.box for mix in Mixing(cutmix=1.0).draw(2000, 16, 64, seed=3)])
    heights, widths = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    assert heights.mean() / 16 == pytest.approx(widths.mean() / 64, rel=0.1)
    assert heights.max() > 14 and widths.max() > 60


def test_with_both_on_a_coin_decides_for_each_batch():
    mixes = Mixing(mixup=0.3, cutmix=1.0).draw(1000, 8, 8, seed=0)
    boxes = sum(mix.box is not None for mix in mixes)
    assert abs(boxes - 500) < 4 * math.sqrt(250)


def test_the_seed_alone_decides_and_neither_order_nor_augmentation_is_touched():
    mixing = Mixing(0.3, 1.0)
    assert mixing.draw(9, 8, 8, seed=4) == mixing.draw(9, 8, 8, seed=4) != mixing.draw(9, 8, 8, seed=5)
    images = random_images(24)
    for plain, mixed in zip(batches(images, None), batches(images, mixing), strict=True):
        assert torch.equal(plain.labels, mixed.labels)
        box = (0, 6, 0, 6)  # all of the partner
        assert torch.equal(Mix(0.0, box).apply(plain.inputs.clone(), plain.inputs.flip(0)), plain.inputs.flip(0))
        assert torch.equal(Mix(1.0).apply(plain.inputs.clone(), plain.inputs.flip(0)), plain.inputs)


@pytest.mark.parametrize("mixing", [Mixing(mixup=0.4), Mixing(cutmix=1.0)])
@pytest.mark.parametrize("ranks", [2, 3])
def test_several_ranks_mix_the_pairs_of_one(mixing, ranks):
    images = random_images(40)
    wholes, *parts = (batches(images, mixing, rank=rank, ranks=count) for rank, count in _all_ranks(ranks))
    for whole, *shares in zip(wholes, *parts, strict=True):
        for rank, share in enumerate(shares):
            assert torch.equal(share.inputs, whole.inputs[rank::ranks]) and share.kept == whole.kept
            assert torch.equal(share.labels, whole.labels[rank::ranks])
            assert torch.equal(share.other_labels, whole.other_labels[rank::ranks])


def _all_ranks(ranks: int) -> list[tuple[int, int]]:
    return [(0, 1), *((rank, ranks) for rank in range(ranks))]


def test_the_loss_of_a_mixed_batch_is_that_of_labels_shared_between_two_classes():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels, others = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 2, 1, 2, 2])
    batch = Batch(torch.zeros(5, 1, 1, 1), labels, 5, others, kept=0.7)
    for smoothing in (0.0, 0.1):
        targets = (1 - smoothing) * (0.7 * np.eye(3)[labels] + 0.3 * np.eye(3)[others]) + smoothing / 3
        assert np.allclose(targets.sum(1), 1.0)
        shifted = logits.double().numpy()
        log_softmax = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        expected = -(targets * log_softmax).sum(1).mean()
        assert float(batch_loss(logits, batch, smoothing)) == pytest.approx(expected, rel=1e-6)


def test_a_mixed_image_is_right_in_part():
    logits = torch.eye(3)[torch.tensor([0, 1, 2, 2])]  # called 0, 1, 2, 2
    batch = Batch(logits, torch.tensor([0, 0, 0, 2]), 4, torch.tensor([1, 1, 1, 2]), kept=0.75)
    assert float(count_right(logits, batch)) == pytest.approx(0.75 + 0.25 + 0.0 + 1.0)


def test_training_accuracy_of_mixed_batches_is_the_weighted_one():
    """A network that always calls class 0 is right for the share of class 0 in the mixed labels."""
    network = small_network()
    with torch.no_grad():
        network[5].bias += torch.tensor([1e4, 0.0, 0.0])
    recipe = dataclasses.replace(PLAIN, lr=1e-12, batch_size=64, mixup=1.0)
    trained, _ = run(recipe, network, epochs=1)
    share = float((random_images(64).labels == 0).float().mean())  # each image is first once and partner once
    assert trained.history[0].train_accuracy == pytest.approx(share, abs=1e-6)
