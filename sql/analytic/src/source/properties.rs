//! What every operator of ours says of itself.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::{
    physical_expr::EquivalenceProperties,
    physical_plan::{
        Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
    },
};

pub fn single_partition(schema: SchemaRef) -> Arc<PlanProperties> {
    partitioned(schema, 1)
}

pub fn partitioned(schema: SchemaRef, count: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(count),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}
