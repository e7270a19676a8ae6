//! What every one-partition operator of ours says of itself.

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
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(1),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}
