"""The data sets: one data set, one file. Importing this package registers what every file in it has. No trial's process
can import it, nor anything in it (see ``trial.isolation``)."""

from cnnbench.data.readers.dataset import DATASETS, Dataset
from cnnbench.registry import import_files

# Messages list them in this order; a file that is not named here stands behind them.
import_files(__name__, __path__, ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "image_folder", "fake"))

__all__ = ["DATASETS", "Dataset"]
