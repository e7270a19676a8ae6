//! Functions that need the catalog: `pg_get_indexdef`, `pg_table_is_visible`, names of reg* values.

use basalt_base::{Span, keys};
use basalt_functions::{Function, FunctionKind, Volatility, registry};
use basalt_planner::{
    Index, Table, TableKind,
    catalog::{ForeignKey, QualifiedName, ReferentialAction},
};
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType, format_type, sql_type};

use crate::{
    catalog::{CatalogView, POSTGRES_ROLE},
    session::{SessionShared, undefined_object},
    virtual_tables::relations::check_oid,
};

/// Answers a catalog function by `pg_proc` name; `None` when it is not one.
pub fn call(
    session: &SessionShared,
    view: &CatalogView,
    name: &str,
    args: &[Datum],
) -> Option<Result<Datum>> {
    Some(Ok(match name {
        "pg_table_is_visible" => argument(args, 0).map_or(Datum::Null, |id| relation_is_visible(view, id)),
        "pg_type_is_visible"
        | "pg_function_is_visible"
        | "pg_operator_is_visible"
        | "pg_collation_is_visible" => {
            argument(args, 0).map_or(Datum::Null, |id| Datum::Bool(id.0 < crate::catalog::FIRST_USER_OID))
        }
        "pg_get_userbyid" => argument(args, 0).map_or(Datum::Null, |id| {
            let known = id == POSTGRES_ROLE;
            Datum::text(if known { "postgres".to_owned() } else { format!("unknown (OID={id})") })
        }),
        "pg_get_expr" => match args.first() {
            Some(Datum::Text(text)) => Datum::text(shown_default(view, text)),
            other => other.cloned().unwrap_or_default(),
        },
        "currval" => return Some(current_value(session, view, args)),
        "pg_get_serial_sequence" => return Some(serial_sequence(view, args)),
        "obj_description" => argument(args, 0).map_or(Datum::Null, |id| comment(view, id, 0)),
        "col_description" => argument(args, 0).map_or(Datum::Null, |id| comment(view, id, integer(args, 1))),
        "pg_get_indexdef" => match argument(args, 0).and_then(|id| view.snapshot.index(id)) {
            Some((table, position)) => {
                // The pretty form names the schema only where it must.
                let pretty = matches!(args.get(2), Some(Datum::Bool(true)));
                let qualified = !pretty || !view.is_visible(table.id, table.schema_id, &table.name);
                index_text(table, &table.indexes[position], integer(args, 1), qualified)
            }
            None => Datum::Null,
        },
        "pg_get_constraintdef" => {
            let pretty = matches!(args.get(1), Some(Datum::Bool(true)));
            argument(args, 0)
                .and_then(|id| constraint_definition(view, id, pretty))
                .map_or(Datum::Null, Datum::text)
        }
        "pg_get_viewdef" => match relation(view, args).and_then(|id| view.snapshot.tables.get(&id)) {
            Some(table) => match &table.kind {
                TableKind::View { query } | TableKind::Materialized { query, .. } => {
                    Datum::text(format!(" {query};"))
                }
                _ => Datum::Null,
            },
            None => Datum::Null,
        },
        "row_security_active" | "pg_is_other_temp_schema" => Datum::Bool(false),
        "pg_my_temp_schema" => Datum::Oid(Oid(0)),
        "pg_tablespace_location" => Datum::text(""),
        "pg_get_functiondef" => match argument(args, 0).and_then(basalt_functions::function_by_oid) {
            Some(function) => return Some(function_definition(function).map(Datum::text)),
            None => Datum::Null,
        },
        "pg_get_function_result" => {
            let function = argument(args, 0).and_then(basalt_functions::function_by_oid);
            function.map_or(Datum::Null, |f| Datum::text(format_type(SqlType::new(f.returns, -1))))
        }
        "pg_get_function_arguments" | "pg_get_function_identity_arguments" => {
            let function = argument(args, 0).and_then(basalt_functions::function_by_oid);
            function.map_or(Datum::Null, |function| {
                let types = function.args.iter().map(|oid| format_type(SqlType::new(*oid, -1)));
                Datum::text(types.collect::<Vec<_>>().join(", "))
            })
        }
        // There are no statistics objects, no partitions, no functions in SQL.
        "pg_get_function_sqlbody"
        | "pg_get_function_arg_default"
        | "pg_get_statisticsobjdef"
        | "pg_get_replica_identity_index" => Datum::Null,
        "shobj_description"
        | "pg_get_statisticsobjdef_columns"
        | "pg_get_partkeydef"
        | "pg_get_partition_constraintdef"
        | "pg_get_triggerdef"
        | "pg_get_ruledef" => Datum::Null,
        "pg_relation_is_publishable" => Datum::Bool(false),
        "pg_relation_size" | "pg_total_relation_size" | "pg_table_size" | "pg_indexes_size" => {
            argument(args, 0).map_or(Datum::Null, |id| Datum::Int8(relation_bytes(session, view, name, id)))
        }
        "pg_database_size" | "pg_tablespace_size" => {
            let bytes = session
                .services
                .store
                .as_ref()
                .map_or(0, |store| store.bytes_in(&Span::new(keys::KEY_MIN, keys::KEY_MAX)));
            Datum::Int8(bytes as i64)
        }
        "to_regclass" => match args.first() {
            Some(Datum::Text(name)) => match resolve_relation(view, name) {
                Ok(Some(id)) => Datum::Oid(id),
                Ok(None) => Datum::Null,
                Err(error) => return Some(Err(error)),
            },
            _ => Datum::Null,
        },
        "to_regtype" => match args.first() {
            Some(Datum::Text(name)) => resolve_type(name).map_or(Datum::Null, Datum::Oid),
            _ => Datum::Null,
        },
        "to_regnamespace" => match args.first() {
            Some(Datum::Text(name)) => view.schema(&unquote(name)).map_or(Datum::Null, Datum::Oid),
            _ => Datum::Null,
        },
        _ => return crate::privileges::call(view, name, args),
    }))
}

