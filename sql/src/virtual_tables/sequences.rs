//! Sequences as tables: their own row, pg_sequence, pg_sequences; and what hangs together (pg_depend, pg_description).

use basalt_planner::{Table, TableKind};
use basalt_types::{Datum, Oid, Result, Row, SqlError, SqlState};

use super::{
    SessionTables,
    relations::{attnum, default_oid, stored_tables},
    row::{Rows, oid, text},
};
use crate::{catalog::CatalogView, exec::SequenceOperation, sequences};

/// Oids of the catalogs that dependencies name.
const PG_CLASS: Oid = Oid(1259);
const PG_ATTRDEF: Oid = Oid(2604);
const PG_CONSTRAINT: Oid = Oid(2606);

impl SessionTables {
    /// `SELECT * FROM sequence`.
    pub(super) async fn sequence_row(&self, table: &Table) -> Result<Vec<Row>> {
        let services = &self.session.services;
        let position = services.sequences.position(&services.client, table).await?;
        Ok(vec![vec![
            Datum::Int8(position.last),
            Datum::Int8(position.ahead as i64),
            Datum::Bool(position.called),
        ]])
    }

    pub(super) async fn run_sequence(&self, operation: SequenceOperation, args: &[Datum]) -> Result<Datum> {
        let id = match args.first() {
            Some(Datum::Oid(id)) => *id,
            _ => return Err(SqlError::internal("a sequence function without a sequence")),
        };
        let table = self.view.snapshot.tables.get(&id).ok_or_else(|| {
            SqlError::new(SqlState::UNDEFINED_TABLE, format!("could not open relation with OID {id}"))
        })?;
        let changes = match operation {
            SequenceOperation::Next => Some("nextval"),
            SequenceOperation::Set => Some("setval"),
            SequenceOperation::LastValue => None,
        };
        if let Some(name) = changes
            && self.read_only
            && self.view.temporary != Some(table.schema_id)
        {
            return Err(SqlError::new(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                format!("cannot execute {name}() in a read-only transaction"),
            ));
        }
        let services = &self.session.services;
        match operation {
            SequenceOperation::Next => {
                let value = services.sequences.next(&services.client, table).await?;
                self.session.note_sequence(id, value, true);
                Ok(Datum::Int8(value))
            }
            SequenceOperation::Set => {
                let value = match args.get(1) {
                    Some(Datum::Int8(value)) => *value,
                    _ => return Err(SqlError::internal("setval without a value")),
                };
                let called = !matches!(args.get(2), Some(Datum::Bool(false)));
                services.sequences.set(services, table, value, called).await?;
                if called {
                    self.session.note_sequence(id, value, false);
                }
                Ok(Datum::Int8(value))
            }
            SequenceOperation::LastValue => {
                let position = services.sequences.position(&services.client, table).await?;
                Ok(if position.called { Datum::Int8(position.last) } else { Datum::Null })
            }
        }
    }

    /// pg_sequences, which shows the last value.
    pub(super) async fn sequence_rows(&self, table: &Table) -> Result<Vec<Row>> {
        let mut out = Rows::new(table);
        let services = &self.session.services;
        for sequence in stored_tables(&self.view) {
            let TableKind::Sequence(parameters) = &sequence.kind else { continue };
            let position = services.sequences.position(&services.client, sequence).await?;
            out.push(vec![
                ("schemaname", text(&sequence.schema)),
                ("sequencename", text(&sequence.name)),
                ("sequenceowner", text("postgres")),
                ("data_type", oid(parameters.ty.oid)),
                ("start_value", Datum::Int8(parameters.start)),
                ("min_value", Datum::Int8(parameters.min)),
                ("max_value", Datum::Int8(parameters.max)),
                ("increment_by", Datum::Int8(parameters.increment)),
                ("cycle", Datum::Bool(parameters.cycle)),
                ("cache_size", Datum::Int8(parameters.cache)),
                ("last_value", if position.called { Datum::Int8(position.last) } else { Datum::Null }),
            ]);
        }
        Ok(out.finish())
    }
}

pub(super) fn parameters(out: &mut Rows, view: &CatalogView) {
    for table in stored_tables(view) {
        let Ok(sequence) = sequences::parameters(table) else { continue };
        out.push(vec![
            ("seqrelid", oid(table.id)),
            ("seqtypid", oid(sequence.ty.oid)),
            ("seqstart", Datum::Int8(sequence.start)),
            ("seqincrement", Datum::Int8(sequence.increment)),
            ("seqmax", Datum::Int8(sequence.max)),
            ("seqmin", Datum::Int8(sequence.min)),
            ("seqcache", Datum::Int8(sequence.cache)),
            ("seqcycle", Datum::Bool(sequence.cycle)),
        ]);
    }
}

/// Sequences with their columns, defaults with their sequences, indexes with their tables and constraints.
pub(super) fn dependencies(out: &mut Rows, view: &CatalogView) {
    let mut push = |class: Oid, id: Oid, sub: i32, on_class: Oid, on: Oid, on_sub: i32, kind: char| {
        out.push(vec![
            ("classid", oid(class)),
            ("objid", oid(id)),
            ("objsubid", Datum::Int4(sub)),
            ("refclassid", oid(on_class)),
            ("refobjid", oid(on)),
            ("refobjsubid", Datum::Int4(on_sub)),
            ("deptype", super::row::letter(kind)),
        ]);
    };
    for table in stored_tables(view) {
        if let TableKind::Sequence(sequence) = &table.kind
            && let Some((owner, column)) = sequence.owner
            && let Some(owner) = view.snapshot.tables.get(&owner)
        {
            let is_identity = owner.column(column).is_some_and(|column| column.identity_always.is_some());
            let number = i32::from(attnum(owner, column));
            let kind = if is_identity { 'i' } else { 'a' };
            push(PG_CLASS, table.id, 0, PG_CLASS, owner.id, number, kind);
        }
        for column in table.columns.iter().filter(|column| column.default.is_some()) {
            let number = attnum(table, column.id);
            let default = default_oid(table.id, number);
            push(PG_ATTRDEF, default, 0, PG_CLASS, table.id, i32::from(number), 'a');
            for sequence in crate::ddl::sequence::sequences_in(column.default.as_deref().unwrap_or("")) {
                push(PG_ATTRDEF, default, 0, PG_CLASS, sequence, 0, 'n');
            }
        }
        for index in super::relations::named_indexes(table) {
            if index.constraint {
                push(PG_CLASS, index.oid, 0, PG_CONSTRAINT, index.oid, 0, 'i');
                for column in &index.columns {
                    let number = i32::from(attnum(table, column.column));
                    push(PG_CONSTRAINT, index.oid, 0, PG_CLASS, table.id, number, 'a');
                }
            } else {
                for column in &index.columns {
                    push(
                        PG_CLASS,
                        index.oid,
                        0,
                        PG_CLASS,
                        table.id,
                        i32::from(attnum(table, column.column)),
                        'a',
                    );
                }
            }
        }
    }
}

/// COMMENT ON.
pub(super) fn descriptions(out: &mut Rows, view: &CatalogView) {
    for table in stored_tables(view) {
        for (column, comment) in &table.comments {
            let number = if *column == 0 { 0 } else { i32::from(attnum(table, *column)) };
            out.push(vec![
                ("objoid", oid(table.id)),
                ("classoid", oid(PG_CLASS)),
                ("objsubid", Datum::Int4(number)),
                ("description", text(comment)),
            ]);
        }
    }
}
