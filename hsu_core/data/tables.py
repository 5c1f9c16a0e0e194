"""How is a CSV file with named columns read? Row by row; a missing column or cell is a damage that is named."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from hsu_core.data.images import DamagedFile, contents


def rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with the number of its last line; other columns are left out. Raises DamagedFile."""
    try:
        text = contents(file).tobytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFile(f"{file}: expected text in UTF-8, found: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            have = ", ".join(reader.fieldnames or ()) or "none"
            raise DamagedFile(f"{file}: expected the columns {', '.join(columns)}, found {have}")
        for row in reader:
            cells = {column: row[column] for column in columns}
            if None in cells.values():
                raise DamagedFile(f"{file}: line {reader.line_num}: expected {len(columns)} cells, found fewer")
            yield reader.line_num, cells
    except csv.Error as error:
        raise DamagedFile(f"{file}: line {reader.line_num}: {error}") from error
