//! The bridge to DataFusion's aggregate functions.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::{
    common::Result,
    logical_expr::{
        Accumulator, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use super::single::SingleGroup;
use crate::kind::Kind;

/// Makes accumulators of one call.
pub trait Factory: Send + Sync {
    fn create(&self) -> Result<Box<dyn GroupsAccumulator>>;
    /// Kinds of the accumulator's state columns.
    fn state(&self) -> Result<Vec<Kind>>;
}

/// One aggregate call of a plan.
pub struct CallUdaf {
    name: String,
    signature: Signature,
    output: Kind,
    factory: Arc<dyn Factory>,
}

impl CallUdaf {
    pub fn new(name: &str, output: Kind, factory: Arc<dyn Factory>) -> Self {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Self { name: name.to_owned(), signature, output, factory }
    }
}

impl fmt::Debug for CallUdaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallUdaf({})", self.name)
    }
}

impl PartialEq for CallUdaf {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.factory, &other.factory)
    }
}

impl Eq for CallUdaf {}

impl Hash for CallUdaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for CallUdaf {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.output.data_type())
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(SingleGroup::new(self.factory.create()?)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let kinds = self.factory.state()?;
        let field = |(index, kind): (usize, Kind)| {
            Arc::new(Field::new(format!("{}[{index}]", args.name), kind.data_type(), true))
        };
        Ok(kinds.into_iter().enumerate().map(field).collect())
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.factory.create()
    }
}
