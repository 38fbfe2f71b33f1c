import datetime as dt

import pandas as pd
import polars as pl
import sqlalchemy

import oxy_pg

url = oxy_pg.ensure()
engine = sqlalchemy.create_engine(oxy_pg.ensure(driver="psycopg"))

# pandas, by SQLAlchemy.
sales = pd.DataFrame(
    {
        "day": [dt.date(2026, 1, 30), dt.date(2026, 1, 31), dt.date(2026, 1, 31)],
        "item": ["chair", "chair", "table"],
        "price": [20.5, 20.5, 99.0],
    }
)
sales.to_sql("sale", engine, if_exists="replace", index=False)
print(pd.read_sql("SELECT item, sum(price) FROM sale GROUP BY item ORDER BY item", engine))

# Polars, by ADBC: no row passes through Python.
frame = pl.read_database_uri("SELECT * FROM sale ORDER BY price", url, engine="adbc")
print(frame.group_by("item").agg(pl.col("price").sum()).sort("item"))
frame.write_database("copy", url, if_table_exists="replace", engine="adbc")
