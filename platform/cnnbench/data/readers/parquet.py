"""Image data sets in the Hugging Face parquet layout: a column of encoded images, a column of labels."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cnnbench.data.images import Images
from cnnbench.data.readers.decoding import Undecodable, decode
from cnnbench.data.sources import DataError


def read_parquet(files: Sequence[Path], classes: tuple[str, ...]) -> Images:
    """All rows of ``files`` as colour images of the size they have.

    Raises DataError, naming the file, if one can't be read or is not a data set of these classes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    pixels, labels = [], []
    for file in files:
        try:
            table = pq.read_table(file)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file}: not a readable parquet file ({str(error).splitlines()[0]})") from None
        image_column, label_column = _columns(file, table.schema)
        _need_classes(file, table.schema, label_column, classes)
        try:
            pixels.append(decode([row["bytes"] for row in table[image_column].to_pylist()], None, 3))
        except Undecodable as error:
            rows = "; ".join(f"row {index}: {reason}" for index, reason in error.faults[:5])
            raise DataError(f"{file}: {len(error.faults)} images can't be decoded ({rows})") from None
        labels.append(torch.from_numpy(table[label_column].to_numpy().copy()).long())
        if labels[-1].min() < 0 or labels[-1].max() >= len(classes):
            raise DataError(f"{file}: labels up to {int(labels[-1].max())}, but there are {len(classes)} classes")
    return Images(torch.cat(pixels), torch.cat(labels), classes)


def _columns(file: Path, schema: Any) -> tuple[str, str]:
    """The image column (a struct with encoded bytes) and the first whole-number column."""
    import pyarrow.types as types

    structs = [field for field in schema if types.is_struct(field.type)]
    images = [field.name for field in structs if field.type.get_field_index("bytes") >= 0]
    labels = [field.name for field in schema if types.is_integer(field.type)]
    if not images or not labels:
        raise DataError(f"{file}: wants a column of images and one of labels, has {', '.join(schema.names)}")
    return images[0], labels[0]


def _need_classes(file: Path, schema: Any, label_column: str, classes: tuple[str, ...]) -> None:
    """Refuses another data set's file, where the file says what its classes are."""
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    label = json.loads(text).get("info", {}).get("features", {}).get(label_column, {})
    names = tuple(label.get("names") or label.get("feature", {}).get("names") or ())
    if names and names != classes:
        raise DataError(f"{file}: its classes are {', '.join(names[:10])}, not {', '.join(classes[:10])}")
