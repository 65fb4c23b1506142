"""Where a study's images come from. The search gets training and validation images; the finals get both of these to
train on, and the test images, which are read then and not before. Only the driver reads: a search trial is given
nothing from which the test split could be opened, no path, no reader, no handle (see ``trial.isolation``).
"""

from dataclasses import dataclass
from functools import cached_property

import torch

from cnnbench import study as study_file
from cnnbench.data.image_normalization import Normalization
from cnnbench.data.images import Images
from cnnbench.data.readers import DATASETS, Dataset
from cnnbench.data.splits import split_checksum, stratified_limit, stratified_split
from cnnbench.ledger import Split
from cnnbench.trial.images import TrialImages


@dataclass(frozen=True)
class Sources:
    """The training images of a study, split; and where its test images can be read when the finals begin."""

    dataset: Dataset
    data: study_file.Data
    training: Images
    validation: Images
    data_checksum: str  # of all training and validation images, in the order of the data set
    split_checksum: str

    def for_search(self) -> TrialImages:
        """What search trials see."""
        return self._search

    def for_finals(self) -> TrialImages:
        """Training and validation images to train on, and the test images. The first call reads the test split."""
        return self._finals

    @cached_property
    def _search(self) -> TrialImages:
        return self._material(self.training, self.validation, test=False)

    @cached_property
    def _finals(self) -> TrialImages:
        test = self.dataset.load_test(self.data.root, image_size=self.data.image_size, channels=self.data.channels)
        if self.data.test_limit is not None:
            test = test.take(stratified_limit(test.labels, self.data.test_limit, self.data.split_seed))
        both = Images(
            torch.cat([self.training.pixels, self.validation.pixels]),
            torch.cat([self.training.labels, self.validation.labels]),
            self.training.classes,
        )
        return self._material(both, test, test=True)

    def _material(self, training: Images, held: Images, *, test: bool) -> TrialImages:
        split = Split(
            dataset=self.data.dataset,
            train=len(training),
            validation=0 if test else len(held),
            test=len(held) if test else None,
            seed=self.data.split_seed,
            data_checksum=self.data_checksum,
            split_checksum=self.split_checksum,
        )
        return TrialImages(
            training.pixels.numpy(), training.labels.numpy(), held.pixels.numpy(), held.labels.numpy(),
            training.classes, Normalization.of(training), split,
        )  # fmt: skip


def open_sources(data: study_file.Data) -> Sources:
    """Reads the training images and splits off the validation images. Raises DataError."""
    dataset = DATASETS[data.dataset].thing
    training = dataset.load_train(data.root, image_size=data.image_size, channels=data.channels)
    validation = dataset.load_validation(data.root, image_size=data.image_size, channels=data.channels)
    if data.train_limit is not None:
        training = training.take(stratified_limit(training.labels, data.train_limit, data.split_seed))
    checksum = training.checksum()
    if validation is not None:
        checksum = f"{checksum}+{validation.checksum()}"
        indices = (torch.arange(len(training)), torch.arange(len(validation)))
    else:
        indices = stratified_split(training.labels, data.validation_fraction, data.split_seed)
        training, validation = training.take(indices[0]), training.take(indices[1])
    return Sources(dataset, data, training, validation, checksum, split_checksum(*indices))
