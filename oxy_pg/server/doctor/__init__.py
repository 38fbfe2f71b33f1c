"""
What would stop a start or trouble a server later, and what to do about it.

One ``Check`` for each thing that is examined; nothing here repairs anything.
"""
