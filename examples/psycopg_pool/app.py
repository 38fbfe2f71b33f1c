from concurrent.futures import ThreadPoolExecutor

from psycopg_pool import ConnectionPool

import oxy_pg

with ConnectionPool(oxy_pg.ensure(), min_size=2, max_size=10) as pool:
    with pool.connection() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS visit (at timestamptz DEFAULT now())")

    def visit(number: int) -> None:
        with pool.connection() as connection:
            connection.execute("INSERT INTO visit DEFAULT VALUES")

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(visit, range(100)))

    with pool.connection() as connection:
        row = connection.execute("SELECT count(*) FROM visit").fetchone()
        print(row)
