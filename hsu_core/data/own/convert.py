"""How is what a user has brought converted? Into a folder with a manifest; or it is refused, with what is wrong.

Nothing in it is trusted: nothing is unpickled, and no file is written but those that `manifest.py` names.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import assert_never

from hsu_core.data.own import manifest
from hsu_core.data.own.manifest import Manifest
from hsu_core.data.own.refusal import Refused
from hsu_core.data.own.sources import Options, Source
from hsu_core.data.own.split import Split
from hsu_core.data.own.writing import Space

MOST_BYTES = 2**40
_OPTIONS = Options()


def convert(
    source: Source,
    train: Path,
    out: Path,
    *,
    test: Path | None = None,
    options: Options = _OPTIONS,
    most_bytes: int = MOST_BYTES,
) -> Manifest:
    """Write what the files hold into the empty folder `out`, in at most so many bytes. Raises Refused."""
    if options.size is not None and source not in ("folder", "parquet"):
        raise Refused(f"size scales the images of a folder or of a Parquet file, found {source}")
    if source == "interactions" and test is not None:
        raise Refused("of interactions the last fifth of each user's is held out: leave the test part out")
    space, split = Space(most_bytes), Split(options.test_fraction, options.seed)
    match source:  # imported here: each needs libraries that the others do not
        case "folder":
            from hsu_core.data.own import folders

            made = folders.convert(train, test, out, size=options.size, split=split, space=space)
        case "parquet":
            from hsu_core.data.own import parquet

            made = parquet.convert(train, test, out, size=options.size, split=split, space=space)
        case "npz":
            from hsu_core.data.own import arrays

            with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
                made = arrays.convert(train, test, out, split=split, space=space, scratch=Path(scratch))
        case "texts":
            from hsu_core.data.own import tables

            made = tables.convert_texts(train, test, out, split=split, space=space)
        case "interactions":
            from hsu_core.data.own import tables

            made = tables.convert_interactions(train, out, space=space)
        case _:
            assert_never(source)
    (out / manifest.NAME).write_bytes(made.text)
    return made
