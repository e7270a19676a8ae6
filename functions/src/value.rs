//! Rust types of SQL values: how a typed function reads its arguments and makes its result.
//!
//! A function is written once, over Rust values. [`Typed`] and [`TypedCall`] derive from its Rust signature both the
//! row form (a [`crate::ScalarFn`]) and the argument types, which must agree with the function's row in the catalog.

use std::sync::Arc;

use basalt_types::json::Json;
use basalt_types::{Array, Datum, Interval, Numeric, Oid, Result, SqlError};
use bytes::Bytes;

use crate::Call;

/// Days since 2000-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub i32);
/// Microseconds since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);
/// Microseconds since 2000-01-01 00:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);
/// Microseconds since 2000-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimestampTz(pub i64);
/// `"char"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Char(pub u8);
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);
/// The fields of a row value.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [Datum]);

/// A Rust type that an argument can be read as.
pub trait FromDatum<'a>: Sized {
    /// The SQL type that overloads are told apart by.
    const OID: Oid;
    /// Whether NULL can be read; without it a function must be strict.
    const NULLABLE: bool = false;
    /// Whether a value of this SQL type has the representation.
    fn accepts(oid: Oid) -> bool {
        oid == Self::OID
    }
    fn from_datum(datum: &'a Datum) -> Result<Self>;
}

/// What a function may return.
pub trait IntoDatum {
    const OID: Oid;
    fn returns(oid: Oid) -> bool {
        oid == Self::OID
    }
    fn into_datum(self) -> Result<Datum>;
}

#[cold]
#[inline(never)]
fn mismatch(wanted: &str, found: &Datum) -> SqlError {
    SqlError::internal(format!("expected a value of type {wanted}, found {found:?}"))
}

macro_rules! by_value {
    ($($rust:ty, $oid:ident, $variant:ident($inner:ident) => $from:expr, $into:expr;)*) => {$(
        impl<'a> FromDatum<'a> for $rust {
            const OID: Oid = Oid::$oid;
            #[inline]
            fn from_datum(datum: &'a Datum) -> Result<Self> {
                match datum {
                    Datum::$variant($inner) => Ok($from),
                    other => Err(mismatch(stringify!($rust), other)),
                }
            }
        }
        impl IntoDatum for $rust {
            const OID: Oid = Oid::$oid;
            #[inline]
            fn into_datum(self) -> Result<Datum> {
                let $inner = self;
                Ok(Datum::$variant($into))
            }
        }
    )*};
}

by_value! {
    bool, BOOL, Bool(value) => *value, value;
    i16, INT2, Int2(value) => *value, value;
    i32, INT4, Int4(value) => *value, value;
    i64, INT8, Int8(value) => *value, value;
    f32, FLOAT4, Float4(value) => *value, value;
    f64, FLOAT8, Float8(value) => *value, value;
    Char, CHAR, Char(value) => Char(*value), value.0;
    Date, DATE, Date(value) => Date(*value), value.0;
    Time, TIME, Time(value) => Time(*value), value.0;
    Timestamp, TIMESTAMP, Timestamp(value) => Timestamp(*value), value.0;
    TimestampTz, TIMESTAMPTZ, TimestampTz(value) => TimestampTz(*value), value.0;
    Interval, INTERVAL, Interval(value) => *value, value;
    Uuid, UUID, Uuid(value) => Uuid(*value), value.0;
}

/// Types whose values are [`Datum::Oid`].
pub fn is_oid_like(oid: Oid) -> bool {
    matches!(
        oid,
        Oid::OID | Oid::XID | Oid::REGPROC | Oid::REGCLASS | Oid::REGTYPE | Oid::REGROLE | Oid::REGNAMESPACE
    )
}

/// Types whose values are [`Datum::Text`].
pub fn is_text_like(oid: Oid) -> bool {
    matches!(
        oid,
        Oid::TEXT
            | Oid::VARCHAR
            | Oid::BPCHAR
            | Oid::NAME
            | Oid::JSON
            | Oid::CSTRING
            | Oid::UNKNOWN
            | Oid::PG_NODE_TREE
            | Oid::ACLITEM
    )
}

/// Array types, polymorphic ones among them.
pub fn is_array(oid: Oid) -> bool {
    matches!(oid, Oid::ANYARRAY | Oid::ANYCOMPATIBLEARRAY | Oid::INT2VECTOR | Oid::OIDVECTOR)
        || basalt_types::sql_type::type_info(oid).is_some_and(|info| info.element != Oid(0))
}

