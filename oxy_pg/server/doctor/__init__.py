"""
What would stop a start or trouble a server later, and what to do about it.

``examine`` makes all checks of a state directory; ``environment`` and ``leftovers`` have those of
the machine and of killed servers. One ``Check`` for each thing that is examined; nothing here
repairs anything.
"""
