"""A web application: FastAPI, SQLAlchemy's asynchronous engine, asyncpg."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import oxy_pg


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


# In production OXY_DATABASE_URL is set, and ensure() returns that URL.
engine = create_async_engine(oxy_pg.ensure(driver="asyncpg"))
new_session = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        # Several workers start at once; one creates the tables, the others wait.
        await connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(1)"))
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/notes")
async def add(text: str) -> int:
    async with new_session() as session:
        note = Note(text=text)
        session.add(note)
        await session.commit()
        return note.id


@app.get("/notes")
async def notes() -> list[str]:
    async with new_session() as session:
        return list(await session.scalars(sqlalchemy.select(Note.text).order_by(Note.id)))
