"""Rotation, translation, scaling, shear and resized crops of whole batches, against torch's flips and torchvision."""

import math

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor
from torchvision.transforms import InterpolationMode

from cnnbench.data.warp import Warp, warp

BILINEAR = InterpolationMode.BILINEAR


def noise(count: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (count, channels, height, width), generator=torch.Generator().manual_seed(0)).byte()


def smooth(height: int, width: int) -> Tensor:
    """A colour gradient: uint8 (1, 3, H, W), on which a mistake of half a pixel shows."""
    y, x = torch.meshgrid(torch.arange(height) * 6.0 + 20, torch.arange(width) * 5.0 + 10, indexing="ij")
    return torch.stack([x, y, (x + y) / 2]).round().to(torch.uint8)[None]


def turned(degrees: float) -> Tensor:
    """The matrix of a clockwise rotation, as Warp.draw gives it."""
    angle = math.radians(degrees)
    return torch.tensor([[[math.cos(angle), math.sin(angle), 0.0], [-math.sin(angle), math.cos(angle), 0.0]]])


def drawn(settings: Warp, count: int, height: int, width: int, seed: int = 0) -> Tensor:
    source = settings.draw(count, height, width, torch.Generator().manual_seed(seed))
    assert source is not None
    return source


@pytest.mark.parametrize("size", [4, 5])
def test_quarter_turns_are_torchs(size):
    pixels = noise(3, size, size)
    for quarters in range(5):
        result = warp(pixels, turned(90.0 * quarters).expand(3, -1, -1))
        assert torch.equal(result, pixels.rot90(-quarters, (2, 3)))  # rot90 turns the other way


def test_half_a_turn_of_a_wide_image_is_both_flips():
    pixels = noise(2, 3, 8)
    assert torch.equal(warp(pixels, turned(180.0).expand(2, -1, -1)), pixels.flip(2, 3))


