"""Colour jitter against torchvision's functions, and the range of its factors."""

import math

import pytest
import torch
import torchvision.transforms.v2.functional as tv

from cnnbench.data.color import draw_color_factors, jitter_color


def noise(channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (16, channels, 9, 7), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_each_image_is_jittered_by_its_own_factors_as_torchvision_would(channels, strength):
    pixels = noise(channels)
    factors = draw_color_factors(strength, 16, torch.Generator().manual_seed(1))
    ours = jitter_color(pixels, factors)
    for image, result, (brightness, contrast, saturation) in zip(pixels, ours, factors.tolist(), strict=True):
        theirs = tv.adjust_contrast(tv.adjust_brightness(image.float() / 255, brightness), contrast)
        if channels == 3:
            theirs = tv.adjust_saturation(theirs, saturation)
        assert float((result / 255 - theirs).abs().max()) < 1.6 / 255  # rounding, and torchvision's 0.2989 of red
    if strength == 0.0:
        assert torch.equal(ours, pixels)


def test_one_factor_at_a_time_by_hand():
    pixels = torch.tensor([[[[100]], [[50]], [[200]]]], dtype=torch.uint8)  # one pixel
    grey = 0.299 * 100 + 0.587 * 50 + 0.114 * 200
    cases = {
        (1.5, 1.0, 1.0): [150, 75, 255],
        (1.0, 0.5, 1.0): [(value + grey) / 2 for value in (100, 50, 200)],
        (1.0, 1.0, 0.0): [grey] * 3,
    }
    for factors, expected in cases.items():
        result = jitter_color(pixels, torch.tensor([factors])).flatten().tolist()
        assert result == pytest.approx(expected, abs=0.5001)


def test_factors_are_uniform_around_one():
    factors = draw_color_factors(0.4, 4000, torch.Generator().manual_seed(0))
    assert factors.shape == (4000, 3) and float((factors - 1).abs().max()) <= 0.4
    for column in factors.unbind(1):
        assert abs(float(column.mean()) - 1) < 4 * 0.4 / math.sqrt(3 * 4000)  # four standard errors
        assert float(column.var()) == pytest.approx(0.16 / 3, rel=0.1)
