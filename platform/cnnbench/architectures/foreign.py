"""Architectures from outside: ``timm:NAME``, and a user's own ``package.module:callable``.

A user's callable is called as factory(num_classes, in_channels), and with those of ``stem``, ``width``, ``depth`` and
``image_size`` (pixels) that its signature names; it returns an nn.Module that maps images (N, C, H, W) to logits
(N, classes). Its module is installed, on PYTHONPATH or in the working directory, on each machine that trains.
"""

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench.registry import Entry, UnknownName

Factory = Callable[..., nn.Module]


def find(name: str) -> Entry[Factory]:
    """The entry of a name with a colon; nothing is known of its year, paper and smallest image.

    Raises UnknownName with the reason where there is no such thing. What is built checks itself: the factory raises
    ValueError for anything but a network, and on the meta device also for one that can't take the images or returns no
    logits.
    """
    place, _, attribute = name.partition(":")
    if place == "timm":
        factory, family = _timm(attribute), "timm"
    else:
        factory, family = _imported(name, place, attribute), "user"
    options = _options(name, factory)
    smallest = {"small": 1, "imagenet": 1} if "stem" in options else {"own": 1}
    facts = {"year": 0, "family": family, "paper": "", "smallest": smallest}
    return Entry(name, _checked(name, factory, options), facts)


def _timm(model: str) -> Factory:
    try:
        import timm
    except ImportError as error:
        raise UnknownName(f"timm:{model}: timm can't be imported ({error}); pip install timm") from error
    if not timm.is_model(model):
        close = difflib.get_close_matches(model, timm.list_models(), n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise UnknownName(f"timm:{model}: timm {timm.__version__} has no such model{hint}")

    def create(num_classes: int, in_channels: int, *, image_size: int) -> nn.Module:
        config = timm.models.get_pretrained_cfg(model)
        # those whose weights depend on the image's size
        size: dict[str, Any] = {"img_size": image_size} if getattr(config, "fixed_input_size", False) else {}
        network: nn.Module = timm.create_model(
            model, pretrained=False, num_classes=num_classes, in_chans=in_channels, **size
        )
        return network

    return create


def _imported(name: str, module: str, attribute: str) -> Factory:
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise UnknownName(f"{name}: write timm:NAME or package.module:callable")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script's path lacks it; last, so that it hides nothing
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # whatever the user's module raises
        where = "; install it, or put it on PYTHONPATH or in the working directory"
        missing = isinstance(error, ModuleNotFoundError) and module.startswith(error.name or module)
        raise UnknownName(f"{name}: can't import {module}: {_line(error)}{where if missing else ''}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UnknownName(f"{name}: {module} has no {attribute}")
        found = getattr(found, part)
    if not callable(found):
        raise UnknownName(f"{name}: a {type(found).__name__} can't be called; name a function or class")
    factory: Factory = found
    return factory


def _options(name: str, factory: Factory) -> tuple[str, ...]:
    """Which of the options the factory's signature names."""
    try:
        has = inspect.signature(factory).parameters
    except ValueError as error:
        raise UnknownName(f"{name}: {error}") from error
    return tuple(option for option in ("stem", "width", "depth", "image_size") if option in has)


def _checked(name: str, factory: Factory, options: tuple[str, ...]) -> Factory:
    def build(num_classes: int, in_channels: int = 3, *, image_size: int, **given: Any) -> nn.Module:
        if "image_size" in options:
            given["image_size"] = image_size
        try:
            network = factory(num_classes, in_channels, **given)
        except Exception as error:  # whatever the factory raises
            hint = "; it must build on the meta device, where tensors hold no numbers" if _speaks_of_meta(error) else ""
            call = ", ".join((str(num_classes), str(in_channels), *(f"{key}={given[key]!r}" for key in given)))
            raise ValueError(f"{name}: called with ({call}): {_line(error)}{hint}") from error
        if not isinstance(network, nn.Module):
            raise ValueError(f"{name}: it returned a {type(network).__name__}, not a torch.nn.Module")
        if any(parameter.is_meta for parameter in network.parameters()):
            _check_forward(name, network, (2, in_channels, image_size, image_size), num_classes)
        return network

    # network.build gives a factory the options that its signature names
    keywords = [inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY) for option in {*options, "image_size"}]
    setattr(build, "__signature__", inspect.Signature(keywords))  # noqa: B010 (functions declare no such attribute)
    return build


def _check_forward(name: str, network: nn.Module, images: tuple[int, int, int, int], num_classes: int) -> None:
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            logits = network(torch.empty(images, device="meta"))
    except Exception as error:  # whatever the forward pass raises
        shape = "×".join(str(side) for side in images[1:])
        raise ValueError(f"{name}: its forward pass fails on images of {shape}: {_line(error)}") from error
    finally:
        network.train(was_training)
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
        returned = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ValueError(f"{name}: it returns {returned} for two images; logits of (2, {num_classes}) are expected")


def _speaks_of_meta(error: Exception) -> bool:
    return isinstance(error, RuntimeError | NotImplementedError) and "meta" in str(error).lower()


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
