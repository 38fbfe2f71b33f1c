"""JupyterHub: ``make URL`` fills a hub's database, ``use URL`` reads it and writes."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

from jupyterhub import orm, roles


def make(db):
    db.add(orm.OAuthClient(identifier="jupyterhub", secret="", redirect_uri="", description=""))
    for role in roles.get_default_roles():
        roles.create_role(db, role)
    for name, admin in (("ada", True), ("bob ü", False)):
        # JupyterHub keeps times in UTC, without an offset.
        seen = datetime(2024, 1, 2, 3, 4, 5, 678)  # noqa: DTZ001
        user = orm.User(name=name, admin=admin, last_activity=seen)
        user.encrypted_auth_state = b"\x00\xff"
        db.add(user)
        spawner = orm.Spawner(name="", user=user, state={"pid": 1, "note": "\U0001f680'"})
        db.add(spawner)
        db.commit()
        roles.grant_role(db, user, "user")
        user.new_api_token(note=name, expires_in=3600, scopes=["self"], roles=None)
    group = orm.Group(name="lab", properties={"mem": 1.5})
    group.users = db.query(orm.User).all()
    db.add(group)
    db.commit()


def use(db):
    for user in db.query(orm.User).order_by(orm.User.name):
        [spawner] = user._orm_spawners
        [token] = user.api_tokens
        print(user.name, user.admin, user.last_activity, user.encrypted_auth_state, spawner.state)
        print(token.note, token.scopes, token.expires_at - token.created > timedelta(minutes=59))
    [group] = db.query(orm.Group)
    print(group.name, group.properties, sorted(user.name for user in group.users))
    print(sorted(role.name for role in db.query(orm.Role)))
    eve = orm.User(name="eve")
    db.add(eve)
    group.users.append(eve)
    db.commit()
    print(eve.id, len(group.users))


if __name__ == "__main__":
    {"make": make, "use": use}[sys.argv[1]](orm.new_session_factory(sys.argv[2])())
