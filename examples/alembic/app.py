import sqlalchemy
from models import Item
from sqlalchemy.orm import Session

import oxy_pg

engine = sqlalchemy.create_engine(oxy_pg.ensure(driver="psycopg"))

with Session(engine) as session:
    session.add(Item(name="a chair"))
    session.commit()
    print(session.scalars(sqlalchemy.select(Item.name)).all())
