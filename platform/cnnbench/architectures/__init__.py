"""The architectures: one paper, one file, plain PyTorch. Importing this package registers what every file in it has."""

from cnnbench.architectures.catalogue import ARCHITECTURES
from cnnbench.registry import import_files

# Lists show these in this order, oldest first; a file that is not named here stands behind them.
_FIRST = (
    *("lenet", "alexnet", "alexnet_2012", "vgg", "googlenet", "resnet", "imagenet_resnet", "modern_cnn", "simple_cnn"),
    *("inception_v3", "squeezenet", "preact_resnet", "wide_resnet", "densenet", "regularized_resnet", "mobilenet_v1"),
    *("mobilenet", "shufflenet", "cbam_resnet", "mnasnet", "mobilenet_v3", "efficientnet", "regnet", "vit", "swin"),
    *("maxvit", "convnext"),
)
import_files(__name__, __path__, _FIRST)

__all__ = ["ARCHITECTURES"]
