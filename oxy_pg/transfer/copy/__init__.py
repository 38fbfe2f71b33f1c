"""
Databases copied from one server to another: push, pull, and the databases of an upgrade.

``copy_database`` is push and pull: ``copy_plan`` decides, ``in_place`` or
``alongside`` carries it out. ``clusters`` is an upgrade's: all of one cluster.
"""
