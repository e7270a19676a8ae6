//! The stored form of descriptors: a version byte, a kind byte, then fields in order.
//!
//! Strings and lists carry a u32 length; numbers are big-endian; options are a presence byte and the value.
//! A new field gets a new version byte; old versions stay readable.

use std::{collections::BTreeMap, sync::Arc};

use basalt_planner::{
    Column, Index, IndexColumn, IndexState, Table, TableKind,
    catalog::{Check, ForeignKey, OnCommit, ReferentialAction, Sequence},
};
use basalt_types::{
    Datum, Result, SqlType,
    codec::row::{RowEncoder, RowView},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    fields::{Input, damaged, put_bool, put_bytes, put_list, put_option, put_string},
    snapshot::{Database, Descriptor, Schema},
};

/// Version 2 adds foreign keys, comments, ON COMMIT and sequences to tables; version 3 which constraints hold for all
/// rows; version 4 the states of indexes.
pub(crate) const VERSION: u8 = 4;
const KIND_DATABASE: u8 = 1;
const KIND_SCHEMA: u8 = 2;
const KIND_TABLE: u8 = 3;

pub fn encode(descriptor: &Descriptor) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    match descriptor {
        Descriptor::Database(database) => {
            out.put_u8(KIND_DATABASE);
            out.put_u32(database.id.0);
            put_string(&mut out, &database.name);
        }
        Descriptor::Schema(schema) => {
            out.put_u8(KIND_SCHEMA);
            out.put_u32(schema.id.0);
            out.put_u32(schema.database.0);
            put_string(&mut out, &schema.name);
        }
        Descriptor::Table(table) => {
            out.put_u8(KIND_TABLE);
            encode_table(&mut out, table);
        }
    }
    out.freeze()
}

pub fn decode(bytes: &Bytes) -> Result<Descriptor> {
    let mut input = Input(bytes.clone());
    let version = input.u8()?;
    if !(1..=VERSION).contains(&version) {
        return Err(damaged(format!("unknown descriptor version {version}")));
    }
    let descriptor = match input.u8()? {
        KIND_DATABASE => Descriptor::Database(Arc::new(Database { id: input.oid()?, name: input.string()? })),
        KIND_SCHEMA => Descriptor::Schema(Arc::new(Schema {
            id: input.oid()?,
            database: input.oid()?,
            name: input.string()?,
        })),
        KIND_TABLE => Descriptor::Table(Arc::new(decode_table(&mut input, version)?)),
        kind => return Err(damaged(format!("unknown descriptor kind {kind}"))),
    };
    if input.0.has_remaining() {
        return Err(damaged("descriptor has trailing bytes".to_owned()));
    }
    Ok(descriptor)
}

fn encode_table(out: &mut BytesMut, table: &Table) {
    out.put_u32(table.id.0);
    out.put_u64(table.version);
    out.put_u32(table.database.0);
    out.put_u32(table.schema_id.0);
    put_string(out, &table.schema);
    put_string(out, &table.name);
    match &table.kind {
        TableKind::Table => out.put_u8(0),
        TableKind::View { query } => {
            out.put_u8(1);
            put_string(out, query);
        }
        TableKind::Virtual => out.put_u8(2),
        TableKind::Sequence(sequence) => {
            out.put_u8(3);
            encode_sequence(out, sequence);
        }
        TableKind::Materialized { query, populated } => {
            out.put_u8(4);
            put_string(out, query);
            put_bool(out, *populated);
        }
    }
    put_list(out, &table.columns, encode_column);
    put_list(out, &table.indexes, encode_index);
    put_list(out, &table.checks, |out, check| {
        put_string(out, &check.name);
        put_string(out, &check.expression);
        put_bool(out, check.validated);
    });
    out.put_u32(table.next_column_id);
    out.put_u32(table.next_index_id);
    put_option(out, table.row_estimate.as_ref(), |out, rows| out.put_f64(*rows));
    put_list(out, &table.foreign_keys, encode_foreign_key);
    let comments: Vec<(u32, &String)> = table.comments.iter().map(|(id, text)| (*id, text)).collect();
    put_list(out, &comments, |out, (id, text)| {
        out.put_u32(*id);
        put_string(out, text);
    });
    out.put_u8(table.on_commit as u8);
}

fn encode_sequence(out: &mut BytesMut, sequence: &Sequence) {
    out.put_u32(sequence.ty.oid.0);
    for number in [sequence.start, sequence.increment, sequence.min, sequence.max, sequence.cache] {
        out.put_i64(number);
    }
    put_bool(out, sequence.cycle);
    put_option(out, sequence.owner.as_ref(), |out, (table, column)| {
        out.put_u32(table.0);
        out.put_u32(*column);
    });
    out.put_u32(sequence.generation);
    out.put_i64(sequence.first.0);
    put_bool(out, sequence.first.1);
}

fn decode_sequence(input: &mut Input) -> Result<Sequence> {
    Ok(Sequence {
        ty: SqlType::new(input.oid()?, -1),
        start: input.i64()?,
        increment: input.i64()?,
        min: input.i64()?,
        max: input.i64()?,
        cache: input.i64()?,
        cycle: input.bool()?,
        owner: input.option(|input| Ok((input.oid()?, input.u32()?)))?,
        generation: input.u32()?,
        first: (input.i64()?, input.bool()?),
    })
}

fn encode_foreign_key(out: &mut BytesMut, key: &ForeignKey) {
    out.put_u32(key.oid.0);
    put_string(out, &key.name);
    put_list(out, &key.columns, |out, column| out.put_u32(*column));
    out.put_u32(key.referenced.0);
    put_list(out, &key.referenced_columns, |out, column| out.put_u32(*column));
    out.put_u8(key.on_delete as u8);
    out.put_u8(key.on_update as u8);
    for flag in [key.match_full, key.deferrable, key.initially_deferred, key.validated] {
        put_bool(out, flag);
    }
}

