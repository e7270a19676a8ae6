//! Names and modifiers of types: `format_type` and its inverses.

use crate::numeric::numeric_precision_scale;
use crate::sql_type::type_info;
use crate::{Category, Oid, Result, SqlError, SqlState, SqlType};

/// What `format_type(oid, typmod)` prints: `character varying(10)`, `numeric(5,2)`, `integer[]`.
pub fn format_type(sql_type: SqlType) -> String {
    let Some(info) = sql_type.info() else {
        return if sql_type.oid == Oid(0) { "-".into() } else { "???".into() };
    };
    if info.element != Oid(0) && type_info(info.element).is_some() {
        return format!("{}[]", format_type(SqlType::new(info.element, sql_type.typmod)));
    }
    let typmod = sql_type.typmod;
    match sql_type.oid {
        // "character" alone would mean character(1).
        Oid::BPCHAR if typmod < 0 => "bpchar".into(),
        _ if typmod < 0 => info.sql_name.into(),
        Oid::BPCHAR | Oid::VARCHAR if typmod > 4 => format!("{}({})", info.sql_name, typmod - 4),
        Oid::NUMERIC => match numeric_precision_scale(typmod) {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => "numeric".into(),
        },
        Oid::TIME => format!("time({typmod}) without time zone"),
        Oid::TIMESTAMP => format!("timestamp({typmod}) without time zone"),
        Oid::TIMESTAMPTZ => format!("timestamp({typmod}) with time zone"),
        Oid::INTERVAL => format!("interval{}", interval_modifier(typmod)),
        _ => info.sql_name.into(),
    }
}

/// Field masks of `interval year to month` and the like, and the precision of seconds.
fn interval_modifier(typmod: i32) -> String {
    let (range, precision) = ((typmod >> 16) & 0x7fff, typmod & 0xffff);
    const MONTH: i32 = 1 << 1;
    const YEAR: i32 = 1 << 2;
    const DAY: i32 = 1 << 3;
    const HOUR: i32 = 1 << 10;
    const MINUTE: i32 = 1 << 11;
    const SECOND: i32 = 1 << 12;
    let fields = match range {
        YEAR => " year",
        MONTH => " month",
        DAY => " day",
        HOUR => " hour",
        MINUTE => " minute",
        SECOND => " second",
        _ if range == YEAR | MONTH => " year to month",
        _ if range == DAY | HOUR => " day to hour",
        _ if range == DAY | HOUR | MINUTE => " day to minute",
        _ if range == DAY | HOUR | MINUTE | SECOND => " day to second",
        _ if range == HOUR | MINUTE => " hour to minute",
        _ if range == HOUR | MINUTE | SECOND => " hour to second",
        _ if range == MINUTE | SECOND => " minute to second",
        _ => "",
    };
    if precision == 0xffff { fields.into() } else { format!("{fields}({precision})") }
}

/// The modifier of `numeric(precision, scale)`.
pub fn numeric_typmod(precision: i64, scale: i64) -> Result<i32> {
    let refuse = |message: String| Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    if !(1..=1000).contains(&precision) {
        return refuse(format!("NUMERIC precision {precision} must be between 1 and 1000"));
    }
    if !(-1000..=1000).contains(&scale) {
        return refuse(format!("NUMERIC scale {scale} must be between -1000 and 1000"));
    }
    Ok((((precision as i32) << 16) | (scale as i32 & 0x7ff)) + 4)
}

/// The modifier of `varchar(length)`.
pub fn varchar_typmod(length: i64) -> Result<i32> {
    character_typmod("varchar", length)
}

/// The modifier of `char(length)`.
pub fn bpchar_typmod(length: i64) -> Result<i32> {
    character_typmod("char", length)
}

fn character_typmod(name: &str, length: i64) -> Result<i32> {
    const LENGTH_MAX: i64 = 10 * 1024 * 1024;
    let refuse = |message: String| Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    if length < 1 {
        return refuse(format!("length for type {name} must be at least 1"));
    }
    if length > LENGTH_MAX {
        return refuse(format!("length for type {name} cannot exceed {LENGTH_MAX}"));
    }
    Ok(length as i32 + 4)
}

/// The modifier of `timestamp(precision)`, `time(precision)` and so on; above 6 becomes 6 as in PostgreSQL (which
/// also warns).
pub fn timestamp_typmod(type_name: &str, precision: i64) -> Result<i32> {
    if precision < 0 {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("{}({precision}) precision must not be negative", type_name.to_uppercase()),
        ));
    }
    Ok(precision.min(6) as i32)
}

/// The modifier of `interval(precision)`.
pub fn interval_typmod(precision: i64) -> Result<i32> {
    if precision < 0 {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("INTERVAL({precision}) precision must not be negative"),
        ));
    }
    Ok((0x7fff << 16) | precision.min(6) as i32)
}

impl SqlType {
    /// The declared maximum length of varchar(n) and char(n).
    pub fn character_length(self) -> Option<usize> {
        (matches!(self.oid, Oid::VARCHAR | Oid::BPCHAR) && self.typmod > 4)
            .then(|| (self.typmod - 4) as usize)
    }

    /// (precision, scale) of numeric(p, s).
    pub fn precision_scale(self) -> Option<(i32, i32)> {
        (self.oid == Oid::NUMERIC).then(|| numeric_precision_scale(self.typmod)).flatten()
    }

    /// The element's type, of an array (and of the vector types); carries the modifier.
    pub fn element(self) -> Option<Self> {
        match self.oid {
            Oid::INT2VECTOR => Some(Self::INT2),
            Oid::OIDVECTOR => Some(Self::OID),
            _ => self
                .info()
                .filter(|info| info.element != Oid(0))
                .map(|info| Self::new(info.element, self.typmod)),
        }
    }

    /// The array type of this element type.
    pub fn array(self) -> Option<Self> {
        self.info().filter(|info| info.array != Oid(0)).map(|info| Self::new(info.array, self.typmod))
    }

    pub fn category(self) -> Category {
        self.info().map_or(Category::UserDefined, |info| info.category)
    }

    pub fn is_array(self) -> bool {
        self.category() == Category::Array
    }

    /// text, varchar, bpchar, name.
    pub fn is_string(self) -> bool {
        self.category() == Category::String
    }

    /// Integers, floats and numeric; not oid and the reg* types.
    pub fn is_numeric(self) -> bool {
        matches!(self.oid, Oid::INT2 | Oid::INT4 | Oid::INT8 | Oid::FLOAT4 | Oid::FLOAT8 | Oid::NUMERIC)
    }

    pub fn is_integer(self) -> bool {
        matches!(self.oid, Oid::INT2 | Oid::INT4 | Oid::INT8)
    }
}

impl std::fmt::Display for SqlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format_type(*self))
    }
}

/// A built-in type by any of its names: `int4`, `integer`, `_int4`, `character varying[]`, `pg_catalog.int4`. Modifiers
/// are not read here.
pub fn type_by_sql_name(name: &str) -> Option<SqlType> {
    let lower = name.trim().to_ascii_lowercase();
    let base = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    if let Some(element) = base.strip_suffix("[]") {
        return type_by_sql_name(element)?.array();
    }
    let alias = match base {
        "int" => "int4",
        "decimal" | "dec" => "numeric",
        "float" => "float8",
        "char" | "character" => "bpchar",
        "\"char\"" => "char",
        "timestamp" => "timestamp",
        "time" => "time",
        other => other,
    };
    crate::sql_type::type_by_name(alias)
        .or_else(|| crate::sql_type::all_types().iter().find(|info| info.sql_name == base))
        .map(|info| SqlType::new(info.oid, -1))
}
