//! Foreign keys: what a change of rows means for the rows that refer to them, and the other way round.
//!
//! The guarantee is that no committed row refers to nothing. Checks run at the end of the statement (a row may refer to
//! one that the same statement inserts) or, when deferred, before the commit. Whoever refers locks the key referred to,
//! so that it cannot go meanwhile; whoever removes a key reads where rows would refer to it, and that read is part of
//! what a serializable transaction has seen, so that nobody can add one behind its back.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    sync::Arc,
};

use basalt_base::{Key, Span};
use basalt_functions::{Call, CastContext};
use basalt_kv_api::{LockStrength, ScanBatch};
use basalt_planner::{
    Table,
    catalog::{ForeignKey, ReferentialAction},
};
use basalt_txn::{ReadOptions, ScanRequest};
use basalt_types::{
    Datum, Oid, Result, Row, SqlError, SqlState, SqlType, codec::key::encode_key_column, text_out,
};
use bytes::{Bytes, BytesMut};

use super::{ExecContext, eval, write::TableWriter};
use crate::{
    catalog::CatalogSnapshot,
    error::sql_error,
    layout::{EntryCodec, index_span},
};

/// Rows read at a time.
const PAGE_ROWS: u64 = 1_000;
/// Keys looked up together.
const BATCH_KEYS: usize = 500;
/// Rows that one statement may change through cascades before it is taken for endless.
const CASCADES_MAX: usize = 10_000_000;

/// A foreign key with both of its tables.
#[derive(Debug)]
pub struct Reference {
    pub key: ForeignKey,
    child: Arc<Table>,
    parent: Arc<Table>,
    /// Positions of the key's columns in rows of either table.
    child_positions: Vec<usize>,
    parent_positions: Vec<usize>,
    parent_codec: EntryCodec,
    /// For each column of the parent's unique index, which of the key's columns it is.
    parent_order: Vec<usize>,
    /// An index of the child that begins with the key's columns, in this order.
    child_index: Option<(usize, Vec<usize>)>,
}

/// Something to be checked or done before the change is complete.
#[derive(Clone, Debug)]
pub enum Consequence {
    /// A row now has these values in the referring columns.
    Refers(Arc<Reference>, Row),
    /// The key with these values is gone; after an update, it is now another.
    Gone { reference: Arc<Reference>, old: Row, new: Option<Row> },
}

impl Consequence {
    pub(crate) fn reference(&self) -> &Arc<Reference> {
        match self {
            Self::Refers(reference, _) | Self::Gone { reference, .. } => reference,
        }
    }

    /// The table whose rows were changed.
    pub(crate) fn changed_table(&self) -> Oid {
        match self {
            Self::Refers(reference, _) => reference.child.id,
            Self::Gone { reference, .. } => reference.parent.id,
        }
    }
}

impl Reference {
    pub fn new(child: &Arc<Table>, parent: &Arc<Table>, key: &ForeignKey) -> Result<Self> {
        let damaged = || SqlError::internal(format!("foreign key \"{}\" names no columns", key.name));
        let positions = |table: &Table, ids: &[u32]| -> Result<Vec<usize>> {
            ids.iter().map(|id| table.position(*id).ok_or_else(damaged)).collect()
        };
        let parent_index = parent.unique_index(&key.referenced_columns).ok_or_else(damaged)?;
        let order_of = |columns: &[u32], wanted: &[u32]| -> Option<Vec<usize>> {
            columns.iter().map(|id| wanted.iter().position(|other| other == id)).collect()
        };
        let parent_columns: Vec<u32> =
            parent.indexes[parent_index].columns.iter().map(|column| column.column).collect();
        let parent_order = order_of(&parent_columns, &key.referenced_columns).ok_or_else(damaged)?;
        let readable = child.indexes.iter().enumerate().filter(|(_, index)| index.is_public());
        let child_index = readable.into_iter().find_map(|(position, index)| {
            let first: Vec<u32> =
                index.columns.iter().take(key.columns.len()).map(|column| column.column).collect();
            (first.len() == key.columns.len()).then_some(())?;
            order_of(&first, &key.columns).map(|order| (position, order))
        });
        Ok(Self {
            key: key.clone(),
            child_positions: positions(child, &key.columns)?,
            parent_positions: positions(parent, &key.referenced_columns)?,
            parent_codec: EntryCodec::new(parent, parent_index),
            parent_order,
            child_index,
            child: child.clone(),
            parent: parent.clone(),
        })
    }

