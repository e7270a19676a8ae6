"""Every type, and what programs do with a driver, through psycopg 3.

Usage: psycopg_driver.py "host=127.0.0.1 port=5454 user=postgres dbname=postgres"

Ends with a line "N checks, M failures"; the exit code is 1 when something failed. PostgreSQL passes it too.
"""

import asyncio
import datetime as dt
import sys
from decimal import Decimal

import psycopg
from psycopg import pq, sql

UTC = dt.timezone.utc
VALUES = {
    "bool": [True, False],
    "int2": [-32768, 0, 32767],
    "int4": [-(2**31), 2**31 - 1],
    "int8": [-(2**63), 2**63 - 1],
    "float4": [0.5, -1.25, float("inf")],
    "float8": [0.1, -1e300, 5e-324, float("-inf")],
    "numeric": [Decimal("0"), Decimal("-12345678901234567890.0123456789"), Decimal("1e-20"), Decimal("10000"), Decimal("100.50")],
    "numeric(12,2)": [Decimal("-9999999999.99"), Decimal("0.01")],
    "text": ["", "plain", "grüße 日本 🙂", "it's \\ \"quoted\"\t\n\r"],
    "varchar": ["x" * 5000],
    "varchar(10)": ["ten chars!"],
    "char(5)": ["abcde", "ab   "],
    "bytea": [b"", bytes(range(256)), b"\\x00"],
    "date": [dt.date(1, 1, 1), dt.date(2000, 1, 1), dt.date(9999, 12, 31)],
    "timestamp": [dt.datetime(1970, 1, 1), dt.datetime(2026, 2, 28, 23, 59, 59, 999999)],
    "timestamptz": [dt.datetime(1999, 12, 31, 23, 59, 59, 1, tzinfo=UTC), dt.datetime(2026, 7, 1, tzinfo=UTC)],
}
# What an error is told by: statement, parameters, SQLSTATE.
ERRORS = [
    ("selec 1", (), "42601"),
    ("select * from missing", (), "42P01"),
    ("select missing from driver", (), "42703"),
    ("select missing(1)", (), "42883"),
    ("select 1/%s", (0,), "22012"),
    ("select %s::int4", ("x",), "22P02"),
    ("select %s::int2", (40000,), "22003"),
    ("select %s::int4 + 1", (2**31 - 1,), "22003"),
    ("select %s::date", ("2026-02-30",), "22008"),
    ("select %s::bytea", ("\\xf",), "22023"),
    ("select 'a' || %s::text::int4", ("b",), "22P02"),
    ("insert into driver values (1, 'twice')", (), "23505"),
    ("insert into driver values (%s, 'x')", (None,), "23502"),
    ("insert into driver values (%s, 'x')", (-1,), "23514"),
    ("insert into driver values (%s, %s)", (5, "much too long"), "22001"),
    ("create table driver (id int)", (), "42P07"),
    ("drop table missing", (), "42P01"),
    ("select id from driver group by v", (), "42803"),
    ("select sum(v) from driver", (), "42883"),
    ("set statement_timeout to 'soon'", (), "22023"),
    ("select id from driver where v = any(%s)", (3,), "42809"),
    ("rollback to savepoint missing", (), "25P01"),
    ("execute missing", (), "26000"),
]
# A zero byte can't be in a text.
REFUSED_BY_DRIVER = ("\x00",)

failures = []
checks = 0


def check(what, got, expected):
    global checks
    checks += 1
    if got != expected:
        failures.append(f"{what}: got {got!r}, expected {expected!r}")


def attempt(what, action):
    try:
        action()
    except Exception as error:  # every failure is reported, and the rest still runs
        failures.append(f"{what}: {type(error).__name__}: {error}".strip())


def fresh(conn, table, columns):
    conn.execute(f"drop table if exists {table}")
    conn.execute(f"create table {table} ({columns})")


def round_trips(conn):
    for name, values in VALUES.items():
        table = "types_" + "".join(c for c in name if c.isalnum())
        fresh(conn, table, f"id int4 primary key, v {name}")
        for placeholder in ("%s", "%b", "%t"):
            for prepare in (False, True):
                for binary in (False, True):
                    mode = {"prepare": prepare, "binary": binary}
                    what = f"{name} {placeholder} {mode}"
                    attempt(what, lambda: round_trip(conn, what, table, name, values, placeholder, mode))


