//! Aggregation by hashing.
//!
//! Each grouping set has a table of its groups; a group's number finds its aggregate states. Without groups there is
//! one, also over no rows.

use basalt_env::BoxFuture;
use basalt_planner::plan::Aggregate;
use basalt_types::{Datum, Result, Row};

use super::{
    Stream,
    accumulate::{AggregateSpec, AggregateState},
    build,
};
use crate::exec::{
    BATCH_ROWS, RowStream,
    eval::evaluator::RowEvaluator,
    key::{Comparison, KeyTable, comparisons},
    memory::Reservation,
    scope::{Scope, row_bytes},
};

/// The groups of one grouping set.
struct GroupSet {
    /// Per group expression, whether the set has it.
    has: Vec<bool>,
    table: KeyTable,
    /// The states of a group's aggregates lie side by side.
    states: Vec<AggregateState>,
}

struct HashAggregate {
    /// `None` once it has been read.
    input: Option<Stream>,
    groups: RowEvaluator,
    specs: Vec<AggregateSpec>,
    /// Arguments, filters and sort keys of all aggregates.
    inputs: RowEvaluator,
    sets: Vec<GroupSet>,
    groupings: Vec<Vec<usize>>,
    /// The set and the group to give out next.
    set: usize,
    group: usize,
    memory: Reservation,
    scope: Scope,
}

pub(super) async fn open(aggregate: &Aggregate, scope: &Scope) -> Result<Stream> {
    let layout = &aggregate.input.columns;
    let groups = RowEvaluator::new(aggregate.groups.iter().map(|(_, expr)| expr), layout, scope)?;
    let columns: Vec<Comparison> = comparisons(aggregate.groups.iter().map(|(_, expr)| expr.ty()));
    let mut exprs = Vec::new();
    let mut specs = Vec::with_capacity(aggregate.aggregates.len());
    for (_, call) in &aggregate.aggregates {
        specs.push(AggregateSpec::new(call, &mut exprs)?);
    }
    let whole = [(0..aggregate.groups.len()).collect()];
    let sets = aggregate.grouping_sets.as_deref().unwrap_or(&whole);
    let sets = sets.iter().map(|set| GroupSet {
        has: (0..aggregate.groups.len()).map(|position| set.contains(&position)).collect(),
        table: KeyTable::new(columns.clone()),
        states: Vec::new(),
    });
    Ok(Box::new(HashAggregate {
        sets: sets.collect(),
        groups,
        inputs: RowEvaluator::new(exprs, layout, scope)?,
        specs,
        groupings: aggregate.groupings.iter().map(|(_, positions)| positions.clone()).collect(),
        set: 0,
        group: 0,
        memory: Reservation::new(&scope.context.memory),
        input: Some(build(&aggregate.input, scope).await?),
        scope: scope.clone(),
    }))
}

impl GroupSet {
    /// The number of the group with this key, which may be emptied.
    fn group(
        &mut self,
        key: &mut Vec<Datum>,
        specs: &[AggregateSpec],
        scope: &Scope,
        memory: &mut Reservation,
    ) -> Result<usize> {
        let bytes = row_bytes(key);
        let (group, new) = self.table.insert(key);
        if new {
            memory.grow(bytes + KeyTable::ENTRY_BYTES + specs.len() * size_of::<AggregateState>())?;
            for spec in specs {
                self.states.push(spec.start(scope.eval(), memory)?);
            }
        }
        Ok(group)
    }
}

impl HashAggregate {
    async fn read(&mut self, mut input: Stream) -> Result<()> {
        let mut values = Row::new();
        let mut key = Row::new();
        let mut inputs = Row::new();
        // A set without groups has one group in any case.
        for set in &mut self.sets {
            if !set.has.contains(&true) {
                key.clear();
                key.resize(set.has.len(), Datum::Null);
                set.group(&mut key, &self.specs, &self.scope, &mut self.memory)?;
            }
        }
        while let Some(batch) = input.next_batch().await? {
            self.scope.checkpoint().await?;
            for row in batch {
                values.clear();
                self.groups.evaluate_all(&self.scope, &row, &mut values).await?;
                AggregateSpec::evaluate(&self.specs, &mut self.inputs, &self.scope, &row, &mut inputs)
                    .await?;
                for set in &mut self.sets {
                    key.clear();
                    let masked = values
                        .iter()
                        .zip(&set.has)
                        .map(|(value, has)| if *has { value.clone() } else { Datum::Null });
                    key.extend(masked);
                    let group = set.group(&mut key, &self.specs, &self.scope, &mut self.memory)?;
                    let first = group * self.specs.len();
                    let states = &mut set.states[first..first + self.specs.len()];
                    for (spec, state) in self.specs.iter().zip(states) {
                        spec.update(state, &inputs, &mut self.memory)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn output(&mut self) -> Result<Option<Vec<Row>>> {
        let mut out = Vec::new();
        while out.len() < BATCH_ROWS
            && let Some(set) = self.sets.get_mut(self.set)
        {
            if self.group >= set.table.len() {
                set.states = Vec::new();
                (self.set, self.group) = (self.set + 1, 0);
                continue;
            }
            let width = set.has.len() + self.specs.len() + self.groupings.len();
            let mut row = Row::with_capacity(width);
            row.extend_from_slice(set.table.key(self.group));
            let first = self.group * self.specs.len();
            for (spec, state) in self.specs.iter().zip(&mut set.states[first..]) {
                row.push(spec.finish(state, self.scope.eval())?);
            }
            for positions in &self.groupings {
                let mask =
                    positions.iter().fold(0, |mask, &position| mask << 1 | i32::from(!set.has[position]));
                row.push(Datum::Int4(mask));
            }
            out.push(row);
            self.group += 1;
        }
        Ok((!out.is_empty()).then_some(out))
    }
}

impl RowStream for HashAggregate {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            if let Some(input) = self.input.take() {
                self.read(input).await?;
            }
            self.scope.checkpoint().await?;
            self.output()
        })
    }
}
