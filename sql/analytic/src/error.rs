//! Errors on their way through DataFusion and back.

use arrow::error::ArrowError;
use basalt_types::{SqlError, SqlState};
use datafusion::common::DataFusionError;

/// Wraps an error so that [`from_datafusion`] gives the same one back.
pub fn to_datafusion(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A state that the translation excludes.
pub fn internal(message: impl Into<String>) -> DataFusionError {
    to_datafusion(SqlError::internal(message))
}

/// What a client is told.
pub fn from_datafusion(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(inner) => from_boxed(&**inner),
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::ExternalError(inner) => from_boxed(&**inner),
            ArrowError::DivideByZero => SqlError::division_by_zero(),
            other => SqlError::internal(other.to_string()),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(inner),
        DataFusionError::Shared(inner) => from_datafusion(inner),
        DataFusionError::ResourcesExhausted(message) => {
            SqlError::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(first_line(message))
        }
        other => SqlError::internal(first_line(&other.to_string())),
    }
}

fn from_boxed(error: &(dyn std::error::Error + Send + Sync + 'static)) -> SqlError {
    if let Some(error) = error.downcast_ref::<SqlError>() {
        return error.clone();
    }
    match error.downcast_ref::<DataFusionError>() {
        Some(error) => from_datafusion(error),
        None => SqlError::internal(error.to_string()),
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}
