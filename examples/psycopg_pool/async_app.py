import asyncio

from psycopg_pool import AsyncConnectionPool

import oxy_pg


async def main() -> None:
    url = await asyncio.to_thread(oxy_pg.ensure)
    async with AsyncConnectionPool(url, min_size=2, max_size=10) as pool:

        async def visit() -> None:
            async with pool.connection() as connection:
                await connection.execute("INSERT INTO visit DEFAULT VALUES")

        await asyncio.gather(*(visit() for _ in range(100)))

        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT count(*) FROM visit")
            print(await cursor.fetchone())


asyncio.run(main())