def round_trip(conn, what, table, name, values, placeholder, mode):
    conn.execute(f"delete from {table}")
    for index, value in enumerate([*values, None]):
        conn.execute(f"insert into {table} values (%s, {placeholder})", (index, value), **mode)
    rows = conn.execute(f"select v from {table} order by id", **mode).fetchall()
    check(what, [row[0] for row in rows], [*values, None])
    for value in values:
        found = conn.execute(f"select count(*) from {table} where v = {placeholder}::{name}", (value,), **mode)
        check(f"{what} where {value!r}", found.fetchone()[0], 1)


def literals(conn):
    """The client puts the values into the text itself: the simple protocol."""
    with psycopg.ClientCursor(conn) as cursor:
        for name, values in VALUES.items():
            for value in values:
                got = cursor.execute(f"select (%s)::{name}", (value,)).fetchone()[0]
                check(f"literal {name}", got, value)
        cursor.execute("select 1; select 2, 3; select 4 where false")
        results = [cursor.fetchall()]
        while cursor.nextset():
            results.append(cursor.fetchall())
        check("several statements", results, [[(1,)], [(2, 3)], []])


def copying(conn):
    for name, values in VALUES.items():
        fresh(conn, "copied", f"id int4 primary key, v {name}")
        rows = list(enumerate([*values, None]))
        for options in ("", " with (format csv)"):
            conn.execute("truncate copied")
            with conn.cursor() as cursor:
                copy_in(cursor, name, rows, options)
                check(f"copied {name}{options}", cursor.rowcount, len(rows))
            copied = conn.execute("select * from copied order by id", prepare=False)
            check(f"copy in {name}{options}", copied.fetchall(), rows)
        with conn.cursor() as cursor, cursor.copy("copy (select * from copied order by id) to stdout") as copy:
            copy.set_types(["int4", "bpchar" if name == "char(5)" else name.split("(")[0]])
            check(f"copy out {name}", list(copy.rows()), rows)
    fresh(conn, "copied", "id int4 primary key, v text")
    with conn.cursor() as cursor:
        with cursor.copy("copy copied (id, v) from stdin") as copy:
            for index in range(1000):
                copy.write_row((index, None if index % 7 == 0 else f"tab\t{index}\n"))
        with cursor.copy("copy copied to stdout") as copy:
            rows = list(copy.rows())
        check("copy rows", len(rows), 1000)
        check("copy escapes", rows[1][1], "tab\t1\n")
    try:
        with conn.cursor() as cursor, cursor.copy("copy copied from stdin") as copy:
            copy.write("5000\tfine\n")
            raise KeyError("the program gives up")
    except KeyError:
        pass
    check("an abandoned copy", conn.execute("select count(*) from copied").fetchone()[0], 1000)
    for lines, state in (("1\ttwice\n", "23505"), ("x\tno number\n", "22P02"), ("1\n", "22P04"), ("1\t2\t3\n", "22P04")):
        got = None
        try:
            with conn.cursor() as cursor, cursor.copy("copy copied from stdin") as copy:
                copy.write(lines)
        except psycopg.Error as error:
            got = error.sqlstate
        check(f"copy of {lines!r}", got, state)


def copy_in(cursor, name, rows, options):
    with cursor.copy(f"copy copied from stdin{options}") as copy:
        for index, value in rows:
            if not options:
                copy.write_row((index, value))
            elif value is None:
                copy.write(f"{index},\n")
            else:
                text = "\\x" + value.hex() if isinstance(value, bytes) else str(value)
                text = text.replace('"', '""')
                copy.write(f'{index},"{text}"\n')


