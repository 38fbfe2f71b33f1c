"""An application with SQLAlchemy, 2.0 or newer."""

from sqlalchemy import String, create_engine, make_url, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import oxy_pg


class Base(DeclarativeBase):
    """The tables of this application."""


class Note(Base):
    """One note."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(200))


# In production OXY_DATABASE_URL is set, and ensure() returns it.
url = make_url(oxy_pg.ensure("notes"))
# With plain "postgresql" SQLAlchemy 2.0 would take psycopg2.
engine = create_engine(url.set(drivername="postgresql+psycopg"))
Base.metadata.create_all(engine)

with Session(engine) as session:
    session.add(Note(text="Nothing got harder."))
    session.commit()
    print(len(session.scalars(select(Note)).all()), "note(s)")
engine.dispose()