/// A stored default as users read it: sequences are kept by oid, so that they can be renamed, and shown by name.
pub(crate) fn shown_default(view: &CatalogView, text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(end) = rest.find("'::regclass") {
        let start = rest[..end].rfind('\'').map_or(end, |quote| quote + 1);
        let name = rest[start..end].parse().ok().and_then(|id| reg_name(view, Oid::REGCLASS, Oid(id)));
        match name {
            Some(name) => {
                shown.push_str(&rest[..start]);
                shown.push_str(&name.replace('\'', "''"));
            }
            None => shown.push_str(&rest[..end]),
        }
        shown.push_str("'::regclass");
        rest = &rest[end + "'::regclass".len()..];
    }
    shown.push_str(rest);
    shown
}

fn current_value(session: &SessionShared, view: &CatalogView, args: &[Datum]) -> Result<Datum> {
    let Some(id) = argument(args, 0) else { return Ok(Datum::Null) };
    let table = view.snapshot.tables.get(&id).ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_TABLE, format!("could not open relation with OID {id}"))
    })?;
    crate::sequences::parameters(table)?;
    let value = session.sequence_values.lock().current.get(&id).copied();
    value.map(Datum::Int8).ok_or_else(|| {
        SqlError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("currval of sequence \"{}\" is not yet defined in this session", table.name),
        )
    })
}

fn serial_sequence(view: &CatalogView, args: &[Datum]) -> Result<Datum> {
    let (Some(Datum::Text(relation)), Some(Datum::Text(column))) = (args.first(), args.get(1)) else {
        return Ok(Datum::Null);
    };
    let id = resolve_relation(view, relation)?.ok_or_else(|| undefined_object("relation", relation))?;
    let Some(table) = view.snapshot.tables.get(&id) else { return Ok(Datum::Null) };
    let column = table.column_named(column).ok_or_else(|| {
        SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{column}\" of relation \"{}\" does not exist", table.name),
        )
    })?;
    let owned = view.snapshot.tables.values().find(|candidate| {
        matches!(&candidate.kind, TableKind::Sequence(sequence) if sequence.owner == Some((id, column.id)))
    });
    Ok(owned.map_or(Datum::Null, |sequence| {
        Datum::text(format!("{}.{}", quote(&sequence.schema), quote(&sequence.name)))
    }))
}