def errors(conn):
    fresh(conn, "driver", "id int4 primary key check (id > 0), v varchar(9)")
    conn.execute("insert into driver values (1, 'one')")
    for statement, parameters, state in ERRORS:
        for prepare in (False, True):
            got = None
            try:
                conn.execute(statement, parameters or None, prepare=prepare)
            except psycopg.Error as error:
                got = error.sqlstate
            check(f"{statement} {parameters!r} prepare={prepare}", got, state)
    check("usable after errors", conn.execute("select v from driver").fetchall(), [("one",)])
    try:
        conn.execute("select 1 +\n +missing from driver")
    except psycopg.Error as error:
        check("position", error.diag.statement_position, "14")
        check("severity", error.diag.severity_nonlocalized, "ERROR")
    try:
        conn.execute("insert into driver values (1, 'twice')")
    except psycopg.errors.UniqueViolation as error:
        diag = error.diag
        named = (diag.schema_name, diag.table_name, diag.constraint_name, diag.message_detail)
        check("constraint", named, ("public", "driver", "driver_pkey", "Key (id)=(1) already exists."))
    for text in REFUSED_BY_DRIVER:
        try:
            conn.execute("select %s", (text,))
            check("zero byte", "taken", "refused")
        except psycopg.DataError:
            check("zero byte", "refused", "refused")


def transactions(conn):
    fresh(conn, "moved", "id int4 primary key")
    with conn.transaction():
        conn.execute("insert into moved values (1)")
        try:
            with conn.transaction():
                conn.execute("insert into moved values (1)")
        except psycopg.errors.UniqueViolation:
            pass
        conn.execute("insert into moved values (2)")
        check("in a block", conn.info.transaction_status, pq.TransactionStatus.INTRANS)
    check("nested", conn.execute("select count(*) from moved").fetchone()[0], 2)
    with conn.transaction(force_rollback=True):
        conn.execute("delete from moved")
    check("rolled back", conn.execute("select count(*) from moved").fetchone()[0], 2)
    states = []
    conn.execute("begin")
    for statement in ("select 1/0", "select 1", "rollback"):
        try:
            conn.execute(statement)
            states.append(None)
        except psycopg.Error as error:
            states.append(error.sqlstate)
            check("failed block", conn.info.transaction_status, pq.TransactionStatus.INERROR)
    check("states of a failed block", states, ["22012", "25P02", None])
    with psycopg.connect(sys.argv[1]) as other:
        other.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        other.execute("insert into moved values (3)")
        other.rollback()
        other.read_only = True
        try:
            other.execute("insert into moved values (4)")
            check("read only", "written", "25006")
        except psycopg.Error as error:
            check("read only", error.sqlstate, "25006")


def cursors(conn):
    fresh(conn, "walked", "id int4 primary key, v text")
    with conn.cursor() as cursor:
        cursor.executemany("insert into walked values (%s, %s)", [(index, str(index)) for index in range(1000)])
        check("executemany", cursor.rowcount, 1000)
        cursor.executemany(
            "insert into walked values (%s, 'r') returning id", [(index,) for index in range(1000, 1005)], returning=True
        )
        returned = [cursor.fetchone()[0]]
        while cursor.nextset():
            returned.append(cursor.fetchone()[0])
        check("returned", returned, list(range(1000, 1005)))
        cursor.execute("select id, v from walked order by id")
        check("columns", [(column.name, column.type_code) for column in cursor.description], [("id", 23), ("v", 25)])
        check("fetchone", cursor.fetchone(), (0, "0"))
        check("fetchmany", len(cursor.fetchmany(10)), 10)
        cursor.scroll(-1)
        check("scrolled here", cursor.fetchone(), (10, "10"))
        check("fetchall", len(cursor.fetchall()), 994)
        cursor.execute("update walked set v = 'u' where id < 10")
        check("rowcount", (cursor.rowcount, cursor.statusmessage), (10, "UPDATE 10"))
    rows = 0
    for row in conn.cursor().stream("select id from walked order by id"):
        rows += row[0] == rows
    check("streamed", rows, 1005)
    with conn.transaction(), conn.cursor(name="walk") as cursor:
        cursor.itersize = 100
        cursor.execute("select id from walked where id < %s order by id", (555,))
        check("server-side cursor", cursor.fetchmany(3), [(0,), (1,), (2,)])
        check("the rest of it", sum(1 for _ in cursor), 552)
    with psycopg.RawCursor(conn) as cursor:
        cursor.execute("select id from walked where id = $1 or v = $2 order by id", (20, "r"))
        check("raw", [row[0] for row in cursor], [20, 1000, 1001, 1002, 1003, 1004])
    composed = sql.SQL("select {} from {}").format(sql.Identifier("id"), sql.Identifier("public", "walked"))
    check("composed", len(conn.execute(composed).fetchall()), 1005)


