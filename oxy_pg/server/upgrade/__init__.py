"""
The server's side of an upgrade: two clusters, two private servers, and the swap of directories.

The rows are moved by ``transfer/``; ``_api`` brings the two together.
"""
