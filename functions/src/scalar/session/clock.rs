//! The current time: of the transaction, the statement, or the moment.

use basalt_types::datetime::{MICROS_PER_DAY, timestamptz_to_timestamp};
use basalt_types::{Datum, Oid, Result};

use crate::builder::{Builder, Extension, call_scalars};
use crate::value::TimestampTz;
use crate::{Call, FunctionKind, ScalarFn, Volatility};

pub fn register(builder: &mut Builder) {
    call_scalars!(builder, {
        "now" => |call: &Call<'_>| TimestampTz(call.context.transaction_micros),
        "transaction_timestamp" => |call: &Call<'_>| TimestampTz(call.context.transaction_micros),
        "statement_timestamp" => |call: &Call<'_>| TimestampTz(call.context.statement_micros),
        "clock_timestamp" => |call: &Call<'_>| TimestampTz(call.context.session.clock_micros()),
    });
    // Written without parentheses in SQL; the binder finds them by these names and applies a precision as a modifier.
    let keywords: [(u32, &'static str, Oid, ScalarFn); 4] = [
        (90_001, "current_date", Oid::DATE, current_date),
        (90_002, "localtime", Oid::TIME, local_time),
        (90_003, "localtimestamp", Oid::TIMESTAMP, local_timestamp),
        (90_004, "current_timestamp", Oid::TIMESTAMPTZ, |call, _| {
            Ok(Datum::TimestampTz(call.context.transaction_micros))
        }),
    ];
    for (oid, name, returns, function) in keywords {
        builder.extension(Extension {
            oid: Oid(oid),
            name,
            args: vec![],
            returns,
            strict: true,
            volatility: Volatility::Stable,
            kind: FunctionKind::Scalar(function),
        });
    }
}

fn local(call: &Call<'_>) -> Result<i64> {
    timestamptz_to_timestamp(call.context.transaction_micros, &call.context.io.time_zone)
}

fn current_date(call: &Call<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Date(local(call)?.div_euclid(MICROS_PER_DAY) as i32))
}

fn local_time(call: &Call<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Time(local(call)?.rem_euclid(MICROS_PER_DAY)))
}

fn local_timestamp(call: &Call<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Timestamp(local(call)?))
}
