//! How SQL types look in Arrow.
//!
//! A column must give back exactly the value that went in (display scale, blanks, infinities), so a kind keeps the
//! value's own form rather than Arrow's nearest logical type: dates and times are PostgreSQL's day and microsecond
//! counts as plain integers, whose order puts the infinities where SQL does; what Arrow has no form for travels as its
//! stored bytes. Where equal values can differ in form, operators compare [`Kind::key_type`] columns instead; see
//! [`crate::expression::key`].

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use basalt_planner::ColumnId;
use basalt_types::{Oid, SqlType};

/// The Arrow form of a SQL type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Every string type but char(n): equal strings are equal bytes.
    Text,
    /// char(n): trailing blanks do not count in comparisons.
    BpChar,
    Bytea,
    Char,
    Oid,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    Numeric,
    Interval,
    /// Arrays, records and jsonb.
    Stored,
}

impl Kind {
    /// `None` for types that no column can have.
    pub fn of(sql_type: SqlType) -> Option<Self> {
        Some(match sql_type.oid {
            Oid::BOOL => Self::Bool,
            Oid::INT2 => Self::Int2,
            Oid::INT4 => Self::Int4,
            Oid::INT8 => Self::Int8,
            Oid::FLOAT4 => Self::Float4,
            Oid::FLOAT8 => Self::Float8,
            Oid::TEXT
            | Oid::VARCHAR
            | Oid::NAME
            | Oid::JSON
            | Oid::UNKNOWN
            | Oid::CSTRING
            | Oid::PG_NODE_TREE
            | Oid::ACLITEM => Self::Text,
            Oid::BPCHAR => Self::BpChar,
            Oid::BYTEA => Self::Bytea,
            Oid::CHAR => Self::Char,
            Oid::DATE => Self::Date,
            Oid::TIME => Self::Time,
            Oid::TIMESTAMP => Self::Timestamp,
            Oid::TIMESTAMPTZ => Self::TimestampTz,
            Oid::UUID => Self::Uuid,
            Oid::NUMERIC => Self::Numeric,
            Oid::INTERVAL => Self::Interval,
            Oid::JSONB | Oid::RECORD => Self::Stored,
            Oid::OID
            | Oid::XID
            | Oid::REGPROC
            | Oid::REGCLASS
            | Oid::REGTYPE
            | Oid::REGROLE
            | Oid::REGNAMESPACE => Self::Oid,
            _ if sql_type.element().is_some() => Self::Stored,
            _ => return None,
        })
    }

    /// The type of a column of values.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 | Self::Date => DataType::Int32,
            Self::Int8 | Self::Time | Self::Timestamp | Self::TimestampTz => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Text | Self::BpChar => DataType::Utf8View,
            Self::Char => DataType::UInt8,
            Self::Oid => DataType::UInt32,
            Self::Bytea | Self::Uuid | Self::Numeric | Self::Interval | Self::Stored => DataType::BinaryView,
        }
    }

    /// The type of a column of keys: equal and ordered as SQL compares the values.
    pub fn key_type(self) -> DataType {
        self.data_type()
    }

    /// A value may differ from its key, so that grouping by the key must carry the value too.
    pub fn has_key(self) -> bool {
        matches!(
            self,
            Self::Float4 | Self::Float8 | Self::BpChar | Self::Numeric | Self::Interval | Self::Stored
        )
    }

    pub fn is_integer(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8)
    }
}

/// A column of an operator's output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    pub id: ColumnId,
    pub ty: SqlType,
    pub kind: Kind,
}

/// The columns of an operator's output, or the type that has no Arrow form.
pub fn columns_of(columns: &[(ColumnId, SqlType)]) -> Result<Vec<Column>, SqlType> {
    columns.iter().map(|&(id, ty)| Kind::of(ty).map(|kind| Column { id, ty, kind }).ok_or(ty)).collect()
}

pub fn column_name(id: ColumnId) -> String {
    format!("c{}", id.0)
}

pub fn schema_of(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| Field::new(column_name(column.id), column.kind.data_type(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}
