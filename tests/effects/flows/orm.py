"""Models and sessions of SQLAlchemy."""

from prefect import flow, task
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Event(Base):
    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]


def engine():
    made = create_engine("sqlite:///out/orm.db")
    Base.metadata.create_all(made)
    return made


@task
def store(kinds: list[str]) -> int:
    with Session(engine()) as session, session.begin():
        session.add_all([Event(kind=kind) for kind in kinds])
    return len(kinds)


@task
def totals() -> dict[str, int]:
    with Session(engine()) as session:
        rows = session.execute(select(Event.kind, func.count()).group_by(Event.kind).order_by(Event.kind))
        return {kind: count for kind, count in rows}


@task
def ranked(found: dict[str, int]) -> list[str]:
    return sorted(found, key=found.get, reverse=True)


@flow
def events():
    store(["open", "click", "open"])
    found = totals()
    return [found, ranked(found)]


def main():
    return events()
