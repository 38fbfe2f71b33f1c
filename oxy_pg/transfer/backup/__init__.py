"""
One database to a file and back: pg_dump, the manifest, pg_restore.

``backup`` and ``restore`` are the verbs. Each has a plan, which is a value;
``alongside`` and ``in_place`` carry out the two kinds of restore.
"""