    /// The same foreign key over the tables as they are now; `None` when it is gone.
    fn current(self: &Arc<Self>, catalog: &CatalogSnapshot) -> Result<Option<Arc<Self>>> {
        let tables = &catalog.tables;
        let (Some(child), Some(parent)) = (tables.get(&self.child.id), tables.get(&self.parent.id)) else {
            return Ok(None);
        };
        if (child.version, parent.version) == (self.child.version, self.parent.version) {
            return Ok(Some(self.clone()));
        }
        let key = child.foreign_keys.iter().find(|key| key.oid == self.key.oid);
        key.map(|key| Self::new(child, parent, key).map(Arc::new)).transpose()
    }

    /// The referring values of a row of the child.
    pub fn values(&self, row: &[Datum]) -> Row {
        self.child_positions.iter().map(|&position| row[position].clone()).collect()
    }

    /// The values referred to of a row of the parent.
    pub fn referred(&self, row: &[Datum]) -> Row {
        self.parent_positions.iter().map(|&position| row[position].clone()).collect()
    }

    /// What an inserted or updated row of the child means; nothing when it refers to nothing.
    pub fn refers(self: &Arc<Self>, row: &[Datum]) -> Option<Consequence> {
        let values = self.values(row);
        let nulls = values.iter().filter(|value| value.is_null()).count();
        let refers = if self.key.match_full { nulls < values.len() } else { nulls == 0 };
        refers.then(|| Consequence::Refers(self.clone(), values))
    }

    /// What a removed or changed row of the parent means; nothing when nobody can have referred to it.
    pub fn gone(self: &Arc<Self>, old: &[Datum], new: Option<&[Datum]>) -> Option<Consequence> {
        let old = self.referred(old);
        let new = new.map(|row| self.referred(row));
        let same = new.as_ref().is_some_and(|new| self.parent_key(new) == self.parent_key(&old));
        if old.iter().any(Datum::is_null) || same {
            return None;
        }
        Some(Consequence::Gone { reference: self.clone(), old, new })
    }