fn comment(view: &CatalogView, id: Oid, attnum: i32) -> Datum {
    let Some(table) = view.snapshot.tables.get(&id) else { return Datum::Null };
    let column = match usize::try_from(attnum) {
        Ok(0) => Some(0),
        Ok(number) => table.columns.get(number - 1).map(|column| column.id),
        Err(_) => None,
    };
    let comment = column.and_then(|column| table.comments.get(&column));
    comment.map_or(Datum::Null, |comment| Datum::text(comment.as_str()))
}

/// CREATE FUNCTION as `pg_get_functiondef` words it.
fn function_definition(function: &Function) -> Result<String> {
    if matches!(function.kind, FunctionKind::Aggregate(_)) {
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is an aggregate function", function.name),
        ));
    }
    let types: Vec<String> = function.args.iter().map(|oid| format_type(SqlType::new(*oid, -1))).collect();
    let window = if matches!(function.kind, FunctionKind::Window(_)) { " WINDOW" } else { "" };
    let set = if matches!(function.kind, FunctionKind::Set { .. }) { "SETOF " } else { "" };
    let volatility = match function.volatility {
        Volatility::Immutable => " IMMUTABLE",
        Volatility::Stable => " STABLE",
        Volatility::Volatile => "",
    };
    let strict = if function.strict { " STRICT" } else { "" };
    Ok(format!(
        "CREATE OR REPLACE FUNCTION pg_catalog.{name}({})\n RETURNS {set}{}\n LANGUAGE internal\n\
         {window}{volatility} PARALLEL SAFE{strict}\nAS $function${name}$function$\n",
        types.join(", "),
        format_type(SqlType::new(function.returns, -1)),
        name = function.name,
    ))
}

fn argument(args: &[Datum], position: usize) -> Option<Oid> {
    match args.get(position)? {
        Datum::Oid(id) => Some(*id),
        Datum::Int4(id) => u32::try_from(*id).ok().map(Oid),
        Datum::Int8(id) => u32::try_from(*id).ok().map(Oid),
        _ => None,
    }
}

/// A relation by number or name.
fn relation(view: &CatalogView, args: &[Datum]) -> Option<Oid> {
    match args.first()? {
        Datum::Text(name) => resolve_relation(view, name).ok().flatten(),
        _ => argument(args, 0),
    }
}

fn integer(args: &[Datum], position: usize) -> i32 {
    match args.get(position) {
        Some(Datum::Int4(value)) => *value,
        _ => 0,
    }
}

fn relation_is_visible(view: &CatalogView, id: Oid) -> Datum {
    if let Some(table) = view.table_by_id(id) {
        return Datum::Bool(view.is_visible(id, table.schema_id, &table.name));
    }
    match view.snapshot.index(id) {
        Some((table, position)) => {
            Datum::Bool(view.is_visible(id, table.schema_id, &table.indexes[position].name))
        }
        None => Datum::Null,
    }
}

/// About how many bytes a relation takes, all versions. A table's rows are its primary index.
fn relation_bytes(session: &SessionShared, view: &CatalogView, function: &str, id: Oid) -> i64 {
    let Some(store) = &session.services.store else { return 0 };
    let bytes = |span| i64::try_from(store.bytes_in(&span)).unwrap_or(i64::MAX);
    let (span_of, table_span) = (crate::layout::index_span, crate::layout::table_span);
    if let Some((table, position)) = view.snapshot.index(id) {
        return match function {
            "pg_indexes_size" => 0,
            // The primary index holds the rows, which count as the table's.
            _ if position == 0 => 0,
            _ => bytes(span_of(table.id, table.indexes[position].id)),
        };
    }
    let Some(table) = view.table_by_id(id).filter(|table| table.kind.is_stored()) else { return 0 };
    let rows = || table.indexes.first().map_or(0, |primary| bytes(span_of(id, primary.id)));
    match function {
        "pg_total_relation_size" => bytes(table_span(id)),
        "pg_indexes_size" => bytes(table_span(id)).saturating_sub(rows()).max(0),
        _ => rows(),
    }
}

