"""The architectures: one paper, one file, plain PyTorch. Importing this package registers them all, oldest first."""

from cnnbench.architectures import lenet, alexnet, vgg, resnet, squeezenet, mobilenet, shufflenet, simple_cnn, convnext  # noqa: F401, I001
from cnnbench.architectures.catalogue import ARCHITECTURES

__all__ = ["ARCHITECTURES"]