    fn parent_types(&self) -> impl Iterator<Item = SqlType> + '_ {
        self.parent_positions.iter().map(|&position| self.parent.columns[position].ty)
    }

    fn child_types(&self) -> impl Iterator<Item = SqlType> + '_ {
        self.child_positions.iter().map(|&position| self.child.columns[position].ty)
    }

    /// The entry of the parent's unique index with these values (of the parent's types).
    fn parent_key(&self, values: &[Datum]) -> Key {
        let ordered: Row = self.parent_order.iter().map(|&position| values[position].clone()).collect();
        self.parent_codec.key_of(&ordered)
    }

    /// Fails unless every one of the values (of the child's types) is a key of the parent.
    pub async fn check(&self, context: &ExecContext, rows: Vec<Row>) -> Result<()> {
        for chunk in rows.chunks(BATCH_KEYS) {
            if let Some(row) = self.missing(context, chunk).await?.first() {
                return Err(self.not_present(context, row));
            }
        }
        Ok(())
    }

    /// Those of the values that are no key of the parent.
    async fn missing(&self, context: &ExecContext, rows: &[Row]) -> Result<Vec<Row>> {
        let mut missing = Vec::new();
        let mut keys: Vec<(Key, usize)> = Vec::with_capacity(rows.len());
        for (position, row) in rows.iter().enumerate() {
            if row.iter().any(Datum::is_null) {
                // MATCH FULL takes all or none of them.
                if self.key.match_full && row.iter().any(|value| !value.is_null()) {
                    missing.push(row.clone());
                }
                continue;
            }
            match convert(context, row, self.child_types(), self.parent_types()) {
                Some(values) => keys.push((self.parent_key(&values), position)),
                None => missing.push(row.clone()),
            }
        }
        keys.sort();
        keys.dedup_by(|a, b| a.0 == b.0);
        let (keys, positions): (Vec<Key>, Vec<usize>) = keys.into_iter().unzip();
        let read = ReadOptions { latest: true, ..ReadOptions::locking(LockStrength::Shared) };
        let found = match &keys[..] {
            [] => Vec::new(),
            [key] => vec![context.txn.get(key, read).await.map_err(sql_error)?],
            keys => context.txn.get_many(keys, read).await.map_err(sql_error)?,
        };
        for (found, position) in found.into_iter().zip(positions) {
            if found.is_none() {
                missing.push(rows[position].clone());
            }
        }
        Ok(missing)
    }

    /// Rows of the child that refer to the values (of the parent's types); only the first when `one` is enough.
    async fn referring(&self, context: &ExecContext, values: &[Datum], one: bool) -> Result<Vec<Row>> {
        let Some(values) = convert(context, values, self.parent_types(), self.child_types()) else {
            return Ok(Vec::new());
        };
        self.rows_with(context, &values, one).await
    }

    /// Rows of the child with these values (of the child's types).
    async fn rows_with(&self, context: &ExecContext, values: &[Datum], one: bool) -> Result<Vec<Row>> {
        let primary = EntryCodec::new(&self.child, 0);
        let wanted: Vec<usize> = (0..self.child.columns.len()).collect();
        let mut rows = Vec::new();
        let types: Vec<SqlType> = self.child_types().collect();
        let encoded: Vec<Bytes> = values.iter().zip(&types).map(|(v, ty)| encode(v, *ty)).collect();
        let (codec, span) = match &self.child_index {
            Some((index, order)) => {
                let codec = EntryCodec::new(&self.child, *index);
                let ordered: Row = order.iter().map(|&position| values[position].clone()).collect();
                let span = Span::prefix(codec.key_of(&ordered));
                (codec, span)
            }
            None => (primary.clone(), index_span(self.child.id, self.child.primary().id)),
        };
        let is_primary = self.child_index.as_ref().is_none_or(|(index, _)| *index == 0);
        let mut span = Some(span);
        while let Some(next) = span {
            let mut request = ScanRequest::new(next);
            request.rows_max = if one && self.child_index.is_some() { 1 } else { PAGE_ROWS };
            request.read = ReadOptions::LATEST;
            let page = context.txn.scan(request).await.map_err(sql_error)?;
            let ScanBatch::Rows(entries) = page.batch else { return Ok(rows) };
            for (key, value) in entries {
                let mut row = Row::new();
                if is_primary {
                    primary.decode_into(&key, &value, &wanted, &mut row)?;
                } else {
                    let key = codec.primary_key_of(&key, &value, &primary)?;
                    let stored = context.txn.get(&key, ReadOptions::LATEST).await.map_err(sql_error)?;
                    let Some(stored) = stored else { continue };
                    primary.decode_into(&key, &stored, &wanted, &mut row)?;
                }
                let own = self.child_positions.iter().zip(&types).map(|(&at, ty)| encode(&row[at], *ty));
                if own.eq(encoded.iter().cloned()) {
                    rows.push(row);
                    if one {
                        return Ok(rows);
                    }
                }
            }
            context.cancel.check()?;
            span = page.resume;
        }
        Ok(rows)
    }

    fn print(&self, context: &ExecContext, values: &[Datum], table: &Table, positions: &[usize]) -> String {
        let names: Vec<&str> = positions.iter().map(|&position| &table.columns[position].name[..]).collect();
        let texts = values.iter().zip(positions).map(|(value, &position)| {
            let mut text = String::new();
            match value {
                Datum::Null => text.push_str("null"),
                value => text_out(value, table.columns[position].ty, &context.eval.io, &mut text),
            }
            text
        });
        format!("({})=({})", names.join(", "), texts.collect::<Vec<_>>().join(", "))
    }

    fn violation(&self, message: String, table: &Table) -> SqlError {
        SqlError::new(SqlState::FOREIGN_KEY_VIOLATION, message)
            .with_table(&table.schema, &table.name)
            .with_constraint(&self.key.name)
    }

    fn not_present(&self, context: &ExecContext, values: &[Datum]) -> SqlError {
        let message = format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
            self.child.name, self.key.name
        );
        let error = self.violation(message, &self.child);
        if values.iter().any(Datum::is_null) {
            return error.with_detail("MATCH FULL does not allow mixing of null and nonnull key values.");
        }
        error.with_detail(format!(
            "Key {} is not present in table \"{}\".",
            self.print(context, values, &self.child, &self.child_positions),
            self.parent.name
        ))
    }

    fn still_referenced(&self, context: &ExecContext, values: &[Datum]) -> SqlError {
        let message = format!(
            "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
            self.parent.name, self.key.name, self.child.name
        );
        self.violation(message, &self.child).with_detail(format!(
            "Key {} is still referenced from table \"{}\".",
            self.print(context, values, &self.parent, &self.parent_positions),
            self.child.name
        ))
    }
}

