//! The encoding of single values, and macros for structures and variants.
//!
//! The macros take types apart with patterns that name everything: a new field or variant does not compile until it is
//! in the list of its encoding.

use std::{borrow::Cow, time::Duration};

use basalt_base::{NodeId, RangeId, ReplicaId, Span, StoreId, Timestamp, TxnId, limits::KEY_BYTES_MAX};
use bytes::{BufMut, Bytes, BytesMut};

use super::{Input, WireError, put_bytes};

/// Items of one list. Some take a single byte on the wire and a hundred here.
const ITEMS_MAX: usize = 4 << 20;
/// Items for which a list makes room before it has seen them.
const ITEMS_RESERVED_MAX: usize = 256;

/// A value with a flat encoding.
pub trait Wire: Sized {
    /// Fails for what can't be sent; `out` is then of no use.
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError>;
    fn take(input: &mut Input) -> Result<Self, WireError>;
}

/// Encodes a structure as its fields, in this order.
macro_rules! wire_struct {
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl $crate::wire::Wire for $type {
            fn put(&self, out: &mut bytes::BytesMut) -> Result<(), $crate::wire::WireError> {
                let Self { $($field),* } = self;
                $($crate::wire::Wire::put($field, out)?;)*
                Ok(())
            }

            fn take(input: &mut $crate::wire::Input) -> Result<Self, $crate::wire::WireError> {
                Ok(Self { $($field: $crate::wire::Wire::take(input)?),* })
            }
        }
    };
}

/// Encodes a variant as its tag and its fields. Fields behind a semicolon are not sent and have their default then;
/// `instead` names variants that are sent as others.
macro_rules! wire_enum {
    ($type:ty {
        $($tag:literal => $variant:ident
            $({ $($field:ident),* $(; $left_out:ident)? })?
            $(( $($item:ident),* ))?,)*
    } $(instead { $($pattern:pat => $other:expr),+ })?) => {
        impl $crate::wire::Wire for $type {
            fn put(&self, out: &mut bytes::BytesMut) -> Result<(), $crate::wire::WireError> {
                match self {
                    $(Self::$variant $({ $($field,)* $($left_out: _)? })? $(($($item),*))? => {
                        bytes::BufMut::put_u8(out, $tag);
                        $($($crate::wire::Wire::put($field, out)?;)*)?
                        $($($crate::wire::Wire::put($item, out)?;)*)?
                    })*
                    $($($pattern => $crate::wire::Wire::put(&$other, out)?,)+)?
                }
                Ok(())
            }

            fn take(input: &mut $crate::wire::Input) -> Result<Self, $crate::wire::WireError> {
                Ok(match input.u8()? {
                    $($tag => Self::$variant
                        $({
                            $($field: $crate::wire::Wire::take(input)?,)*
                            $($left_out: Default::default(),)?
                        })?
                        $(($({
                            let $item = $crate::wire::Wire::take(input)?;
                            $item
                        }),*))?,)*
                    _ => return Err(input.error()),
                })
            }
        }

        #[cfg(test)]
        impl $crate::wire::tests::Tagged for $type {
            const TAGS: &'static [(u8, &'static str)] = &[$(($tag, stringify!($variant))),*];
        }
    };
}

pub(super) use {wire_enum, wire_struct};

macro_rules! wire_integer {
    ($($type:ty => $put:ident, $take:ident;)*) => {
        $(impl Wire for $type {
            fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
                out.$put(*self);
                Ok(())
            }

            fn take(input: &mut Input) -> Result<Self, WireError> {
                input.$take()
            }
        })*
    };
}

wire_integer! {
    u8 => put_u8, u8;
    u32 => put_u32, u32;
    u64 => put_u64, u64;
    i64 => put_i64, i64;
    u128 => put_u128, u128;
}

macro_rules! wire_newtype {
    ($($type:ident($inner:ty);)*) => {
        $(impl Wire for $type {
            fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
                self.0.put(out)
            }

            fn take(input: &mut Input) -> Result<Self, WireError> {
                <$inner>::take(input).map(Self)
            }
        })*
    };
}

wire_newtype! {
    Timestamp(u64);
    NodeId(u64);
    StoreId(u64);
    RangeId(u64);
    ReplicaId(u64);
    TxnId(u128);
}

impl Wire for bool {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        out.put_u8(u8::from(*self));
        Ok(())
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        match input.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(input.error()),
        }
    }
}

impl Wire for Duration {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        out.put_u64(self.as_secs());
        out.put_u32(self.subsec_nanos());
        Ok(())
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        let (seconds, nanos) = (input.u64()?, input.u32()?);
        if nanos < 1_000_000_000 { Ok(Self::new(seconds, nanos)) } else { Err(input.error()) }
    }
}

impl Wire for Bytes {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        put_bytes(out, self);
        Ok(())
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        let bytes = input.bytes()?;
        Ok(if bytes.len() <= KEY_BYTES_MAX { Self::copy_from_slice(&bytes) } else { bytes })
    }
}

impl Wire for String {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        put_bytes(out, self.as_bytes());
        Ok(())
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        let bytes = input.bytes()?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| input.error())
    }
}

impl Wire for Cow<'static, str> {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        put_bytes(out, self.as_bytes());
        Ok(())
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        String::take(input).map(Self::Owned)
    }
}

impl Wire for Span {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        let Self { start, end } = self;
        start.put(out)?;
        end.put(out)
    }

    /// Refuses spans that end before they start: no interval of a map begins so.
    fn take(input: &mut Input) -> Result<Self, WireError> {
        let span = Self::new(Bytes::take(input)?, Bytes::take(input)?);
        if span.start <= span.end { Ok(span) } else { Err(input.error()) }
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        self.is_some().put(out)?;
        self.iter().try_for_each(|value| value.put(out))
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        Ok(if bool::take(input)? { Some(T::take(input)?) } else { None })
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        self.0.put(out)?;
        self.1.put(out)
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        Ok((A::take(input)?, B::take(input)?))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        let count = u32::try_from(self.len()).ok().filter(|_| self.len() <= ITEMS_MAX);
        out.put_u32(count.ok_or(WireError("list, too long"))?);
        self.iter().try_for_each(|item| item.put(out))
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        // No item is empty.
        let count = input.count(1)?;
        if count > ITEMS_MAX {
            return Err(input.error());
        }
        let mut items = Self::with_capacity(count.min(ITEMS_RESERVED_MAX));
        for _ in 0..count {
            items.push(T::take(input)?);
        }
        Ok(items)
    }
}
