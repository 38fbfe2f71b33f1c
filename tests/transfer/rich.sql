-- Every kind of object and value that an ordinary role can have.
CREATE SCHEMA "Ünusual ""name""";
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s');
CREATE DOMAIN percent AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE pair AS (a integer, b text);
CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
COMMENT ON FUNCTION twice(integer) IS 'two
lines; and a \. of COPY''s';
CREATE FUNCTION noisy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- COPY public.parent (id) FROM stdin;
    NEW.changed := 'by trigger';
    RETURN NEW;
END $$;
CREATE TABLE parent (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100) PRIMARY KEY,
    name text UNIQUE NOT NULL, doubled integer GENERATED ALWAYS AS (length(name) * 2) STORED,
    changed text DEFAULT 'as it was', m mood, p percent, c pair, "Group" integer,
    CONSTRAINT "odd %s ""check""" CHECK ("Group" <> 7)
);
COMMENT ON COLUMN parent.name IS 'naïve — “quoted”';
INSERT INTO parent (name, m, p, c, "Group")
    SELECT 'n' || g || E'\t\\ \n\r' || chr(128512), 'it''s', 99.5, ROW (g, 'x"y'::text)::pair, 1
    FROM generate_series(1, 300) g;
CREATE TABLE child (
    id serial PRIMARY KEY, parent_id bigint REFERENCES parent ON DELETE CASCADE DEFERRABLE,
    self integer REFERENCES child (id), stamp timestamptz, span interval, data jsonb, raw bytea,
    f8 double precision, n numeric, days daterange, tags text[], grid integer[][], u uuid, b boolean,
    addr inet, t time, xml_free char(5), bits bit varying
);
INSERT INTO child (parent_id, self, stamp, span, data, raw, f8, n, days, tags, grid, u, b, addr, t)
SELECT 100 + g % 300, CASE WHEN g > 1 THEN 1 END,
    CASE g % 4 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' WHEN 2 THEN '0044-03-15 BC'
               ELSE '2026-03-29 02:30:00.123456+01' END::timestamptz,
    make_interval(months => g, secs => g / 7.0), jsonb_build_object('k', g, 'ä', NULL),
    decode(md5(g::text), 'hex'), CASE g % 3 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity'
    ELSE 0.1::float8 + g END::float8, 'NaN', daterange(current_date, NULL),
    ARRAY['a', NULL, '', '{"', 'NULL'], ARRAY[[1, 2], [3, NULL]], gen_random_uuid(), g % 2 = 0,
    '10.0.0.1/8', '24:00'
FROM generate_series(1, 1000) g;
CREATE INDEX child_partial ON child (stamp) WHERE b;
CREATE INDEX child_expression ON child ((data ->> 'k'));
CREATE INDEX child_gin ON child USING gin (data);
CREATE STATISTICS child_stats ON parent_id, b FROM child;
CREATE TRIGGER noisy BEFORE UPDATE OR INSERT ON parent FOR EACH ROW EXECUTE FUNCTION noisy();
ALTER TABLE parent DISABLE TRIGGER noisy;
CREATE TABLE measured (at date NOT NULL, v integer) PARTITION BY RANGE (at);
CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE measured_rest PARTITION OF measured DEFAULT;
CREATE INDEX ON measured (v);
INSERT INTO measured SELECT date '2026-01-20' + g, g FROM generate_series(1, 50) g;
CREATE TABLE base (a integer);
CREATE TABLE derived (b text) INHERITS (base);
INSERT INTO base VALUES (1), (2);
INSERT INTO derived VALUES (3, 'x');
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO nothing DEFAULT VALUES;
CREATE UNLOGGED TABLE scratch AS SELECT 1 AS a;
CREATE TABLE "Ünusual ""name"""."T a b l e" ("Sp ace" text, "select" integer);
INSERT INTO "Ünusual ""name"""."T a b l e" VALUES ('\N', NULL), (NULL, 1), ('', 2), (E'\\.', 3);
CREATE VIEW both_sides AS SELECT p.name, c.data FROM parent p JOIN child c ON c.parent_id = p.id;
CREATE MATERIALIZED VIEW totals AS SELECT b, count(*) FROM child GROUP BY b;
CREATE UNIQUE INDEX ON totals (b);
CREATE MATERIALIZED VIEW later AS SELECT 1 AS one WITH NO DATA;
CREATE RULE quiet AS ON DELETE TO base DO INSTEAD NOTHING;
CREATE TABLE secret (who text, what text);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON secret USING (who = current_user);
INSERT INTO secret VALUES ('nobody', 'x'), ('oxy', 'y');
CREATE SEQUENCE counter START 7 INCREMENT 7;
SELECT nextval('counter'), nextval('counter');
CREATE SEQUENCE untouched START 3;
CREATE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE PROCEDURE tidy() LANGUAGE sql AS 'DELETE FROM derived WHERE false';
CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq);
CREATE TEXT SEARCH CONFIGURATION my_config (COPY = simple);
SELECT lo_from_bytea(4711, decode(repeat('00ff', 600000), 'hex')), lo_from_bytea(4712, '');