fn encode(value: &Datum, ty: SqlType) -> Bytes {
    let mut out = BytesMut::new();
    encode_key_column(&mut out, value, ty, false);
    out.freeze()
}

/// Values of one side as the types of the other; `None` when they do not fit, so that nothing can be equal.
fn convert(
    context: &ExecContext,
    values: &[Datum],
    from: impl Iterator<Item = SqlType>,
    to: impl Iterator<Item = SqlType>,
) -> Option<Row> {
    values
        .iter()
        .zip(from.zip(to))
        .map(|(value, (from, to))| {
            if from.oid == to.oid {
                return Some(value.clone());
            }
            let method = basalt_functions::find_cast(from.oid, to.oid, CastContext::Assignment)?;
            let call = Call { context: &context.eval, arg_types: &[from], return_type: to.bare() };
            method.apply(&call, value).ok()
        })
        .collect()
}

/// Runs what a statement's changes have as consequence: checks, cascades, and the cascades' own consequences.
pub async fn complete(context: &ExecContext, consequences: Vec<Consequence>) -> Result<()> {
    let mut waiting: VecDeque<Consequence> = consequences.into();
    // Checks look at the state after all cascades of the statement.
    let mut checks = Vec::new();
    let mut done = 0;
    while let Some(next) = waiting.pop_front() {
        done += 1;
        if done > CASCADES_MAX {
            return Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "too many rows are changed through foreign keys",
            ));
        }
        if done % 256 == 0 {
            context.cancel.check()?;
        }
        let Consequence::Gone { reference, old, new } = &next else {
            checks.push(next);
            continue;
        };
        let key = &reference.key;
        let action = if new.is_some() { key.on_update } else { key.on_delete };
        match action {
            ReferentialAction::NoAction | ReferentialAction::Restrict => checks.push(next),
            ReferentialAction::Cascade | ReferentialAction::SetNull | ReferentialAction::SetDefault => {
                let rows = reference.referring(context, old, false).await?;
                if !rows.is_empty() {
                    waiting.extend(cascade(context, reference, action, rows, new.as_ref()).await?);
                }
            }
        }
    }
    let (deferred, immediate): (Vec<_>, Vec<_>) =
        checks.into_iter().partition(|check| context.deferred.lock().defers(check));
    verify(context, immediate).await?;
    context.deferred.lock().add(deferred)
}

