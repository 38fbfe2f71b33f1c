import psycopg

import oxy_pg

url = oxy_pg.ensure()
print(url)

with psycopg.connect(url) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS note (text text NOT NULL)")
    connection.execute("INSERT INTO note VALUES ('It works.')")
    for (text,) in connection.execute("SELECT text FROM note"):
        print(text)
