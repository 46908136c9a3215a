"""What a batch leaves beside its items: the tables of what is done, of what failed, of samples."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .files import whole_file
from .items import parquet
from .outputs import Output
from .samples import PosteriorSamples

Row: TypeAlias = dict[str, Any]

MANIFEST = {
    "item": "string",
    "source": "string",
    "input_sha256": "string",
    "how_sha256": "string",
    "recipe": "string",
    "damage": "string",
    "prior": "string",
    "prior_sha256": "string",
    "seed": "int64",
    "version": "string",
    "seconds": "double",
    "nfe": "int64",
    "chi2_dof": "double",
}
"""The columns of the manifest, and their types."""


def write_tables(out: Output, part: str, done: Sequence[Row], failed: Sequence[Row]) -> None:
    """Writes *manifest.parquet* and *failures.csv*.

    Args:
        out: Where to.
        part: Of several parts, which has it in the names of its tables; empty for all.
        done: Rows of what is restored.
        failed: Rows of what failed, with an ``"error"`` each.
    """
    pq = parquet()
    import pyarrow as pa

    rows = sorted(done, key=lambda row: row["item"])
    types = {name: pa.type_for_alias(kind) for name, kind in MANIFEST.items()}
    columns = {name: [row.get(name) for row in rows] for name in MANIFEST}
    named = f"-{part}" if part else ""
    with out.written(f"manifest{named}.parquet") as path:
        pq.write_table(pa.table(columns, schema=pa.schema(types.items())), path)
    with out.written(f"failures{named}.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item", "error"])
        for row in sorted(failed, key=lambda row: row["item"]):
            writer.writerow([row["item"], row["error"]])


def write_samples(path: Path, out: Output, rows: Sequence[Row]) -> None:
    """Writes all samples of a batch as one Parquet file, for others to train on.

    A row is a sample: ``item``, ``sample``, its number, ``shape`` and ``values``, float32.
    """
    pq = parquet()
    import pyarrow as pa

    schema = pa.schema(
        {
            "item": pa.string(),
            "sample": pa.int32(),
            "shape": pa.list_(pa.int32()),
            "values": pa.list_(pa.float32()),
        }.items()
    )
    with whole_file(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        for row in sorted(rows, key=lambda row: row["item"]):
            with out.read(f"{row['item']}/samples.npz") as saved:
                draws = PosteriorSamples.load(saved).draws.numpy()
            count = len(draws)
            table = {
                "item": [row["item"]] * count,
                "sample": np.arange(count, dtype=np.int32),
                "shape": [draws.shape[1:]] * count,
                "values": list(draws.reshape(count, -1)),
            }
            writer.write_table(pa.table(table, schema=schema))
