//! SQL types by PostgreSQL's identity: an oid and a type modifier.
//!
//! `typmod` is PostgreSQL's: −1 for none; length + 4 for varchar(n) and char(n);
//! `((precision << 16) | scale) + 4` for numeric(p, s); the precision itself for timestamps.

use std::fmt;

/// An object identifier, in `pg_type` or any other catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(pub u32);

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `pg_type.typcategory`; decides resolution of overloaded functions and operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    Boolean,
    Numeric,
    String,
    DateTime,
    Timespan,
    Array,
    UserDefined,
    Pseudo,
    Unknown,
    Composite,
    /// `"char"` and other types of internal use (`Z`).
    Internal,
}

impl Category {
    /// The letter in `pg_type`.
    pub fn letter(self) -> char {
        match self {
            Self::Boolean => 'B',
            Self::Numeric => 'N',
            Self::String => 'S',
            Self::DateTime => 'D',
            Self::Timespan => 'T',
            Self::Array => 'A',
            Self::UserDefined => 'U',
            Self::Pseudo => 'P',
            Self::Unknown => 'X',
            Self::Composite => 'C',
            Self::Internal => 'Z',
        }
    }
}

/// One row of the built-in `pg_type`.
#[derive(Debug)]
pub struct TypeInfo {
    pub oid: Oid,
    /// `pg_type.typname`: `int4`.
    pub name: &'static str,
    /// What `format_type` prints without a modifier: `integer`.
    pub sql_name: &'static str,
    pub category: Category,
    /// Preferred within its category.
    pub preferred: bool,
    /// Bytes in the wire format; −1 when variable.
    pub length: i16,
    /// 0 for an array itself and for pseudo-types without one.
    pub array: Oid,
    /// 0 unless an array.
    pub element: Oid,
}

macro_rules! types {
    ($($const_name:ident = $oid:literal, $name:literal, $sql:literal, $cat:ident, $pref:literal, $len:literal, array $array:literal;)*) => {
        impl Oid {
            $(pub const $const_name: Self = Self($oid);)*
        }
        impl SqlType {
            $(pub const $const_name: Self = Self { oid: Oid($oid), typmod: -1 };)*
        }
        /// The scalar and pseudo-types; array types are derived from `array`.
        static SCALARS: &[TypeInfo] = &[
            $(TypeInfo { oid: Oid($oid), name: $name, sql_name: $sql, category: Category::$cat, preferred: $pref,
                length: $len, array: Oid($array), element: Oid(0) },)*
        ];
    };
}

/// A type as an expression or a column has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SqlType {
    pub oid: Oid,
    pub typmod: i32,
}

