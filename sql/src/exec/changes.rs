//! The rows that the running statement has changed, seen across its parts.
//!
//! A statement sees the state before it. So a join, or another part of it under WITH, may come to a row that it has
//! changed already, with values that are no longer there: a second change would take away index entries that do not
//! exist and leave those that do. A stored row is therefore changed once per statement, and what comes first counts.
//! The keys are kept only where a row can come again: see [`gives_rows_once`] and [`Changes::is_shared`].

use std::{
    collections::{BTreeMap, HashSet},
    hash::BuildHasherDefault,
};

use basalt_planner::{
    Plan, PlanNode, inputs,
    plan::{JoinKind, OnConflict},
};
use basalt_types::{Oid, Result};
use parking_lot::Mutex;

use super::{
    key::KeyHasher,
    memory::{MemoryBudget, Reservation},
    referential::Consequence,
};

/// What a key takes besides its bytes.
const ENTRY_BYTES: usize = 56;

/// See the module's documentation. One per statement.
#[derive(Debug)]
pub struct Changes(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Tables that the parts of the statement change, with the number of parts, and whether one of them may come to
    /// rows that are there.
    targets: BTreeMap<Oid, (usize, bool)>,
    /// WITH clauses that change data and have not ended.
    open: usize,
    /// Keys of the primary index.
    rows: HashSet<Box<[u8]>, BuildHasherDefault<KeyHasher>>,
    memory: Reservation,
    /// What the parts that have ended mean for foreign keys.
    consequences: Vec<Consequence>,
}

impl Changes {
    pub fn new(memory: &MemoryBudget) -> Self {
        Self(Mutex::new(State {
            targets: BTreeMap::new(),
            open: 0,
            rows: HashSet::default(),
            memory: Reservation::new(memory),
            consequences: Vec::new(),
        }))
    }

    /// Begins a WITH clause whose definition changes data.
    pub(crate) fn enter(&self, definition: &Plan, body: &Plan) {
        let mut state = self.0.lock();
        // The outermost clause holds all others.
        if state.open == 0 {
            note_targets(definition, &mut state.targets);
            note_targets(body, &mut state.targets);
        }
        state.open += 1;
    }

    /// Ends a WITH clause. Gives what is to be seen to now, which is nothing before the last one.
    pub(crate) fn leave(&self) -> Vec<Consequence> {
        let mut state = self.0.lock();
        state.open -= 1;
        if state.open == 0 { std::mem::take(&mut state.consequences) } else { Vec::new() }
    }

    /// Foreign keys are checked when the whole statement is done: keeps what a part of it means for them until then, or
    /// gives it back when there is no other part.
    pub(crate) fn postpone(&self, consequences: Vec<Consequence>) -> Vec<Consequence> {
        let mut state = self.0.lock();
        if state.open == 0 {
            return consequences;
        }
        state.consequences.extend(consequences);
        Vec::new()
    }

    /// Whether several parts of the statement may come to the same row of the table.
    pub(crate) fn is_shared(&self, table: Oid) -> bool {
        self.0.lock().targets.get(&table).is_some_and(|&(parts, old_rows)| parts > 1 && old_rows)
    }

    /// Notes that the row with this primary key is changed; false when it has been before.
    pub(crate) fn note(&self, key: &[u8]) -> Result<bool> {
        let state = &mut *self.0.lock();
        if state.rows.contains(key) {
            return Ok(false);
        }
        state.memory.grow(key.len() + ENTRY_BYTES)?;
        state.rows.insert(key.into());
        Ok(true)
    }

    /// Whether the statement has changed or made the row with this primary key.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.0.lock().rows.contains(key)
    }
}

fn note_targets(plan: &Plan, targets: &mut BTreeMap<Oid, (usize, bool)>) {
    let target = match &plan.node {
        PlanNode::Insert(insert) => {
            let updates = matches!(insert.on_conflict, Some(OnConflict { update: Some(_), .. }));
            Some((insert.table.id, updates))
        }
        PlanNode::Update(update) => Some((update.table.id, true)),
        PlanNode::Delete(delete) => Some((delete.table.id, true)),
        _ => None,
    };
    if let Some((table, old_rows)) = target {
        let known = targets.entry(table).or_default();
        *known = (known.0 + 1, known.1 | old_rows);
    }
    for input in inputs(&plan.node) {
        note_targets(input, targets);
    }
}

/// Whether the source of an UPDATE or DELETE gives each row of its table at most once: nothing is joined to it that may
/// repeat it.
pub(crate) fn gives_rows_once(source: &Plan) -> bool {
    match &source.node {
        PlanNode::Scan(_) => true,
        PlanNode::Filter { input, .. }
        | PlanNode::Project { input, .. }
        | PlanNode::Sort { input, .. }
        | PlanNode::Limit { input, .. }
        | PlanNode::LockRows { input, .. } => gives_rows_once(input),
        PlanNode::NestedLoop { kind: JoinKind::Semi | JoinKind::Anti, left, .. }
        | PlanNode::HashJoin { kind: JoinKind::Semi | JoinKind::Anti, left, .. }
        | PlanNode::LookupJoin { kind: JoinKind::Semi | JoinKind::Anti, left, .. } => gives_rows_once(left),
        _ => false,
    }
}
