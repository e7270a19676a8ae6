//! COPY … FROM STDIN and COPY … TO STDOUT.

use std::sync::Arc;

use basalt_functions::EvalContext;
use basalt_planner::{
    Expr, Planned, PlannedBody, Table, TableKind,
    bind::bind_column_default,
    parse::{ParsedBody, ParsedStatement, Source},
};
use basalt_types::{Datum, IoSettings, Result, Row, SqlError, SqlState, text_in, text_out};
use sqlparser::ast::{self, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Statement};

use super::{
    BlockState, Session,
    copy_format::{CopyOptions, LineSplitter, split_fields, write_field},
    plan_settings,
    run::with_deadline,
};
use crate::{
    Output,
    ddl::names,
    exec::{
        eval::{self, evaluator::RowEvaluator},
        referential::{self, Consequence, Reference},
        scope::{Scope, row_bytes},
        write::TableWriter,
    },
    locks::TableLockMode,
};

/// Rows handed to the table writer at a time, and bytes (one row more may come).
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;

impl Session {
    pub(crate) async fn copy(&mut self, statement: &Statement, out: &mut dyn Output) -> Result<()> {
        let Statement::Copy { source, to, target, options, legacy_options, .. } = statement else {
            return Err(SqlError::internal("not a COPY statement"));
        };
        let options = copy_options(options, legacy_options)?;
        match (to, target) {
            (false, CopyTarget::Stdin) | (true, CopyTarget::Stdout) => {}
            (_, CopyTarget::File { .. }) => {
                return Err(SqlError::not_supported("COPY with a server-side file"));
            }
            _ => return Err(SqlError::not_supported("COPY PROGRAM")),
        }
        let implicit = self.block == BlockState::Idle;
        self.ensure_transaction()?;
        let deadline = self.deadline();
        let rows = if *to {
            let work = self.copy_to(source, &options, out);
            with_deadline(deadline, work).await?
        } else {
            let work = self.copy_from(source, &options, out);
            with_deadline(deadline, work).await?
        };
        if implicit && self.block == BlockState::Implicit {
            self.commit_transaction().await?;
        }
        out.complete(&format!("COPY {rows}"))
    }