impl<'a> FromDatum<'a> for Oid {
    const OID: Oid = Oid::OID;
    fn accepts(oid: Oid) -> bool {
        is_oid_like(oid)
    }
    #[inline]
    fn from_datum(datum: &'a Datum) -> Result<Self> {
        match datum {
            Datum::Oid(value) => Ok(*value),
            other => Err(mismatch("oid", other)),
        }
    }
}

impl IntoDatum for Oid {
    const OID: Oid = Oid::OID;
    fn returns(oid: Oid) -> bool {
        is_oid_like(oid)
    }
    #[inline]
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::Oid(self))
    }
}

impl<'a> FromDatum<'a> for &'a Numeric {
    const OID: Oid = Oid::NUMERIC;
    #[inline]
    fn from_datum(datum: &'a Datum) -> Result<Self> {
        match datum {
            Datum::Numeric(value) => Ok(value),
            other => Err(mismatch("numeric", other)),
        }
    }
}

impl IntoDatum for Numeric {
    const OID: Oid = Oid::NUMERIC;
    #[inline]
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::Numeric(self))
    }
}

impl<'a> FromDatum<'a> for &'a str {
    const OID: Oid = Oid::TEXT;
    fn accepts(oid: Oid) -> bool {
        is_text_like(oid)
    }
    #[inline]
    fn from_datum(datum: &'a Datum) -> Result<Self> {
        match datum {
            Datum::Text(value) => Ok(value),
            other => Err(mismatch("text", other)),
        }
    }
}

impl<'a> FromDatum<'a> for &'a [u8] {
    const OID: Oid = Oid::BYTEA;
    #[inline]
    fn from_datum(datum: &'a Datum) -> Result<Self> {
        match datum {
            Datum::Bytea(value) => Ok(value),
            other => Err(mismatch("bytea", other)),
        }
    }
}

impl<'a> FromDatum<'a> for &'a Array {
    const OID: Oid = Oid::ANYARRAY;
    fn accepts(oid: Oid) -> bool {
        is_array(oid)
    }
    #[inline]
    fn from_datum(datum: &'a Datum) -> Result<Self> {
        match datum {
            Datum::Array(value) => Ok(value),
            other => Err(mismatch("anyarray", other)),
        }
    }
}

impl<'a> FromDatum<'a> for Fields<'a> {
    const OID: Oid = Oid::RECORD;
    #[inline]
    fn from_datum(datum: &'a Datum) -> Result<Self> {
        match datum {
            Datum::Record(value) => Ok(Self(value)),
            other => Err(mismatch("record", other)),
        }
    }
}

/// Any value, NULL included.
impl<'a> FromDatum<'a> for &'a Datum {
    const OID: Oid = Oid::ANYELEMENT;
    const NULLABLE: bool = true;
    fn accepts(_: Oid) -> bool {
        true
    }
    #[inline]
    fn from_datum(datum: &'a Datum) -> Result<Self> {
        Ok(datum)
    }
}

impl<'a, T: FromDatum<'a>> FromDatum<'a> for Option<T> {
    const OID: Oid = T::OID;
    const NULLABLE: bool = true;
    fn accepts(oid: Oid) -> bool {
        T::accepts(oid)
    }
    #[inline]
    fn from_datum(datum: &'a Datum) -> Result<Self> {
        if datum.is_null() { Ok(None) } else { T::from_datum(datum).map(Some) }
    }
}

macro_rules! text_results {
    ($($rust:ty),*) => {$(
        impl IntoDatum for $rust {
            const OID: Oid = Oid::TEXT;
            fn returns(oid: Oid) -> bool {
                is_text_like(oid)
            }
            fn into_datum(self) -> Result<Datum> {
                Ok(Datum::Text(self.into()))
            }
        }
    )*};
}

text_results!(String, &str, Arc<str>);

impl<'a> FromDatum<'a> for &'a Json {
    const OID: Oid = Oid::JSONB;
    #[inline]
    fn from_datum(datum: &'a Datum) -> Result<Self> {
        match datum {
            Datum::Jsonb(value) => Ok(value),
            other => Err(mismatch("jsonb", other)),
        }
    }
}

impl IntoDatum for Json {
    const OID: Oid = Oid::JSONB;
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::jsonb(self))
    }
}

impl IntoDatum for Vec<u8> {
    const OID: Oid = Oid::BYTEA;
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::Bytea(Bytes::from(self)))
    }
}