def test_a_quarter_turn_of_a_wide_image_stays_in_pixels_and_leaves_black_beside_it():
    pixels = noise(1, 4, 8).clamp(min=1)
    result = warp(pixels, turned(90.0))
    assert torch.equal(result[..., 2:6], pixels[..., 2:6].rot90(-1, (2, 3)))  # the middle square
    assert not result[..., :2].any() and not result[..., 6:].any()


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        (Warp(rotation=30.0), ("angle",)),
        (Warp(translation=0.2), ("translate",)),
        (Warp(scaling=0.3), ("scale",)),
        (Warp(shear=20.0), ("shear",)),
        (Warp(rotation=30.0, translation=0.2, scaling=0.3, shear=20.0), ("angle", "translate", "scale", "shear")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_affine_maps_are_torchvisions(settings, parameters):
    """The parameters of each image are read back from its matrix by hand, and torchvision makes the picture."""
    height, width = 24, 32
    pixels, sources = smooth(height, width), drawn(settings, 12, height, width)
    for source in sources.double():
        forward = torch.linalg.inv(source[:, :2])  # rotation · scale · shear along x
        scale = float(forward[:, 0].norm())
        angle = math.degrees(math.atan2(float(forward[1, 0]), float(forward[0, 0])))
        slant = float(forward[:, 0] @ forward[:, 1]) / scale**2  # minus the tangent of torchvision's shear
        moved = (-forward @ source[:, 2]).tolist()
        found = {"angle": angle, "translate": moved, "scale": scale, "shear": [-math.degrees(math.atan(slant)), 0.0]}
        neutral = {"angle": 0.0, "translate": [0.0, 0.0], "scale": 1.0, "shear": [0.0, 0.0]}
        for name, value in neutral.items():
            if name not in parameters:
                assert found[name] == pytest.approx(value, abs=1e-4), name
        # float, because torchvision cuts a translation of whole images to whole pixels otherwise
        theirs = tv.affine(pixels, **found, interpolation=BILINEAR)
        ours = warp(pixels, source[None].float())
        both = (theirs > 0).all(1) & (ours > 0).all(1)  # at the image's edge torchvision blends with black
        interior = torch.nn.functional.avg_pool2d(both.float(), 3, 1, 1) > 0.99
        assert interior.float().mean() > 0.3
        difference = (ours.int() - theirs.int()).abs().amax(1)
        assert int(difference[interior].max()) <= 1


def test_parameters_are_uniform_in_their_range():
    count, height, width = 4000, 20, 40
    angles = drawn(Warp(rotation=15.0), count, height, width)[:, 0, 1].asin().rad2deg()
    moved = -drawn(Warp(translation=0.25), count, height, width)[:, :, 2]
    scales = 1 / drawn(Warp(scaling=0.4), count, height, width)[:, 0, 0]
    slants = drawn(Warp(shear=10.0), count, height, width)[:, 0, 1].atan().rad2deg()
    assert len(angles) == count
    ranges = [
        (angles, 15.0),
        (moved[:, 0], 10.0),
        (moved[:, 1], 5.0),
        (scales - 1, 0.4),
        (slants, 10.0),
    ]
    for values, half in ranges:
        assert float(values.abs().max()) <= half * 1.001
        assert abs(float(values.mean())) < 4 * half / math.sqrt(3 * count)  # four standard errors
        assert float(values.var()) == pytest.approx(half**2 / 3, rel=0.1)


def test_resized_crops_are_torchvisions():
    height, width = 24, 32
    pixels, sources = smooth(height, width), drawn(Warp(resized_crop=0.2), 40, height, width)
    places = set()
    for source in sources.double():
        sides = float(source[1, 1]) * height, float(source[0, 0]) * width
        top = float(source[1, 2]) + height / 2 - sides[0] / 2
        left = float(source[0, 2]) + width / 2 - sides[1] / 2
        box = [round(value) for value in (top, left, *sides)]
        assert [top, left, *sides] == pytest.approx(box, abs=1e-4)  # whole pixels
        assert box[0] >= 0 and box[1] >= 0 and box[0] + box[2] <= height and box[1] + box[3] <= width
        theirs = tv.resized_crop(pixels, *box, [height, width], interpolation=BILINEAR, antialias=False)
        difference = (warp(pixels, source[None].float()).int() - theirs.int()).abs()
        assert int(difference[..., 3:-3, 3:-3].max()) <= 1  # at a crop's edge, ours sees the pixels beyond it
        places.add(tuple(box))
    assert len(places) > 35


def test_resized_crops_have_the_published_areas_and_aspect_ratios():
    side = 224
    sources = drawn(Warp(resized_crop=0.08), 4000, side, side)
    widths, heights = sources[:, 0, 0], sources[:, 1, 1]
    area, ratio = widths * heights, widths / heights
    small = area < 0.7  # larger ones may be cut to the image
    assert float(area.min()) > 0.075 and float(area.max()) <= 1.0
    assert float(ratio[small].min()) > 0.74 and float(ratio[small].max()) < 1.35
    assert abs(float(ratio[small].log().mean())) < 4 * math.log(4 / 3) / math.sqrt(3 * int(small.sum()))
    assert float(small.float().mean()) == pytest.approx(0.62 / 0.92, abs=0.03)  # uniform from 0.08


def test_nothing_on_draws_nothing_and_no_border_darkens_a_crop():
    assert Warp().draw(5, 8, 8, torch.Generator()) is None
    white = torch.full((50, 1, 16, 16), 255, dtype=torch.uint8)
    assert bool((warp(white, drawn(Warp(resized_crop=0.1), 50, 16, 16)) == 255).all())


def test_an_image_is_warped_alike_in_any_company():
    pixels, sources = noise(7, 9, 9), drawn(Warp(0.5, 20.0, 0.1, 0.1, 5.0), 7, 9, 9)
    together = warp(pixels, sources)
    for index in range(7):
        assert torch.equal(together[index : index + 1], warp(pixels[index : index + 1], sources[index : index + 1]))
