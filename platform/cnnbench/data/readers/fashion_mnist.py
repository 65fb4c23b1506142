"""Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747): articles of clothing, grey 28×28."""

from cnnbench.data.readers.dataset import DATASETS, Dataset
from cnnbench.data.readers.idx import IdxDataset

FASHION_MNIST = IdxDataset(
    "fashion_mnist",
    "FashionMNIST",
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    {"train": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5), "t10k": (9, 2, 1, 1, 6, 1, 4, 6, 5, 7)},
)

DATASETS.register("fashion_mnist", image_size=28, channels=1, classes=10)(
    Dataset(FASHION_MNIST.reader("train"), FASHION_MNIST.reader("t10k"))
)