/// `column`-th key column (from 1), or the whole definition for 0.
fn index_text(table: &Table, index: &Index, column: i32, qualified: bool) -> Datum {
    if column == 0 {
        return Datum::text(index_definition(table, index, qualified));
    }
    let part = usize::try_from(column - 1).ok().and_then(|position| index.columns.get(position));
    let name = part.and_then(|part| table.column(part.column)).map(|column| quote(&column.name));
    name.map_or(Datum::Null, Datum::text)
}

/// `CREATE UNIQUE INDEX t_pkey ON public.t USING btree (a)`.
pub(crate) fn index_definition(table: &Table, index: &Index, qualified: bool) -> String {
    let schema = if qualified { format!("{}.", quote(&table.schema)) } else { String::new() };
    let unique = if index.unique { "UNIQUE " } else { "" };
    let columns = index.columns.iter().filter_map(|part| {
        let column = table.column(part.column)?;
        let direction = if part.descending { " DESC" } else { "" };
        Some(format!("{}{direction}", quote(&column.name)))
    });
    let columns: Vec<String> = columns.collect();
    let mut text = format!(
        "CREATE {unique}INDEX {} ON {schema}{} USING btree ({})",
        quote(&index.name),
        quote(&table.name),
        columns.join(", ")
    );
    if !index.stored.is_empty() {
        let stored = index.stored.iter().filter_map(|id| table.column(*id)).map(|column| quote(&column.name));
        text.push_str(&format!(" INCLUDE ({})", stored.collect::<Vec<_>>().join(", ")));
    }
    text
}

fn constraint_definition(view: &CatalogView, id: Oid, pretty: bool) -> Option<String> {
    if let Some((table, position)) = view.snapshot.index(id) {
        let index = &table.indexes[position];
        let columns = index.columns.iter().filter_map(|part| table.column(part.column));
        let columns: Vec<String> = columns.map(|column| quote(&column.name)).collect();
        let kind = if index.primary { "PRIMARY KEY" } else { "UNIQUE" };
        return Some(format!("{kind} ({})", columns.join(", ")));
    }
    view.snapshot.tables.values().find_map(|table| {
        if let Some(key) = table.foreign_keys.iter().find(|key| key.oid == id) {
            return foreign_key_definition(view, table, key);
        }
        let mut checks = table.checks.iter().enumerate();
        let (_, check) = checks.find(|(position, _)| check_oid(table.id, *position) == id)?;
        let inner = check.expression.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
        // Only a lone pair of parentheses is known to be needless.
        let lone = inner.filter(|text| pretty && !text.contains(['(', ')']));
        let not_valid = if check.validated { "" } else { " NOT VALID" };
        Some(format!("CHECK ({}){not_valid}", lone.unwrap_or(&check.expression)))
    })
}

fn foreign_key_definition(view: &CatalogView, table: &Table, key: &ForeignKey) -> Option<String> {
    let referenced = view.snapshot.tables.get(&key.referenced)?;
    let list = |table: &Table, ids: &[u32]| {
        let columns = ids.iter().filter_map(|id| table.column(*id)).map(|column| quote(&column.name));
        columns.collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "FOREIGN KEY ({}) REFERENCES {}({})",
        list(table, &key.columns),
        reg_name(view, Oid::REGCLASS, referenced.id)?,
        list(referenced, &key.referenced_columns)
    );
    if key.match_full {
        text.push_str(" MATCH FULL");
    }
    for (event, action) in [("UPDATE", key.on_update), ("DELETE", key.on_delete)] {
        if action != ReferentialAction::NoAction {
            text.push_str(&format!(" ON {event} {}", action_words(action)));
        }
    }
    if key.deferrable {
        text.push_str(" DEFERRABLE");
    }
    if key.initially_deferred {
        text.push_str(" INITIALLY DEFERRED");
    }
    if !key.validated {
        text.push_str(" NOT VALID");
    }
    Some(text)
}

/// As SQL writes a referential action.
pub(crate) fn action_words(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    }
}