    async fn copy_from(
        &mut self,
        source: &CopySource,
        options: &CopyOptions,
        out: &mut dyn Output,
    ) -> Result<u64> {
        let CopySource::Table { table_name, columns } = source else {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "COPY query only supports COPY TO"));
        };
        self.check_cluster().await?;
        let table = match self.table_named(table_name) {
            Err(_) if self.learns_from_cluster().await? => self.table_named(table_name)?,
            found => found?,
        };
        if table.kind != TableKind::Table {
            return Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot copy to relation \"{}\"", table.name),
            ));
        }
        self.lock_table(table.id, TableLockMode::Shared).await?;
        for key in &table.foreign_keys {
            self.lock_table(key.referenced, TableLockMode::Shared).await?;
        }
        let table = self.catalog_snapshot().tables.get(&table.id).cloned().unwrap_or(table);
        let positions = copy_columns(&table, columns)?;
        let open = self.open.as_mut().expect("COPY opened a transaction");
        if open.read_only {
            return Err(SqlError::new(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                "cannot execute COPY FROM in a read-only transaction",
            ));
        }
        open.used = true;
        open.txn.statement();
        let context = self.exec_context(Arc::new([]))?;
        let defaults = self.copy_defaults(&table, &positions, &context.eval)?;
        let scope = Scope::new(context.clone());
        let mut evaluator = RowEvaluator::new(defaults.iter().map(|(_, expr)| expr), &[], &scope)?;
        let checks = self.bound_checks(&table, &context.eval)?;
        let mut reader = CopyReader {
            table: &table,
            positions,
            options,
            io: context.eval.io.clone(),
            fields: Vec::new(),
            line: 0,
            done: false,
        };
        let mut writer = TableWriter::new(&table, checks, context.clone())?;
        let references = context.tables.references(&table)?;
        let mut consequences = Vec::new();
        out.copy_in_start(false, reader.positions.len())?;
        let mut splitter = LineSplitter::default();
        let mut batch: Vec<Row> = Vec::new();
        let mut batch_bytes = 0;
        let mut rows = 0;
        let mut last = false;
        while !last {
            match out.copy_read().await? {
                Some(chunk) => splitter.push(&chunk)?,
                None => last = true,
            }
            loop {
                let line = match splitter.next(options) {
                    Some(line) => line,
                    None if last => match splitter.rest() {
                        Some(line) => line,
                        None => break,
                    },
                    None => break,
                };
                if let Some(mut row) = reader.read(line)? {
                    let mut values = Vec::with_capacity(defaults.len());
                    evaluator.evaluate_all(&scope, &[], &mut values).await?;
                    for ((position, _), value) in defaults.iter().zip(values) {
                        row[*position] = value;
                    }
                    batch_bytes += row_bytes(&row);
                    batch.push(row);
                }
                if batch.len() >= BATCH_ROWS || batch_bytes >= BATCH_BYTES {
                    batch_bytes = 0;
                    let batch = std::mem::take(&mut batch);
                    note_references(&references, &batch, &mut consequences);
                    rows += writer.insert(batch).await?;
                }
            }
            self.cancel.check()?;
        }
        note_references(&references, &batch, &mut consequences);
        rows += writer.insert(batch).await?;
        writer.finish().await?;
        referential::complete(&context, consequences).await?;
        let open = self.open.as_mut().expect("COPY opened a transaction");
        open.row_deltas.push((table.id, i64::try_from(rows).unwrap_or(i64::MAX)));
        Ok(rows)
    }

    /// The CHECK constraints of a table, bound over its columns.
    pub(crate) fn bound_checks(
        &self,
        table: &Arc<Table>,
        context: &EvalContext,
    ) -> Result<Vec<(String, eval::Compiled)>> {
        let view = self.catalog_view();
        let bind = |check: &basalt_planner::catalog::Check| {
            let settings = plan_settings(context);
            let bound = basalt_planner::bind::bind_check(&check.expression, table, &*view, &settings)?;
            Ok((check.name.clone(), eval::compile(&bound.expr, &bound.columns)?))
        };
        table.checks.iter().map(bind).collect()
    }

    /// One default per table column that COPY does not fill.
    fn copy_defaults(
        &self,
        table: &Table,
        positions: &[usize],
        context: &EvalContext,
    ) -> Result<Vec<(usize, Expr)>> {
        let view = self.catalog_view();
        let mut defaults = Vec::new();
        for (position, column) in table.columns.iter().enumerate() {
            if let Some(text) = &column.default
                && !positions.contains(&position)
            {
                let settings = plan_settings(context);
                let bound = bind_column_default(text, &column.name, column.ty, &*view, &settings)?;
                defaults.push((position, bound));
            }
        }
        Ok(defaults)
    }

    async fn copy_to(
        &mut self,
        source: &CopySource,
        options: &CopyOptions,
        out: &mut dyn Output,
    ) -> Result<u64> {
        let (parsed, planned) = self.plan_copy_source(source)?;
        let params: Arc<[Datum]> = Arc::new([]);
        let mut stream = self.start(&parsed, &planned, &params).await?;
        let io = self.io_settings();
        let fields = &planned.fields;
        out.copy_out_start(false, fields.len())?;
        let mut line = Vec::new();
        if options.header {
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    line.push(options.delimiter);
                }
                write_field(&mut line, Some(&field.name), options, fields.len() == 1);
            }
            line.push(b'\n');
            out.copy_out_data(&line)?;
        }
        let mut text = String::new();
        let mut rows = 0;
        while let Some(batch) = stream.next_batch().await? {
            for row in &batch {
                line.clear();
                for (index, (datum, field)) in row.iter().zip(fields).enumerate() {
                    if index > 0 {
                        line.push(options.delimiter);
                    }
                    text.clear();
                    if datum.is_null() {
                        write_field(&mut line, None, options, fields.len() == 1);
                    } else {
                        text_out(datum, field.ty, &io, &mut text);
                        write_field(&mut line, Some(&text), options, fields.len() == 1);
                    }
                }
                line.push(b'\n');
                out.copy_out_data(&line)?;
                rows += 1;
            }
            if out.is_full() {
                out.flush().await?;
            }
        }
        out.copy_out_end()?;
        Ok(rows)
    }

    fn plan_copy_source(&self, source: &CopySource) -> Result<(ParsedStatement, Arc<Planned>)> {
        let query: ast::Query = match source {
            CopySource::Query(query) => (**query).clone(),
            CopySource::Table { table_name, columns } => {
                let list = if columns.is_empty() {
                    "*".to_owned()
                } else {
                    columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let mut parsed = basalt_planner::parse::parse(&format!("SELECT {list} FROM {table_name}"))?;
                match parsed.pop().map(|statement| statement.body) {
                    Some(ParsedBody::Sql(statement)) => match *statement {
                        Statement::Query(query) => *query,
                        _ => return Err(SqlError::internal("COPY source is not a query")),
                    },
                    _ => return Err(SqlError::internal("COPY source is not a query")),
                }
            }
        };
        let text: Arc<str> = query.to_string().into();
        let parsed = ParsedStatement {
            body: ParsedBody::Sql(Box::new(Statement::Query(Box::new(query)))),
            source: Source::new(&text),
            text,
            as_of: None,
            concurrently: false,
        };
        let planned = self.plan_query(&parsed, &[])?;
        match planned.body {
            PlannedBody::Query(_) => Ok((parsed, planned)),
            _ => Err(SqlError::not_supported("COPY of a data-modifying statement")),
        }
    }
}

/// Reads lines into full rows of the table.
struct CopyReader<'a> {
    table: &'a Table,
    positions: Vec<usize>,
    options: &'a CopyOptions,
    io: IoSettings,
    fields: Vec<Option<String>>,
    line: u64,
    done: bool,
}

