//! CREATE SEQUENCE, ALTER SEQUENCE, and the sequences behind serial and identity columns.

use std::sync::Arc;

use basalt_planner::{
    Column, Table, TableKind,
    catalog::{QualifiedName, Sequence},
    parse::SequenceOptions,
};
use basalt_types::{Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::ast;

use super::{create_table, names, new_relation};
use crate::{Session, output::NoticeLevel, sequences};

/// A column that takes its values from a sequence of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnedSequence {
    pub options: SequenceOptions,
}

pub(super) async fn create(
    session: &mut Session,
    name: &QualifiedName,
    temporary: bool,
    if_not_exists: bool,
    options: &SequenceOptions,
) -> Result<String> {
    let mut table = new_relation::begin(session, name, temporary).await?;
    if new_relation::is_taken(session, &table, if_not_exists)? {
        return Ok("CREATE SEQUENCE".to_owned());
    }
    let mut sequence = parameters(options, SqlType::INT8)?;
    sequence.owner = owner(session, options, None)?;
    table.kind = TableKind::Sequence(sequence);
    table.columns = columns();
    create_table::store_new(session, table).await?;
    Ok("CREATE SEQUENCE".to_owned())
}

pub(super) async fn alter(
    session: &mut Session,
    name: &QualifiedName,
    if_exists: bool,
    options: &SequenceOptions,
) -> Result<String> {
    let tag = "ALTER SEQUENCE".to_owned();
    let Some(table) = basalt_planner::Catalog::table(&*session.catalog_view(), name)? else {
        let message = format!("relation \"{name}\" does not exist");
        if if_exists {
            session.notice(NoticeLevel::Notice, SqlState::UNDEFINED_TABLE, message + ", skipping");
            return Ok(tag);
        }
        return Err(SqlError::new(SqlState::UNDEFINED_TABLE, message));
    };
    sequences::parameters(&table)?;
    let table = session.lock_for_change(&table).await?;
    let old = sequences::parameters(&table)?.clone();
    let services = session.services.clone();
    let position = services.sequences.position(&services.client, &table).await?;
    let mut changed = with_options(&old, options)?;
    changed.owner = owner(session, options, old.owner)?;
    changed.generation += 1;
    changed.first = match options.restart {
        Some(value) => (value.unwrap_or(changed.start), false),
        None => (position.last, position.called),
    };
    check_first(&changed, options.restart.is_some())?;
    let mut table = Table::clone(&table);
    table.kind = TableKind::Sequence(changed);
    session.write_table(table)?;
    Ok(tag)
}

/// Begins a sequence anew at its start value (TRUNCATE … RESTART IDENTITY).
pub(super) async fn restart(session: &mut Session, table: &Arc<Table>) -> Result<()> {
    let table = session.lock_for_change(table).await?;
    let mut sequence = sequences::parameters(&table)?.clone();
    sequence.generation += 1;
    sequence.first = (sequence.start, false);
    let mut table = Table::clone(&table);
    table.kind = TableKind::Sequence(sequence);
    session.write_table(table)?;
    Ok(())
}

/// Makes the sequence of a serial or identity column; the column's default becomes its next value. The descriptor is to
/// be stored after the table's.
pub(super) async fn attach(
    session: &mut Session,
    table: &mut Table,
    position: usize,
    owned: &OwnedSequence,
) -> Result<Table> {
    let ty = table.columns[position].ty;
    let mut sequence = parameters(&owned.options, ty)?;
    sequence.owner = Some((table.id, table.columns[position].id));
    let name = {
        let view = session.catalog_view();
        let is_taken = |name: &str| {
            name == table.name
                || table.indexes.iter().any(|index| index.name == name)
                || view.snapshot.relation_named(table.schema_id, name).is_some()
        };
        names::automatic(&table.name, &[&table.columns[position].name], "seq", is_taken)
    };
    let qualified = QualifiedName { database: None, schema: Some(table.schema.clone()), name };
    let mut relation = new_relation::begin(session, &qualified, false).await?;
    relation.kind = TableKind::Sequence(sequence);
    relation.columns = columns();
    let column = &mut table.columns[position];
    column.not_null = true;
    column.default = Some(format!("nextval('{}'::regclass)", relation.id));
    Ok(relation)
}

