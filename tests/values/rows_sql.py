"""Statements and tables of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm


def table(kind: Any = sa.Integer, *, nullable: bool = True) -> sa.Table:
    return sa.Table("t", sa.MetaData(), sa.Column("a", kind, nullable=nullable), sa.Column("b", sa.String))


def nested(number: int) -> sa.Select[Any]:
    inner = sa.select(table().c.a).where(table().c.a == number).subquery()
    return sa.select(inner.c.a)


def used(value: Any) -> Any:
    """After it was shown and compared."""
    str(value), value.compile(), value == 1
    return value


T = table()
DIFFERENT: dict[str, Callable[[], list[Any]]] = {
    "literal": lambda: [sa.select(sa.literal(value)) for value in (1, 2, "1", 1.0)],
    "condition": lambda: [
        *(sa.select(T).where(T.c.a == number) for number in (1, 2)),
        sa.select(T).where(T.c.a < 1),
        sa.select(table(sa.Float)).where(table(sa.Float).c.a == 1),
    ],
    "one of": lambda: [sa.select(T).where(T.c.a.in_(values)) for values in ([1, 2], [1, 3], [1, 2, 3])],
    "expression": lambda: [T.c.a == 1, T.c.a == 2, T.c.a + 1, sa.func.max(T.c.a), sa.func.min(T.c.a)],
    "case": lambda: [sa.case((T.c.a == 1, "x"), else_=other) for other in "yz"],
    "change": lambda: [sa.insert(T).values(a=1), sa.insert(T).values(a=2), sa.update(T).values(a=2), sa.delete(T)],
    "union": lambda: [way(sa.select(sa.literal(1)), sa.select(sa.literal(2))) for way in (sa.union, sa.union_all)],
    "nested": lambda: [nested(1), nested(2)],
    "label": lambda: [T.c.a.label("x"), T.c.a.label("y")],
    "column": lambda: [table().c.a, table(sa.Float).c.a, table(nullable=False).c.a],
    "limit": lambda: [sa.select(T).limit(1), sa.select(T).limit(2)],
    "execution option": lambda: [sa.select(T), sa.select(T).execution_options(yield_per=3)],
    "parameter": lambda: [sa.bindparam("a", 1), sa.bindparam("a", 2), sa.bindparam("b", 1)],
    "text": lambda: [sa.text("a"), sa.text("b"), sa.text(":a").bindparams(a=1), sa.text(":a").bindparams(a=2)],
    "address": lambda: [sa.engine.make_url(f"postgresql://u:{word}@h/d") for word in "ab"],
}
ALIKE: dict[str, Callable[[], list[Any]]] = {
    "condition": lambda: [sa.select(T).where(T.c.a == 1), used(sa.select(T).where(T.c.a == 1))],
    "literal": lambda: [sa.select(sa.literal(1)), used(sa.select(sa.literal(1)))],
    "table made later": lambda: [table(), table()],
    "change": lambda: [sa.insert(T).values(a=1), sa.insert(table()).values(a=1)],
    "nested": lambda: [nested(1), nested(1)],
}


def mapped(size: int = 30, listens: Callable[..., Any] | None = None, *, asked: bool = False) -> Any:
    """What SQLAlchemy keeps of a class that it maps."""

    class Base(orm.DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        name: orm.Mapped[str] = orm.mapped_column(sa.String(size))

    if listens is not None:
        sa.event.listen(User.name, "set", listens)
    if asked:
        User(id=1)
        str(sa.select(User).where(User.id == 1))
    return [vars(User)["_sa_class_manager"], vars(User)["__mapper__"], User.name, Base.registry]


REFUSED: dict[str, Callable[[], Any]] = {"engine": lambda: sa.create_engine("sqlite://")}
CONSTANTS: dict[str, Callable[[], list[Any]]] = {
    "statement": lambda: [sa.select(T).where(T.c.a == 1), used(sa.select(T).where(T.c.a == 1))],
    "mapped class": lambda: [mapped(), mapped(asked=True)],
}