fn decode_foreign_key(input: &mut Input, version: u8) -> Result<ForeignKey> {
    Ok(ForeignKey {
        oid: input.oid()?,
        name: input.string()?,
        columns: input.list(Input::u32)?,
        referenced: input.oid()?,
        referenced_columns: input.list(Input::u32)?,
        on_delete: decode_action(input)?,
        on_update: decode_action(input)?,
        match_full: input.bool()?,
        deferrable: input.bool()?,
        initially_deferred: input.bool()?,
        validated: version < 3 || input.bool()?,
    })
}

fn decode_action(input: &mut Input) -> Result<ReferentialAction> {
    Ok(match input.u8()? {
        0 => ReferentialAction::NoAction,
        1 => ReferentialAction::Restrict,
        2 => ReferentialAction::Cascade,
        3 => ReferentialAction::SetNull,
        4 => ReferentialAction::SetDefault,
        action => return Err(damaged(format!("unknown referential action {action}"))),
    })
}

fn decode_on_commit(input: &mut Input) -> Result<OnCommit> {
    Ok(match input.u8()? {
        0 => OnCommit::Preserve,
        1 => OnCommit::DeleteRows,
        2 => OnCommit::Drop,
        action => return Err(damaged(format!("unknown action at commit {action}"))),
    })
}

fn decode_table(input: &mut Input, version: u8) -> Result<Table> {
    let mut table = Table {
        id: input.oid()?,
        version: input.u64()?,
        database: input.oid()?,
        schema_id: input.oid()?,
        schema: input.string()?,
        name: input.string()?,
        kind: match input.u8()? {
            0 => TableKind::Table,
            1 => TableKind::View { query: input.string()? },
            2 => TableKind::Virtual,
            3 => TableKind::Sequence(decode_sequence(input)?),
            4 => TableKind::Materialized { query: input.string()?, populated: input.bool()? },
            kind => return Err(damaged(format!("unknown table kind {kind}"))),
        },
        columns: input.list(decode_column)?,
        indexes: input.list(|input| decode_index(input, version))?,
        checks: input.list(|input| {
            Ok(Check {
                name: input.string()?,
                expression: input.string()?,
                validated: version < 3 || input.bool()?,
            })
        })?,
        next_column_id: input.u32()?,
        next_index_id: input.u32()?,
        row_estimate: input.option(|input| Ok(f64::from_bits(input.u64()?)))?,
        foreign_keys: Vec::new(),
        comments: BTreeMap::new(),
        on_commit: OnCommit::Preserve,
    };
    if version >= 2 {
        table.foreign_keys = input.list(|input| decode_foreign_key(input, version))?;
        table.comments = input.list(|input| Ok((input.u32()?, input.string()?)))?.into_iter().collect();
        table.on_commit = decode_on_commit(input)?;
    }
    Ok(table)
}

fn encode_column(out: &mut BytesMut, column: &Column) {
    out.put_u32(column.id);
    put_string(out, &column.name);
    out.put_u32(column.ty.oid.0);
    out.put_i32(column.ty.typmod);
    put_bool(out, column.not_null);
    put_option(out, column.default.as_ref(), |out, text| put_string(out, text));
    put_option(out, column.missing_value.as_ref(), |out, datum| {
        put_bytes(out, &RowEncoder::encode(&[(column.id, column.ty, datum)]));
    });
    put_bool(out, column.hidden);
    put_option(out, column.identity_always.as_ref(), |out, always| put_bool(out, *always));
}

fn decode_column(input: &mut Input) -> Result<Column> {
    let id = input.u32()?;
    let name = input.string()?;
    let ty = SqlType::new(input.oid()?, input.u32()? as i32);
    Ok(Column {
        id,
        name,
        ty,
        not_null: input.bool()?,
        default: input.option(Input::string)?,
        missing_value: input.option(|input| {
            let bytes = input.bytes()?;
            Ok(RowView::new(&bytes)?.decode(id, ty)?.unwrap_or(Datum::Null))
        })?,
        hidden: input.bool()?,
        identity_always: input.option(Input::bool)?,
    })
}

pub(crate) fn encode_index(out: &mut BytesMut, index: &Index) {
    out.put_u32(index.id);
    out.put_u32(index.oid.0);
    put_string(out, &index.name);
    put_bool(out, index.unique);
    put_bool(out, index.primary);
    put_bool(out, index.constraint);
    put_list(out, &index.columns, |out, column| {
        out.put_u32(column.column);
        put_bool(out, column.descending);
    });
    put_list(out, &index.stored, |out, column| out.put_u32(*column));
    out.put_u8(match index.state {
        IndexState::Public => 0,
        IndexState::WriteOnly => 1,
    });
}

pub(crate) fn decode_index(input: &mut Input, version: u8) -> Result<Index> {
    Ok(Index {
        id: input.u32()?,
        oid: input.oid()?,
        name: input.string()?,
        unique: input.bool()?,
        primary: input.bool()?,
        constraint: input.bool()?,
        columns: input.list(|input| Ok(IndexColumn { column: input.u32()?, descending: input.bool()? }))?,
        stored: input.list(Input::u32)?,
        state: if version < 4 { IndexState::Public } else { decode_index_state(input)? },
    })
}

fn decode_index_state(input: &mut Input) -> Result<IndexState> {
    Ok(match input.u8()? {
        0 => IndexState::Public,
        1 => IndexState::WriteOnly,
        state => return Err(damaged(format!("unknown state of an index {state}"))),
    })
}