/// Resolves the text of a reg* literal.
pub fn resolve_reg(view: &CatalogView, reg_type: Oid, text: &str) -> Result<Oid> {
    let found = match reg_type {
        Oid::REGCLASS => resolve_relation(view, text)?,
        Oid::REGTYPE => resolve_type(text),
        Oid::REGNAMESPACE => view.schema(&unquote(text)),
        Oid::REGROLE => (unquote(text) == "postgres").then_some(POSTGRES_ROLE),
        Oid::REGPROC => {
            let name = text.rsplit('.').next().unwrap_or(text);
            match basalt_functions::functions_named(&unquote(name)) {
                [function] => Some(function.oid),
                [] => None,
                _ => {
                    return Err(SqlError::new(
                        SqlState::AMBIGUOUS_FUNCTION,
                        format!("more than one function named \"{text}\""),
                    ));
                }
            }
        }
        _ => None,
    };
    let kind = match reg_type {
        Oid::REGCLASS => "relation",
        Oid::REGTYPE => "type",
        Oid::REGNAMESPACE => "schema",
        Oid::REGROLE => "role",
        _ => "function",
    };
    found.ok_or_else(|| undefined_object(kind, text))
}

pub(crate) fn resolve_relation(view: &CatalogView, text: &str) -> Result<Option<Oid>> {
    let parts = split_name(text);
    let name = match &parts[..] {
        [name] => QualifiedName { database: None, schema: None, name: name.clone() },
        [schema, name] => QualifiedName { database: None, schema: Some(schema.clone()), name: name.clone() },
        [database, schema, name] => QualifiedName {
            database: Some(database.clone()),
            schema: Some(schema.clone()),
            name: name.clone(),
        },
        _ => return Err(SqlError::new(SqlState::INVALID_NAME, "invalid name syntax")),
    };
    view.relation_oid(&name)
}

pub(crate) fn resolve_type(text: &str) -> Option<Oid> {
    let text = text.trim();
    let text = text.strip_prefix("pg_catalog.").unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    // Names that the grammar translates.
    let lower = match lower.as_str() {
        "int" => "integer",
        "dec" | "decimal" => "numeric",
        "char" => "character",
        "varchar" => "character varying",
        "float" => "double precision",
        other => other,
    };
    let by_sql_name = sql_type::all_types().iter().find(|info| info.sql_name == lower);
    by_sql_name.or_else(|| sql_type::type_by_name(&unquote(text))).map(|info| info.oid)
}

/// Names an object for output of a reg* value.
pub fn reg_name(view: &CatalogView, reg_type: Oid, id: Oid) -> Option<String> {
    match reg_type {
        Oid::REGCLASS => {
            let (schema, schema_name, name) = match view.table_by_id(id) {
                Some(table) => (table.schema_id, &table.schema, &table.name),
                None => {
                    let (table, position) = view.snapshot.index(id)?;
                    (table.schema_id, &table.schema, &table.indexes[position].name)
                }
            };
            let visible = view.is_visible(id, schema, name);
            Some(if visible { quote(name) } else { format!("{}.{}", quote(schema_name), quote(name)) })
        }
        Oid::REGTYPE => sql_type::type_info(id).map(|info| info.sql_name.to_owned()),
        Oid::REGNAMESPACE => view.schema_name(id).map(quote),
        Oid::REGROLE => (id == POSTGRES_ROLE).then(|| "postgres".to_owned()),
        Oid::REGPROC => {
            let all = &registry().functions;
            all.iter().find(|function| function.oid == id).map(|function| function.name.to_owned())
        }
        _ => None,
    }
}

/// Splits a dotted name, folding what is not quoted.
pub(crate) fn split_name(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c => {
                let part = parts.last_mut().expect("there is always one part");
                if quoted { part.push(c) } else { part.extend(c.to_lowercase()) }
            }
        }
    }
    parts
}

pub(crate) fn unquote(text: &str) -> String {
    split_name(text).pop().unwrap_or_default()
}

/// Quotes an identifier where PostgreSQL would.
pub(crate) fn quote(name: &str) -> String {
    let plain = name.chars().enumerate().all(|(position, c)| {
        c.is_ascii_lowercase() || c == '_' || (position > 0 && (c.is_ascii_digit() || c == '$'))
    });
    if plain && !name.is_empty() { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