/// Sequences that go with a column of the table (any column for `None`).
pub(super) fn owned_by(session: &Session, table: Oid, column: Option<u32>) -> Vec<Arc<Table>> {
    let snapshot = session.catalog_snapshot();
    let is_owned = |candidate: &&Arc<Table>| {
        matches!(&candidate.kind, TableKind::Sequence(sequence) if sequence.owner.is_some_and(|(owner, owned)| {
            owner == table && column.is_none_or(|column| column == owned)
        }))
    };
    snapshot.tables.values().filter(is_owned).cloned().collect()
}

/// The sequences that a stored default names.
pub(crate) fn sequences_in(default: &str) -> Vec<Oid> {
    let mut found = Vec::new();
    let mut rest = default;
    while let Some(end) = rest.find("'::regclass") {
        let start = rest[..end].rfind('\'').map_or(end, |quote| quote + 1);
        found.extend(rest[start..end].parse().ok().map(Oid));
        rest = &rest[end + 1..];
    }
    found
}

/// What `SELECT * FROM sequence` gives.
fn columns() -> Vec<Column> {
    let column = |id: u32, name: &str, ty: SqlType| Column {
        id,
        name: name.to_owned(),
        ty,
        not_null: true,
        default: None,
        missing_value: None,
        hidden: false,
        identity_always: None,
    };
    vec![
        column(1, "last_value", SqlType::INT8),
        column(2, "log_cnt", SqlType::INT8),
        column(3, "is_called", SqlType::BOOL),
    ]
}

