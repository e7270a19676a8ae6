//! Rows of virtual tables, filled by column name.

use std::{collections::BTreeMap, sync::Arc};

use basalt_planner::Table;
use basalt_types::{Array, Datum, Oid, Row};

/// Collects the rows of one table. Columns that are not set stay NULL.
pub(super) struct Rows {
    positions: BTreeMap<String, usize>,
    defaults: Row,
    rows: Vec<Row>,
}

impl Rows {
    pub fn new(table: &Table) -> Self {
        let positions =
            table.columns.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect();
        Self { positions, defaults: vec![Datum::Null; table.columns.len()], rows: Vec::new() }
    }

    /// What rows hold where they do not say otherwise.
    pub fn default(&mut self, values: &[(&str, Datum)]) {
        for (name, value) in values {
            let position = self.positions.get(*name).copied();
            self.defaults[position.expect("a column of the table")] = value.clone();
        }
    }

    pub fn push(&mut self, values: Vec<(&str, Datum)>) {
        let mut row = self.defaults.clone();
        for (name, value) in values {
            let position = self.positions.get(name).copied();
            row[position.expect("a column of the table")] = value;
        }
        self.rows.push(row);
    }

    /// Changes the row that was pushed last.
    pub fn set_last(&mut self, column: &str, value: Datum) {
        let position = self.positions.get(column).copied();
        if let Some(row) = self.rows.last_mut() {
            row[position.expect("a column of the table")] = value;
        }
    }

    pub fn has(&self, column: &str) -> bool {
        self.positions.contains_key(column)
    }

    pub fn finish(self) -> Vec<Row> {
        self.rows
    }
}

pub(super) fn text(value: impl AsRef<str>) -> Datum {
    Datum::text(value.as_ref())
}

pub(super) fn oid(value: Oid) -> Datum {
    Datum::Oid(value)
}

pub(super) fn letter(value: char) -> Datum {
    Datum::Char(value as u8)
}

pub(super) fn yes_no(value: bool) -> Datum {
    Datum::text(if value { "YES" } else { "NO" })
}

/// int2vector: numbered from 0.
pub(super) fn int2_vector(values: impl IntoIterator<Item = i16>) -> Datum {
    vector(Oid::INT2, values.into_iter().map(Datum::Int2).collect())
}

/// oidvector: numbered from 0.
pub(super) fn oid_vector(values: impl IntoIterator<Item = Oid>) -> Datum {
    vector(Oid::OID, values.into_iter().map(Datum::Oid).collect())
}

fn vector(element_type: Oid, elements: Vec<Datum>) -> Datum {
    let dimensions = if elements.is_empty() { vec![] } else { vec![(elements.len(), 0)] };
    Datum::Array(Arc::new(Array { element_type, dimensions, elements }))
}

pub(super) fn int2_array(values: impl IntoIterator<Item = i16>) -> Datum {
    let elements = values.into_iter().map(Datum::Int2).collect();
    Datum::Array(Arc::new(Array::from_elements(Oid::INT2, elements)))
}

pub(super) const FALSE: Datum = Datum::Bool(false);
pub(super) const TRUE: Datum = Datum::Bool(true);
