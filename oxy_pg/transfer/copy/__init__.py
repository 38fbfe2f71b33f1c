"""Databases from one server to another: push, pull, and the databases of an upgrade."""
