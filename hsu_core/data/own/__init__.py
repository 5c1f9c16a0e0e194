"""How does a data set that a user brings become one fast format, and how is it read?

`convert.py` starts here: `sources.py` says what can be converted, `archives.py`, `arrays.py` and `parquet.py` open it,
`pictures.py` and `tables.py` check and write it with `writing.py`, `split.py` holds a part out. `manifest.py` says what
the format is, and `reading.py` reads it. Empty of imports: what only reads manifests loads neither torch nor numpy.
"""
