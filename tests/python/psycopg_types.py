"""Every type through psycopg 3, as text and as binary, prepared and not.

Usage: psycopg_types.py "host=127.0.0.1 port=5454 user=postgres dbname=postgres"
"""

import datetime as dt
import sys
from decimal import Decimal

import psycopg

UTC = dt.timezone.utc
VALUES = {
    "bool": [True, False],
    "int2": [-32768, 0, 32767],
    "int4": [-(2**31), 2**31 - 1],
    "int8": [-(2**63), 2**63 - 1],
    "float4": [0.5, -1.25, float("inf")],
    "float8": [0.1, -1e300, 5e-324, float("-inf")],
    "numeric": [Decimal("0"), Decimal("-12345678901234567890.0123456789"), Decimal("1e-20"), Decimal("10000"), Decimal("100.50")],
    "text": ["", "plain", "grüße 日本 🙂", "it's \\ \"quoted\""],
    "varchar": ["x" * 5000],
    "varchar(10)": ["ten chars!"],
    "char(5)": ["abcde"],
    "bytea": [b"", bytes(range(256))],
    "date": [dt.date(1, 1, 1), dt.date(2000, 1, 1), dt.date(9999, 12, 31)],
    "timestamp": [dt.datetime(1970, 1, 1), dt.datetime(2026, 2, 28, 23, 59, 59, 999999)],
    "timestamptz": [dt.datetime(1999, 12, 31, 23, 59, 59, 1, tzinfo=UTC), dt.datetime(2026, 7, 1, tzinfo=UTC)],
}

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


def one_type(conn, name, values):
    table = "types_" + "".join(c for c in name if c.isalnum())
    conn.execute(f"drop table if exists {table}")
    conn.execute(f"create table {table} (id int4 primary key, v {name})")
    for placeholder in ("%s", "%b", "%t"):
        for prepare in (False, True):
            for binary in (False, True):
                what = f"{name} {placeholder} prepare={prepare} binary={binary}"

                def round_trip():
                    conn.execute(f"delete from {table}")
                    for index, value in enumerate([*values, None]):
                        conn.execute(
                            f"insert into {table} values (%s, {placeholder})", (index, value), prepare=prepare, binary=binary
                        )
                    rows = conn.execute(
                        f"select v from {table} order by id", prepare=prepare, binary=binary
                    ).fetchall()
                    check(what, [row[0] for row in rows], [*values, None])
                    for value in values:
                        found = conn.execute(
                            f"select count(*) from {table} where v = {placeholder}::{name}", (value,), prepare=prepare, binary=binary
                        ).fetchone()[0]
                        check(f"{what} where {value!r}", found, 1)

                attempt(what, round_trip)


def main():
    with psycopg.connect(sys.argv[1], autocommit=True) as conn:
        conn.execute("set timezone to 'UTC'")
        for name, values in VALUES.items():
            attempt(name, lambda: one_type(conn, name, values))

        def pipeline():
            conn.execute("drop table if exists piped")
            conn.execute("create table piped (id int4 primary key)")
            with conn.pipeline():
                for index in range(200):
                    conn.execute("insert into piped values (%s)", (index,))
            check("pipeline", conn.execute("select count(*) from piped").fetchone()[0], 200)

        def executemany():
            with conn.cursor() as cursor:
                cursor.executemany("insert into piped values (%s)", [(index,) for index in range(200, 400)])
            check("executemany", conn.execute("select sum(id) from piped").fetchone()[0], sum(range(400)))

        def transactions():
            with conn.transaction():
                conn.execute("insert into piped values (1000)")
                try:
                    with conn.transaction():
                        conn.execute("insert into piped values (1000)")
                except psycopg.errors.UniqueViolation:
                    pass
                conn.execute("insert into piped values (1001)")
            check("nested", conn.execute("select count(*) from piped where id >= 1000").fetchone()[0], 2)

        def copying():
            conn.execute("drop table if exists copied")
            conn.execute("create table copied (id int4 primary key, v text)")
            with conn.cursor() as cursor:
                with cursor.copy("copy copied (id, v) from stdin") as copy:
                    for index in range(1000):
                        copy.write_row((index, None if index % 7 == 0 else f"tab\t{index}\n"))
                with cursor.copy("copy copied to stdout") as copy:
                    rows = [row for row in copy.rows()]
            check("copy rows", len(rows), 1000)
            check("copy escapes", rows[1][1], "tab\t1\n")

        def server_cursor():
            with conn.transaction(), conn.cursor(name="walk") as cursor:
                cursor.execute("select id from copied order by id")
                check("server-side cursor", len(cursor.fetchmany(10)), 10)

        def sql_state():
            try:
                conn.execute("select 1/%s", (0,))
                check("division by zero", "no error", "22012")
            except psycopg.errors.DivisionByZero:
                pass

        for action in (pipeline, executemany, transactions, copying, server_cursor, sql_state):
            attempt(action.__name__, action)
    print(f"{checks} checks, {len(failures)} failures")
    for failure in failures:
        print(" ", failure)
    sys.exit(1 if failures else 0)


main()