def prepared(conn):
    fresh(conn, "kept", "id int4 primary key, v text")
    for index in range(20):
        # From the fifth time on the driver prepares by itself.
        conn.execute("insert into kept values (%s, %s)", (index, "v"))
    check("prepared by use", conn.execute("select count(*) from kept").fetchone()[0], 20)
    raw = conn.pgconn
    raw.prepare(b"all_of_it", b"select * from kept where id = $1")
    raw.prepare(b"some_of_it", b"select v from kept where id = $1")
    check("altered", raw.exec_(b"alter table kept add column more int4 default 7").error_message, b"")
    result = raw.exec_prepared(b"all_of_it", [b"3"])
    check("a changed result", result.error_field(pq.DiagnosticField.SQLSTATE), b"0A000")
    check("an unchanged one", raw.exec_prepared(b"some_of_it", [b"3"]).get_value(0, 0), b"v")
    check("described", [raw.describe_prepared(b"some_of_it").param_type(0)], [23])
    conn.execute("deallocate all")
    check("forgotten", raw.exec_prepared(b"some_of_it", [b"3"]).error_field(pq.DiagnosticField.SQLSTATE), b"26000")
    conn.execute("prepare plus(int4) as select $1 + 1")
    check("SQL's prepare", conn.execute("execute plus(41)").fetchone()[0], 42)


def pipelines(conn):
    fresh(conn, "piped", "id int4 primary key")
    with conn.pipeline() as pipeline:
        cursors_ = [conn.execute("insert into piped values (%s) returning id", (index,)) for index in range(200)]
        pipeline.sync()
        check("pipelined", [cursor.fetchone()[0] for cursor in cursors_], list(range(200)))
    states = []
    try:
        with conn.pipeline() as pipeline:
            for index in (300, 0, 301):
                conn.execute(f"insert into piped values ({index})")
            pipeline.sync()
    except psycopg.Error as error:
        states.append(error.sqlstate)
    check("an error in a pipeline", states, ["23505"])
    # What stands between two syncs is one transaction.
    check("its transaction", conn.execute("select count(*) from piped where id >= 300").fetchone()[0], 0)


def settings(conn):
    check("parameter", conn.info.parameter_status("server_encoding"), "UTF8")
    check("encoding", conn.info.encoding, "utf-8")
    check("version", conn.info.server_version >= 150000, True)
    conn.execute("set timezone to 'Europe/Berlin'")
    check("reported", conn.info.parameter_status("TimeZone"), "Europe/Berlin")
    moment = conn.execute("select timestamptz '2026-07-01 12:00+00'").fetchone()[0]
    check("shifted", (moment.isoformat(), str(moment.tzinfo)), ("2026-07-01T14:00:00+02:00", "Europe/Berlin"))
    conn.execute("set timezone to 'UTC'")
    notices = []
    conn.add_notice_handler(lambda diag: notices.append((diag.severity, diag.sqlstate)))
    conn.execute("drop table if exists surely_missing")
    check("notice", notices, [("NOTICE", "00000")])


def asynchronous(_):
    async def run():
        async with await psycopg.AsyncConnection.connect(sys.argv[1], autocommit=True) as conn:
            answers = []
            async with conn.pipeline():
                cursors_ = [await conn.execute("select %s::int4", (index,)) for index in range(50)]
                for cursor in cursors_:
                    answers.append((await cursor.fetchone())[0])
            check("asynchronous", answers, list(range(50)))
            endless = conn.execute("select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b")
            running = asyncio.ensure_future(endless)
            while not running.done():
                # A request that comes before the statement stops nothing: ask until it has stopped.
                await conn.cancel_safe()
                await asyncio.wait([running], timeout=0.05)
            check("cancelled", getattr(running.exception(), "sqlstate", None), "57014")

    asyncio.run(run())


def main():
    with psycopg.connect(sys.argv[1], autocommit=True) as conn:
        conn.execute("set timezone to 'UTC'")
        steps = (round_trips, literals, copying, errors, transactions, cursors, prepared, pipelines, settings, asynchronous)
        for step in steps:
            attempt(step.__name__, lambda: step(conn))
    for failure in failures:
        print(" ", failure)
    print(f"{checks} checks, {len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
