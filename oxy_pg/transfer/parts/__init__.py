"""
The parts of a database that are copied to another one: schema, rows, sequences, large objects.

``inventory`` lists them, ``snapshot`` is the moment that they are copied of.
"""
