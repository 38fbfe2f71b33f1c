"""JupyterHub: ``make URL`` fills a hub's database, ``use URL`` reads the old rows and writes."""

from __future__ import annotations

import sys

from jupyterhub import orm


def make(session):
    group = orm.Group(name="class", properties={"room": [1, None]})
    session.add(group)
    for number in range(3):
        user = orm.User(name=f"user-{number}", admin=number == 0, encrypted_auth_state=b"\x00\xff")
        session.add(user)
        session.commit()
        group.users.append(user)
        server = orm.Server(proto="http", ip="127.0.0.1", port=8000 + number, base_url="/")
        spawner = orm.Spawner(name="", user=user, server=server, state={"pid": number})
        session.add_all([server, spawner])
        user.new_api_token(token=f"{number}" * 32, note="ü")
    session.commit()
    session.delete(session.query(orm.User).filter_by(name="user-2").one())
    session.commit()


def use(session):
    for user in session.query(orm.User).order_by(orm.User.name):
        print(user.id, user.name, user.admin, user.created, bytes(user.encrypted_auth_state))
        print([(one.name, one.state, one.server.port) for one in user._orm_spawners])
        print([(token.note, token.prefix, token.scopes) for token in user.api_tokens])
    for group in session.query(orm.Group):
        print(group.name, group.properties, sorted(user.name for user in group.users))
    print(sorted(role.name for role in session.query(orm.Role)))
    print(orm.APIToken.find(session, "1" * 32).user.name)
    new = orm.User(name="new")
    session.add(new)
    session.commit()
    print(new.id, session.query(orm.User).count())


if __name__ == "__main__":
    factory = orm.new_session_factory(sys.argv[2])
    {"make": make, "use": use}[sys.argv[1]](factory())