fn parameters(options: &SequenceOptions, default_type: SqlType) -> Result<Sequence> {
    let empty = Sequence {
        ty: default_type,
        start: 0,
        increment: 1,
        min: 0,
        max: 0,
        cache: 1,
        cycle: false,
        owner: None,
        generation: 0,
        first: (0, false),
    };
    let mut whole = options.clone();
    whole.min = whole.min.or(Some(None));
    whole.max = whole.max.or(Some(None));
    let mut sequence = with_options(&empty, &whole)?;
    if options.start.is_none() {
        sequence.start = if sequence.increment > 0 { sequence.min } else { sequence.max };
    }
    check_start(&sequence)?;
    sequence.first = (sequence.start, false);
    Ok(sequence)
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn limits(ty: SqlType) -> (i64, i64) {
    match ty.oid {
        Oid::INT2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Oid::INT4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

fn with_options(old: &Sequence, options: &SequenceOptions) -> Result<Sequence> {
    let mut new = old.clone();
    let (old_min, old_max) = limits(old.ty);
    if let Some(name) = &options.data_type {
        new.ty = match name.as_str() {
            "smallint" | "int2" => SqlType::INT2,
            "integer" | "int" | "int4" => SqlType::INT4,
            "bigint" | "int8" => SqlType::INT8,
            _ => return Err(invalid("sequence type must be smallint, integer, or bigint".to_owned())),
        };
    }
    if let Some(increment) = options.increment {
        if increment == 0 {
            return Err(invalid("INCREMENT must not be zero".to_owned()));
        }
        new.increment = increment;
    }
    let (least, most) = limits(new.ty);
    let ascending = new.increment > 0;
    // Bounds that were the old type's follow the new type.
    let follows = options.data_type.is_some();
    match options.max {
        Some(Some(max)) => new.max = max,
        Some(None) => new.max = if ascending { most } else { -1 },
        None if follows && (old.max == old_max) => new.max = most,
        None => {}
    }
    match options.min {
        Some(Some(min)) => new.min = min,
        Some(None) => new.min = if ascending { 1 } else { least },
        None if follows && (old.min == old_min) => new.min = least,
        None => {}
    }
    for (name, bound) in [("MAXVALUE", new.max), ("MINVALUE", new.min)] {
        if bound < least || bound > most {
            return Err(invalid(format!(
                "{name} ({bound}) is out of range for sequence data type {}",
                basalt_types::format_type(new.ty)
            )));
        }
    }
    if new.min >= new.max {
        return Err(invalid(format!("MINVALUE ({}) must be less than MAXVALUE ({})", new.min, new.max)));
    }
    if let Some(start) = options.start {
        new.start = start;
        check_start(&new)?;
    }
    if let Some(cache) = options.cache {
        if cache <= 0 {
            return Err(invalid(format!("CACHE ({cache}) must be greater than zero")));
        }
        new.cache = cache;
    }
    new.cycle = options.cycle.unwrap_or(new.cycle);
    Ok(new)
}

fn check_start(sequence: &Sequence) -> Result<()> {
    between(sequence, "START", sequence.start)
}

fn check_first(sequence: &Sequence, restarts: bool) -> Result<()> {
    between(sequence, "START", sequence.start)?;
    // PostgreSQL says RESTART for the current value too.
    let _ = restarts;
    between(sequence, "RESTART", sequence.first.0)
}

fn between(sequence: &Sequence, what: &str, value: i64) -> Result<()> {
    if value < sequence.min {
        return Err(invalid(format!(
            "{what} value ({value}) cannot be less than MINVALUE ({})",
            sequence.min
        )));
    }
    if value > sequence.max {
        return Err(invalid(format!(
            "{what} value ({value}) cannot be greater than MAXVALUE ({})",
            sequence.max
        )));
    }
    Ok(())
}

/// OWNED BY.
fn owner(
    session: &Session,
    options: &SequenceOptions,
    before: Option<(Oid, u32)>,
) -> Result<Option<(Oid, u32)>> {
    let parts = match &options.owned_by {
        None => return Ok(before),
        Some(None) => return Ok(None),
        Some(Some(parts)) => parts,
    };
    let (name, column) = match parts.as_slice() {
        [table, column] => (QualifiedName { database: None, schema: None, name: table.clone() }, column),
        [.., schema, table, column] => {
            (QualifiedName { database: None, schema: Some(schema.clone()), name: table.clone() }, column)
        }
        _ => {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "invalid OWNED BY option")
                .with_hint("Specify OWNED BY table.column or OWNED BY NONE."));
        }
    };
    let table = basalt_planner::Catalog::table(&*session.catalog_view(), &name)?.ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
    })?;
    let found = table.column_named(column).ok_or_else(|| {
        SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{column}\" of relation \"{}\" does not exist", table.name),
        )
    })?;
    Ok(Some((table.id, found.id)))
}

/// The options of an identity column, as the grammar gives them.
pub(super) fn identity_options(given: &[ast::SequenceOptions]) -> Result<SequenceOptions> {
    let number = |expr: &ast::Expr| -> Result<i64> {
        expr.to_string().parse().map_err(|_| {
            SqlError::new(SqlState::SYNTAX_ERROR, format!("invalid number in sequence options: {expr}"))
        })
    };
    let mut options = SequenceOptions::default();
    for option in given {
        match option {
            ast::SequenceOptions::IncrementBy(value, _) => options.increment = Some(number(value)?),
            ast::SequenceOptions::MinValue(value) => {
                options.min = Some(value.as_ref().map(number).transpose()?);
            }
            ast::SequenceOptions::MaxValue(value) => {
                options.max = Some(value.as_ref().map(number).transpose()?);
            }
            ast::SequenceOptions::StartWith(value, _) => options.start = Some(number(value)?),
            ast::SequenceOptions::Cache(value) => options.cache = Some(number(value)?),
            // The grammar's flag says whether NO was written.
            ast::SequenceOptions::Cycle(no) => options.cycle = Some(!*no),
        }
    }
    Ok(options)
}
