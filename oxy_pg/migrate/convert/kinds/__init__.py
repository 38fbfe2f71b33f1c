"""
The kinds of PostgreSQL types, each with all that its values need (kind.py says what that is).

A new kind of a known sort is written in its module alone; a new module is named in types.py.
"""
