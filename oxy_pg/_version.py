"""The version of this package, alone: nothing has to be imported to know it."""

__version__ = "0.1.0"
