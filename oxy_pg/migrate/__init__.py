"""
Migrating a SQLite database to PostgreSQL.

``source/`` reads SQLite; ``convert/`` knows each kind of type; ``target/`` reads PostgreSQL's
catalogs; ``plan/`` decides what will be done; ``check/`` finds what would stop it; ``load/`` does
it in one transaction and verifies it; ``report/`` describes what was done. ``migration`` runs them
in this order, for the ``options`` that the user chose.
"""
