from sqlmodel import Field, Session, SQLModel, create_engine, select

import oxy_pg


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    age: int | None = None


engine = create_engine(oxy_pg.ensure(driver="psycopg"))
SQLModel.metadata.create_all(engine)

with Session(engine) as session:
    session.add(Hero(name="Spider-Boy", age=16))
    session.commit()
    for hero in session.exec(select(Hero).where(Hero.name == "Spider-Boy")):
        print(hero.name, hero.age)
