"""
The server's side of an upgrade from another major version of PostgreSQL.

``clusters`` has the old and the new cluster and their settings, ``private_server`` runs one that no
client can reach, ``swap`` lets the new one take the old one's place, also after a crash. The rows
are copied by ``transfer/``; ``_api`` brings the two together.
"""
