//! Who and where the session is, its settings, and random values.

use basalt_types::{Array, Datum, Oid, Result, SqlError, SqlState, SqlType, format_type};

use crate::Call;
use crate::builder::{Builder, Extension, call_scalars, raw_scalars, scalars};
use crate::value::Uuid;
use crate::{FunctionKind, Volatility};

pub fn register(builder: &mut Builder) {
    call_scalars!(builder, {
        "version" => version,
        "current_database" => |call: &Call<'_>| call.context.session.current_database(),
        "current_schema" => |call: &Call<'_>| call.context.session.current_schemas(false).into_iter().next(),
        "current_schemas" => current_schemas,
        "current_user" => |call: &Call<'_>| call.context.session.current_user(),
        "getpgusername" => |call: &Call<'_>| call.context.session.current_user(),
        "session_user" => |call: &Call<'_>| call.context.session.session_user(),
        "pg_backend_pid" => |call: &Call<'_>| call.context.session.backend_pid(),
        "current_setting(text)" => |call: &Call<'_>, name: &str| current_setting(call, name, false),
        "current_setting(text,bool)" => current_setting,
        "set_config" => set_config,
        "lastval" => last_value,
    });
    raw_scalars!(builder, { "pg_typeof" => type_of });
    scalars!(builder, {
        "format_type" => |oid: Option<Oid>, typmod: Option<i32>| oid.map(|oid| match typmod {
            Some(typmod) => format_type(SqlType::new(oid, typmod)),
            None => crate::type_words(oid),
        }),
        "pg_is_in_recovery" => || false,
        "pg_jit_available" => || false,
        "pg_trigger_depth" => || 0,
        "inet_server_port" => || None::<i32>,
        "inet_client_port" => || None::<i32>,
        "getdatabaseencoding" => || "UTF8",
        "pg_client_encoding" => || "UTF8",
    });
    call_scalars!(builder, {
        "random" => |call: &Call<'_>| (call.context.session.random_u64() >> 11) as f64 / (1u64 << 53) as f64,
        "gen_random_uuid" => random_uuid,
    });
    // Their type, inet, is not there yet; the value over a local connection is NULL anyway.
    for (oid, name) in [(2196, "inet_client_addr"), (2198, "inet_server_addr")] {
        builder.extension(Extension {
            oid: Oid(oid),
            name,
            args: vec![],
            returns: Oid::TEXT,
            strict: false,
            volatility: Volatility::Stable,
            kind: FunctionKind::Scalar(|_, _| Ok(Datum::Null)),
        });
    }
}

fn version(call: &Call<'_>) -> String {
    let server_version = call.context.session.setting("server_version").unwrap_or_else(|| "15.0".into());
    format!("PostgreSQL {server_version} (Basalt {})", env!("CARGO_PKG_VERSION"))
}

fn current_schemas(call: &Call<'_>, implicit: bool) -> Array {
    let schemas = call.context.session.current_schemas(implicit);
    Array::from_elements(Oid::NAME, schemas.into_iter().map(Datum::text).collect())
}

fn current_setting(call: &Call<'_>, name: &str, missing_ok: bool) -> Result<Option<String>> {
    match call.context.session.setting(name) {
        None if !missing_ok => Err(SqlError::new(
            SqlState::UNDEFINED_OBJECT,
            format!("unrecognized configuration parameter \"{name}\""),
        )),
        value => Ok(value),
    }
}

fn set_config(
    call: &Call<'_>,
    name: Option<&str>,
    value: Option<&str>,
    local: Option<bool>,
) -> Result<String> {
    let name =
        name.ok_or_else(|| SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name"))?;
    call.context.session.set_setting(name, value.unwrap_or_default(), local.unwrap_or(false))
}

fn last_value(call: &Call<'_>) -> Result<i64> {
    call.context.session.last_value().ok_or_else(|| {
        SqlError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "lastval is not yet defined in this session",
        )
    })
}

fn type_of(call: &Call<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(call.arg_types.first().map_or(Datum::Null, |arg| Datum::Oid(arg.oid)))
}

/// Version 4.
fn random_uuid(call: &Call<'_>) -> Uuid {
    let session = &call.context.session;
    let mut bits = u128::from(session.random_u64()) << 64 | u128::from(session.random_u64());
    bits = bits & !(0xf << 76) | 4 << 76;
    bits = bits & !(0b11 << 62) | 0b10 << 62;
    Uuid(bits.to_be_bytes())
}
