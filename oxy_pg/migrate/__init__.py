"""
Migrating a SQLite database to PostgreSQL.

``source/`` reads SQLite; ``convert/`` knows each kind of value; ``plan/`` decides what will be
done; ``check/`` finds what would stop it; ``load/`` does it in one transaction and verifies it;
``report/`` says what was done. ``migration`` runs them in this order; ``target`` reads PostgreSQL's
catalogs.
"""