types! {
    BOOL = 16, "bool", "boolean", Boolean, true, 1, array 1000;
    BYTEA = 17, "bytea", "bytea", UserDefined, false, -1, array 1001;
    CHAR = 18, "char", "\"char\"", Internal, false, 1, array 1002;
    NAME = 19, "name", "name", String, false, 64, array 1003;
    INT8 = 20, "int8", "bigint", Numeric, false, 8, array 1016;
    INT2 = 21, "int2", "smallint", Numeric, false, 2, array 1005;
    INT2VECTOR = 22, "int2vector", "int2vector", Array, false, -1, array 1006;
    INT4 = 23, "int4", "integer", Numeric, false, 4, array 1007;
    REGPROC = 24, "regproc", "regproc", Numeric, false, 4, array 1008;
    TEXT = 25, "text", "text", String, true, -1, array 1009;
    OID = 26, "oid", "oid", Numeric, true, 4, array 1028;
    XID = 28, "xid", "xid", UserDefined, false, 4, array 1011;
    OIDVECTOR = 30, "oidvector", "oidvector", Array, false, -1, array 1013;
    JSON = 114, "json", "json", UserDefined, false, -1, array 199;
    PG_NODE_TREE = 194, "pg_node_tree", "pg_node_tree", Internal, false, -1, array 0;
    FLOAT4 = 700, "float4", "real", Numeric, false, 4, array 1021;
    FLOAT8 = 701, "float8", "double precision", Numeric, true, 8, array 1022;
    UNKNOWN = 705, "unknown", "unknown", Unknown, false, -2, array 0;
    ACLITEM = 1033, "aclitem", "aclitem", UserDefined, false, 12, array 1034;
    BPCHAR = 1042, "bpchar", "character", String, false, -1, array 1014;
    VARCHAR = 1043, "varchar", "character varying", String, false, -1, array 1015;
    DATE = 1082, "date", "date", DateTime, false, 4, array 1182;
    TIME = 1083, "time", "time without time zone", DateTime, false, 8, array 1183;
    TIMESTAMP = 1114, "timestamp", "timestamp without time zone", DateTime, false, 8, array 1115;
    TIMESTAMPTZ = 1184, "timestamptz", "timestamp with time zone", DateTime, true, 8, array 1185;
    INTERVAL = 1186, "interval", "interval", Timespan, true, 16, array 1187;
    NUMERIC = 1700, "numeric", "numeric", Numeric, false, -1, array 1231;
    REGCLASS = 2205, "regclass", "regclass", Numeric, false, 4, array 2210;
    REGTYPE = 2206, "regtype", "regtype", Numeric, false, 4, array 2211;
    REGROLE = 4096, "regrole", "regrole", Numeric, false, 4, array 4097;
    REGNAMESPACE = 4089, "regnamespace", "regnamespace", Numeric, false, 4, array 4090;
    UUID = 2950, "uuid", "uuid", UserDefined, false, 16, array 2951;
    JSONB = 3802, "jsonb", "jsonb", UserDefined, false, -1, array 3807;
    RECORD = 2249, "record", "record", Pseudo, false, -1, array 2287;
    CSTRING = 2275, "cstring", "cstring", Pseudo, false, -2, array 1263;
    ANY = 2276, "any", "\"any\"", Pseudo, false, 4, array 0;
    ANYARRAY = 2277, "anyarray", "anyarray", Pseudo, false, -1, array 0;
    VOID = 2278, "void", "void", Pseudo, false, 4, array 0;
    TRIGGER = 2279, "trigger", "trigger", Pseudo, false, 4, array 0;
    INTERNAL = 2281, "internal", "internal", Pseudo, false, 8, array 0;
    ANYELEMENT = 2283, "anyelement", "anyelement", Pseudo, false, 4, array 0;
    ANYNONARRAY = 2776, "anynonarray", "anynonarray", Pseudo, false, 4, array 0;
    ANYCOMPATIBLE = 5077, "anycompatible", "anycompatible", Pseudo, false, 4, array 0;
    ANYCOMPATIBLEARRAY = 5078, "anycompatiblearray", "anycompatiblearray", Pseudo, false, -1, array 0;
}

impl SqlType {
    pub const fn new(oid: Oid, typmod: i32) -> Self {
        Self { oid, typmod }
    }

    /// The same type without a modifier.
    #[must_use]
    pub const fn bare(self) -> Self {
        Self { oid: self.oid, typmod: -1 }
    }

    /// The built-in table's row; array types are found too. `None` for an unknown oid.
    pub fn info(self) -> Option<&'static TypeInfo> {
        type_info(self.oid)
    }
}

static ALL: std::sync::LazyLock<Vec<TypeInfo>> = std::sync::LazyLock::new(|| {
    let mut all = Vec::new();
    for scalar in SCALARS {
        all.push(TypeInfo { ..*scalar });
        if scalar.array != Oid(0) {
            let name: &'static str = Box::leak(format!("_{}", scalar.name).into_boxed_str());
            let sql_name: &'static str = Box::leak(format!("{}[]", scalar.sql_name).into_boxed_str());
            let category =
                if scalar.category == Category::Pseudo { Category::Pseudo } else { Category::Array };
            all.push(TypeInfo {
                oid: scalar.array,
                name,
                sql_name,
                category,
                preferred: false,
                length: -1,
                array: Oid(0),
                element: scalar.oid,
            });
        }
    }
    all.sort_by_key(|info| info.oid);
    all
});

/// Every built-in type, by oid.
pub fn all_types() -> &'static [TypeInfo] {
    &ALL
}

/// Looks a built-in type up by oid.
pub fn type_info(oid: Oid) -> Option<&'static TypeInfo> {
    ALL.binary_search_by_key(&oid, |info| info.oid).ok().map(|index| &ALL[index])
}

/// Looks a built-in type up by `pg_type.typname` (`int4`, `_int4`).
pub fn type_by_name(name: &str) -> Option<&'static TypeInfo> {
    ALL.iter().find(|info| info.name == name)
}