/// Applies an action to the rows that referred to a key, and says what follows from that.
async fn cascade(
    context: &ExecContext,
    reference: &Reference,
    action: ReferentialAction,
    rows: Vec<Row>,
    new: Option<&Row>,
) -> Result<Vec<Consequence>> {
    // Descriptors of a cascade are those of the statement: their tables are locked with it.
    let child = &reference.child;
    let mut writer = TableWriter::new(child, context.tables.checks(child, context)?, context.clone())?;
    let mut follow = Vec::new();
    let incoming = context.tables.referring(child)?;
    if action == ReferentialAction::Cascade && new.is_none() {
        for chunk in rows.chunks(BATCH_KEYS) {
            for row in chunk {
                writer.delete(row).await?;
                follow.extend(incoming.iter().filter_map(|other| other.gone(row, None)));
            }
            context.txn.flush_if_needed().await.map_err(sql_error)?;
        }
        return Ok(follow);
    }
    let mut values: Row = match (action, new) {
        (ReferentialAction::Cascade, Some(new)) => {
            convert(context, new, reference.parent_types(), reference.child_types()).ok_or_else(|| {
                SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range in cascaded update")
            })?
        }
        (ReferentialAction::SetDefault, _) => {
            context.tables.defaults(child, &reference.child_positions, context)?
        }
        _ => vec![Datum::Null; reference.child_positions.len()],
    };
    for (value, position) in values.iter_mut().zip(&reference.child_positions) {
        let taken = std::mem::take(value);
        *value = basalt_types::apply_typmod(
            taken,
            child.columns[*position].ty,
            basalt_types::LengthRule::Assignment,
        )?;
    }
    let outgoing = context.tables.references(child)?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        let mut after = row.clone();
        for (value, &position) in values.iter().zip(&reference.child_positions) {
            after[position] = value.clone();
        }
        follow.extend(incoming.iter().filter_map(|other| other.gone(&row, Some(&after))));
        // What a cascade sets is there; a default must be looked up.
        let own = action == ReferentialAction::Cascade;
        let others = outgoing.iter().filter(|other| !(own && other.key.oid == reference.key.oid));
        follow.extend(
            others.filter(|other| other.touched(&row, &after)).filter_map(|other| other.refers(&after)),
        );
        changes.push((row, after));
    }
    writer.update(&changes).await?;
    writer.finish().await?;
    Ok(follow)
}

impl Reference {
    /// Whether the referring values of a row have changed.
    pub fn touched(&self, before: &[Datum], after: &[Datum]) -> bool {
        let types = self.child_types();
        self.child_positions
            .iter()
            .zip(types)
            .any(|(&position, ty)| encode(&before[position], ty) != encode(&after[position], ty))
    }
}

/// Checks that hold when the transaction (or the statement) is complete.
pub async fn verify(context: &ExecContext, checks: Vec<Consequence>) -> Result<()> {
    let mut rest = checks.as_slice();
    while let Some(first) = rest.first() {
        match first {
            Consequence::Refers(reference, _) => {
                // Neighbours of one key are looked up together.
                let same = rest.iter().take(BATCH_KEYS).take_while(
                    |other| matches!(other, Consequence::Refers(known, _) if Arc::ptr_eq(known, reference)),
                );
                let values: Vec<Row> = same
                    .filter_map(|other| match other {
                        Consequence::Refers(_, values) => Some(values.clone()),
                        Consequence::Gone { .. } => None,
                    })
                    .collect();
                rest = &rest[values.len()..];
                for missing in reference.missing(context, &values).await? {
                    // The row itself may be gone by now.
                    if !reference.rows_with(context, &missing, true).await?.is_empty() {
                        return Err(reference.not_present(context, &missing));
                    }
                }
            }
            Consequence::Gone { reference, old, .. } => {
                rest = &rest[1..];
                if reference.referring(context, old, true).await?.is_empty() {
                    continue;
                }
                // Another row may have taken the key's place, which satisfies all but RESTRICT.
                let key = reference.parent_key(old);
                let again = context.txn.get(&key, ReadOptions::LATEST).await.map_err(sql_error)?;
                if again.is_none() {
                    return Err(reference.still_referenced(context, old));
                }
            }
        }
        context.cancel.check()?;
    }
    Ok(())
}

/// Checks as the tables are now: schema changes of the same transaction may have moved rows to other indexes, or taken the
/// constraint away.
pub fn refreshed(checks: Vec<Consequence>, catalog: &CatalogSnapshot) -> Result<Vec<Consequence>> {
    let mut known: BTreeMap<Oid, Option<Arc<Reference>>> = BTreeMap::new();
    let mut current = Vec::with_capacity(checks.len());
    for check in checks {
        let reference = match known.entry(check.reference().key.oid) {
            Entry::Vacant(unknown) => unknown.insert(check.reference().current(catalog)?).clone(),
            Entry::Occupied(known) => known.get().clone(),
        };
        let Some(reference) = reference else { continue };
        current.push(match check {
            Consequence::Refers(_, values) => Consequence::Refers(reference, values),
            Consequence::Gone { old, new, .. } => Consequence::Gone { reference, old, new },
        });
    }
    Ok(current)
}

/// Compiled CHECK constraints by name.
pub type Checks = Vec<(String, eval::Compiled)>;
