"""An application with SQLAlchemy: ``create_engine()`` accepts the URL as it is."""

from sqlalchemy import String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import oxy_pg


class Base(DeclarativeBase):
    """The tables of this application."""


class Note(Base):
    """One note."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(200))


# In production OXY_DATABASE_URL is set, and this line returns it.
engine = create_engine(oxy_pg.ensure("notes"))
Base.metadata.create_all(engine)

with Session(engine) as session:
    session.add(Note(text="Nothing got harder."))
    session.commit()
    print(len(session.scalars(select(Note)).all()), "note(s)")
engine.dispose()
