"""The architectures: one paper, one file, plain PyTorch. Importing this package registers them all, oldest first."""

from cnnbench.architectures import lenet, alexnet, alexnet_2012, vgg, vgg_gap, googlenet, resnet, imagenet_resnet  # noqa: F401, I001
from cnnbench.architectures import modern_cnn, simple_cnn, inception_v3, squeezenet, preact_resnet, wide_resnet  # noqa: F401
from cnnbench.architectures import densenet, regularized_resnet, mobilenet_v1, mobilenet, shufflenet, cbam_resnet  # noqa: F401
from cnnbench.architectures import mnasnet, mobilenet_v3, efficientnet, regnet, vit, swin, maxvit, convnext  # noqa: F401
from cnnbench.architectures.catalogue import ARCHITECTURES

__all__ = ["ARCHITECTURES"]
