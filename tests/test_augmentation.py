"""Augmentation of whole batches: what each image may become, and how often."""

import pytest
import torch
from torch import Tensor

from cnnbench.data.augmentation import Augmentation
from cnnbench.data.warp import Warp

COUNT = 400
FILL = torch.tensor([7], dtype=torch.uint8).view(1, 1, 1)


def augmented(augmentation: Augmentation, pixels: Tensor, seed: int = 0, fill: Tensor = FILL) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    draws = augmentation.draw(len(pixels), *pixels.shape[2:], generator)
    return augmentation.apply(pixels, draws, fill)


def white(height: int, width: int) -> Tensor:
    return torch.full((COUNT, 1, height, width), 255, dtype=torch.uint8)


def test_nothing_switched_on_changes_nothing():
    pixels = white(4, 4)
    assert augmented(Augmentation(), pixels) is pixels


def test_a_crop_is_the_image_moved_with_black_coming_in():
    image = torch.arange(1, 13, dtype=torch.uint8).view(1, 3, 4)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    moved = {bytes(padded[:, y : y + 3, x : x + 4].contiguous().numpy()) for y in range(3) for x in range(3)}
    result = augmented(Augmentation(crop_padding=1), image.expand(COUNT, 1, 3, 4))
    assert {bytes(one.numpy()) for one in result} == moved  # every place occurs, and nothing else


def test_a_flip_mirrors_half_of_the_images():
    image = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    result = augmented(Augmentation(horizontal_flip=True), image.expand(COUNT, 1, 3, 4))
    flipped = sum(torch.equal(one, image.flip(-1)) for one in result)
    assert flipped + sum(torch.equal(one, image) for one in result) == COUNT
    assert abs(flipped - COUNT / 2) < 4 * (COUNT / 4) ** 0.5  # four standard deviations


def test_a_vertical_flip_turns_half_of_the_images_upside_down_apart_from_the_other_flip():
    image = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    result = augmented(Augmentation(horizontal_flip=True, vertical_flip=True), image.expand(COUNT, 1, 3, 4))
    forms = [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)]
    counts = [sum(torch.equal(one, form) for one in result) for form in forms]
    assert sum(counts) == COUNT
    assert all(abs(count - COUNT / 4) < 4 * (COUNT * 3 / 16) ** 0.5 for count in counts)  # four standard deviations


def test_a_crop_upside_down_is_the_crop_and_then_the_flip():
    pixels = torch.randint(0, 256, (COUNT, 3, 5, 6)).to(torch.uint8)
    crop, both = Augmentation(crop_padding=2), Augmentation(crop_padding=2, vertical_flip=True)
    draws = both.draw(COUNT, 5, 6, torch.Generator().manual_seed(0))
    cropped = crop.apply(pixels, crop.draw(COUNT, 5, 6, torch.Generator().manual_seed(0)), FILL)
    expected = torch.where(draws.upside_down[:, None, None, None], cropped.flip(2), cropped)
    assert torch.equal(both.apply(pixels, draws, FILL), expected)


def test_an_augmentation_that_was_added_later_leaves_the_numbers_that_a_seed_always_gave():
    """Crop, flip, erasing and cutout are drawn in this order, straight from the generator."""
    before = {"crop_padding": 2, "horizontal_flip": True, "random_erasing": 0.5, "cutout": 3}
    added = {"vertical_flip": True, "warp": Warp(rotation=15.0), "color_jitter": 0.4}
    generator = torch.Generator().manual_seed(3)
    offset = torch.randint(0, 5, (9, 2), generator=generator)
    flip = torch.rand(9, generator=generator) < 0.5
    torch.rand(5, 9, generator=generator)
    top = torch.randint(0, 8, (9,), generator=generator) - 1
    left = torch.randint(0, 8, (9,), generator=generator) - 1
    following = torch.rand(1, generator=generator)
    for settings in (before, {**before, **added}):
        generator = torch.Generator().manual_seed(3)
        draws = Augmentation(**settings).draw(9, 8, 8, generator)
        assert torch.equal(draws.offset, offset) and torch.equal(draws.flip, flip)
        assert torch.equal(draws.boxes[1][:, 0], top) and torch.equal(draws.boxes[1][:, 2], left)
        assert torch.equal(torch.rand(1, generator=generator), following) == (settings is before)


def test_colours_move_together():
    pixels = torch.randint(0, 85, (COUNT, 1, 5, 5), dtype=torch.uint8).expand(-1, 3, -1, -1)
    pixels = pixels + torch.tensor([0, 85, 170], dtype=torch.uint8).view(3, 1, 1)
    result = augmented(Augmentation(horizontal_flip=True), pixels)
    assert torch.equal(result[:, 1], result[:, 0] + 85) and torch.equal(result[:, 2], result[:, 0] + 170)


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_random_erasing_fills_one_rectangle_of_the_published_size(probability):
    side = 32
    erased = augmented(Augmentation(random_erasing=probability), white(side, side)) == FILL
    areas = erased.sum((1, 2, 3))
    hit = areas > 0
    assert abs(int(hit.sum()) - probability * COUNT) <= 4 * (COUNT * probability * (1 - probability)) ** 0.5
    heights, widths = erased.any(3).sum((1, 2)), erased.any(2).sum((1, 2))
    assert torch.equal(areas, heights * widths)  # a whole rectangle and nothing beside it
    share = areas[hit] / side**2
    assert float(share.min()) > 0.015 and float(share.max()) < 0.36  # 0.02 to 0.33, with sides rounded to pixels
    assert 0.14 < float(share.mean()) < 0.21  # uniform: mean 0.175
    assert float((heights[hit] / widths[hit]).log().mean().abs()) < 0.15  # as often tall as wide


def test_cutout_is_a_square_that_the_border_may_cut():
    erased = augmented(Augmentation(cutout=4), white(8, 8)) == FILL
    heights, widths = erased.any(3).sum((1, 2)), erased.any(2).sum((1, 2))
    assert torch.equal(erased.sum((1, 2, 3)), heights * widths)
    assert set(heights.tolist()) == set(widths.tolist()) == {2, 3, 4}  # the centre lies in the image
    assert erased.any(0).all()


def test_erased_pixels_take_the_fill_of_their_channel():
    fill = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1)
    pixels = torch.zeros(COUNT, 3, 6, 6, dtype=torch.uint8)
    result = augmented(Augmentation(cutout=99), pixels, fill=fill)
    assert torch.equal(result, fill.expand(COUNT, 3, 6, 6))


def test_every_image_has_random_numbers_of_its_own():
    image = torch.arange(144, dtype=torch.uint8).view(1, 12, 12)
    everything = Augmentation(crop_padding=4, horizontal_flip=True, random_erasing=1.0, cutout=4)
    result = augmented(everything, image.expand(COUNT, 1, 12, 12))
    assert len({bytes(one.numpy()) for one in result}) > 0.95 * COUNT


def test_the_generator_alone_decides():
    pixels = torch.randint(0, 256, (COUNT, 1, 8, 8)).to(torch.uint8)
    everything = Augmentation(2, True, 0.5, 3, True, Warp(0.5, 15.0, 0.1, 0.1, 5.0), 0.4)
    torch.manual_seed(1)
    first = augmented(everything, pixels, seed=5)
    torch.manual_seed(2)
    assert torch.equal(first, augmented(everything, pixels, seed=5))
    assert not torch.equal(first, augmented(everything, pixels, seed=6))
    assert pixels.shape == first.shape and first.dtype == torch.uint8
