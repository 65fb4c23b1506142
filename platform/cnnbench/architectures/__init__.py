"""The architectures: one paper, one file, plain PyTorch. Importing this package registers them all, oldest first."""

from cnnbench.architectures import lenet, alexnet, alexnet_2012, vgg, vgg_gap, resnet, modern_cnn, simple_cnn  # noqa: F401, I001
from cnnbench.architectures import squeezenet, preact_resnet, wide_resnet, regularized_resnet, mobilenet_v1  # noqa: F401
from cnnbench.architectures import mobilenet, shufflenet, cbam_resnet, convnext  # noqa: F401
from cnnbench.architectures.catalogue import ARCHITECTURES

__all__ = ["ARCHITECTURES"]