impl CopyReader<'_> {
    /// `None` for lines that are not rows: the header, what follows `\.`.
    fn read(&mut self, line: &[u8]) -> Result<Option<Row>> {
        self.line += 1;
        if self.done || (self.line == 1 && self.options.header) {
            return Ok(None);
        }
        if line == b"\\." {
            self.done = true;
            return Ok(None);
        }
        let context = format!("COPY {}, line {}", self.table.name, self.line);
        split_fields(line, self.options, &mut self.fields).map_err(|error| error.with_context(&context))?;
        if self.fields.len() > self.positions.len() {
            return Err(SqlError::new(
                SqlState::BAD_COPY_FILE_FORMAT,
                "extra data after last expected column",
            )
            .with_context(context));
        }
        if self.fields.len() < self.positions.len() {
            let missing = &self.table.columns[self.positions[self.fields.len()]].name;
            return Err(SqlError::new(
                SqlState::BAD_COPY_FILE_FORMAT,
                format!("missing data for column \"{missing}\""),
            )
            .with_context(context));
        }
        let mut row = vec![Datum::Null; self.table.columns.len()];
        for (field, &position) in self.fields.iter().zip(&self.positions) {
            let column = &self.table.columns[position];
            if let Some(text) = field {
                row[position] = text_in(column.ty, text, &self.io).map_err(|error| {
                    error.with_context(format!("{context}, column {}: \"{text}\"", column.name))
                })?;
            }
        }
        Ok(Some(row))
    }
}

fn note_references(references: &[Arc<Reference>], rows: &[Row], out: &mut Vec<Consequence>) {
    for row in rows {
        out.extend(references.iter().filter_map(|key| key.refers(row)));
    }
}

fn copy_columns(table: &Table, columns: &[ast::Ident]) -> Result<Vec<usize>> {
    if columns.is_empty() {
        return Ok((0..table.columns.len()).filter(|&position| !table.columns[position].hidden).collect());
    }
    let mut positions = Vec::new();
    for ident in columns {
        let name = names::fold(ident);
        let position = table.columns.iter().position(|column| column.name == name && !column.hidden);
        let position = position.ok_or_else(|| {
            SqlError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
            )
        })?;
        if positions.contains(&position) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        positions.push(position);
    }
    Ok(positions)
}

fn copy_options(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<CopyOptions> {
    let is_csv = options.iter().any(
        |option| matches!(option, CopyOption::Format(format) if format.value.eq_ignore_ascii_case("csv")),
    ) || legacy.iter().any(|option| matches!(option, CopyLegacyOption::Csv(_)));
    let mut result = CopyOptions::new(is_csv);
    for option in options {
        match option {
            CopyOption::Format(format) => match format.value.to_ascii_lowercase().as_str() {
                "csv" | "text" => {}
                "binary" => return Err(SqlError::not_supported("COPY BINARY")),
                other => {
                    return Err(SqlError::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        format!("COPY format \"{other}\" not recognized"),
                    ));
                }
            },
            // Rows are visible only after the commit in any case.
            CopyOption::Freeze(_) => {}
            CopyOption::Delimiter(delimiter) => result.delimiter = one_byte(*delimiter, "delimiter")?,
            CopyOption::Null(null) => result.null.clone_from(null),
            CopyOption::Header(header) => result.header = *header,
            CopyOption::Quote(quote) => result.quote = one_byte(*quote, "quote")?,
            CopyOption::Escape(escape) => result.escape = one_byte(*escape, "escape")?,
            CopyOption::Encoding(encoding) => {
                if !matches!(encoding.to_ascii_uppercase().replace('-', "").as_str(), "UTF8" | "UNICODE") {
                    return Err(SqlError::not_supported(format!("COPY with encoding \"{encoding}\"")));
                }
            }
            other => return Err(SqlError::not_supported(format!("COPY option {other}"))),
        }
    }
    for option in legacy {
        match option {
            CopyLegacyOption::Csv(parts) => {
                for part in parts {
                    match part {
                        ast::CopyLegacyCsvOption::Header => result.header = true,
                        ast::CopyLegacyCsvOption::Quote(quote) => result.quote = one_byte(*quote, "quote")?,
                        ast::CopyLegacyCsvOption::Escape(escape) => {
                            result.escape = one_byte(*escape, "escape")?
                        }
                        other => return Err(SqlError::not_supported(format!("COPY option {other}"))),
                    }
                }
            }
            CopyLegacyOption::Delimiter(delimiter) => result.delimiter = one_byte(*delimiter, "delimiter")?,
            CopyLegacyOption::Header => result.header = true,
            CopyLegacyOption::Null(null) => result.null.clone_from(null),
            CopyLegacyOption::Binary => return Err(SqlError::not_supported("COPY BINARY")),
            other => return Err(SqlError::not_supported(format!("COPY option {other}"))),
        }
    }
    Ok(result)
}

fn one_byte(c: char, what: &str) -> Result<u8> {
    u8::try_from(c).ok().filter(u8::is_ascii).ok_or_else(|| {
        SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("COPY {what} must be a single one-byte character"),
        )
    })
}