impl IntoDatum for Array {
    const OID: Oid = Oid::ANYARRAY;
    fn returns(oid: Oid) -> bool {
        is_array(oid)
    }
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::Array(Arc::new(self)))
    }
}

impl IntoDatum for Datum {
    const OID: Oid = Oid::ANYELEMENT;
    fn returns(_: Oid) -> bool {
        true
    }
    fn into_datum(self) -> Result<Datum> {
        Ok(self)
    }
}

impl<T: IntoDatum> IntoDatum for Option<T> {
    const OID: Oid = T::OID;
    fn returns(oid: Oid) -> bool {
        T::returns(oid)
    }
    #[inline]
    fn into_datum(self) -> Result<Datum> {
        self.map_or(Ok(Datum::Null), T::into_datum)
    }
}

impl<T: IntoDatum> IntoDatum for Result<T> {
    const OID: Oid = T::OID;
    fn returns(oid: Oid) -> bool {
        T::returns(oid)
    }
    #[inline]
    fn into_datum(self) -> Result<Datum> {
        self?.into_datum()
    }
}

/// What the Rust signature says of the SQL one.
pub struct Signature {
    pub args: Vec<Oid>,
    pub accepts: Vec<fn(Oid) -> bool>,
    /// Every argument may be NULL.
    pub nullable: bool,
    pub returns: fn(Oid) -> bool,
}

/// A Rust function over SQL values.
pub trait Typed<'a, Args> {
    fn invoke(self, args: &'a [Datum]) -> Result<Datum>;
    fn signature(&self) -> Signature;
}

/// A Rust function over SQL values that also reads its [`Call`].
pub trait TypedCall<'a, Args> {
    fn invoke(self, call: &'a Call<'a>, args: &'a [Datum]) -> Result<Datum>;
    fn signature(&self) -> Signature;
}

#[cold]
#[inline(never)]
fn wrong_count(wanted: usize, found: usize) -> SqlError {
    SqlError::internal(format!("a function of {wanted} arguments was called with {found}"))
}

macro_rules! arities {
    ($(($count:literal $(, $arg:ident)*);)*) => {$(
        impl<'a, F, R: IntoDatum, $($arg: FromDatum<'a>),*> Typed<'a, ($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> R,
        {
            #[inline]
            #[allow(non_snake_case, reason = "each type parameter names its argument too")]
            fn invoke(self, args: &'a [Datum]) -> Result<Datum> {
                let [$($arg),*] = args else { return Err(wrong_count($count, args.len())) };
                self($($arg::from_datum($arg)?),*).into_datum()
            }
            fn signature(&self) -> Signature {
                Signature { args: vec![$($arg::OID),*], accepts: vec![$($arg::accepts),*],
                    nullable: true $(&& $arg::NULLABLE)*, returns: R::returns }
            }
        }

        impl<'a, F, R: IntoDatum, $($arg: FromDatum<'a>),*> TypedCall<'a, ($($arg,)*)> for F
        where
            F: Fn(&'a Call<'a>, $($arg),*) -> R,
        {
            #[inline]
            #[allow(non_snake_case, reason = "each type parameter names its argument too")]
            fn invoke(self, call: &'a Call<'a>, args: &'a [Datum]) -> Result<Datum> {
                let [$($arg),*] = args else { return Err(wrong_count($count, args.len())) };
                self(call, $($arg::from_datum($arg)?),*).into_datum()
            }
            fn signature(&self) -> Signature {
                Signature { args: vec![$($arg::OID),*], accepts: vec![$($arg::accepts),*],
                    nullable: true $(&& $arg::NULLABLE)*, returns: R::returns }
            }
        }
    )*};
}

arities! {
    (0);
    (1, A);
    (2, A, B);
    (3, A, B, C);
    (4, A, B, C, D);
    (5, A, B, C, D, E);
    (6, A, B, C, D, E, G);
    (7, A, B, C, D, E, G, H);
}

#[inline]
pub fn invoke<'a, Args>(function: impl Typed<'a, Args>, args: &'a [Datum]) -> Result<Datum> {
    function.invoke(args)
}

#[inline]
pub fn invoke_call<'a, Args>(
    function: impl TypedCall<'a, Args>,
    call: &'a Call<'a>,
    args: &'a [Datum],
) -> Result<Datum> {
    function.invoke(call, args)
}

pub fn signature<'a, Args>(function: impl Typed<'a, Args>) -> Signature {
    function.signature()
}

pub fn signature_call<'a, Args>(function: impl TypedCall<'a, Args>) -> Signature {
    function.signature()
}
