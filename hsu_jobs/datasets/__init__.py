"""What becomes of the data sets that users bring? Uploaded in parts, converted by a worker, used by specs, deleted.

`uploads.py` takes the parts, `conversions.py` says which worker converts what and what came of it, `versions.py` which
of them somebody may see and when one can be deleted, `filling.py` what a spec says of one, `storing.py` where its files
are.
"""
