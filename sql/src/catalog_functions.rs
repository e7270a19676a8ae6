//! Functions that need the catalog: `pg_get_indexdef`, `pg_table_is_visible`, reg* names.

use basalt_types::{Datum, Oid, Result};

use crate::{catalog::CatalogView, session::SessionShared};

/// Answers a catalog function by `pg_proc` name; `None` when it is not one.
pub fn call(session: &SessionShared, view: &CatalogView, name: &str, args: &[Datum]) -> Option<Result<Datum>> {
    let _ = (session, view, name, args);
    None
}

/// Resolves the text of a reg* literal.
pub fn resolve_reg(view: &CatalogView, reg_type: Oid, text: &str) -> Result<Oid> {
    let _ = (view, reg_type);
    Err(crate::session::undefined_object("object", text))
}

/// Names an object for output of a reg* value.
pub fn reg_name(view: &CatalogView, reg_type: Oid, oid: Oid) -> Option<String> {
    let _ = (view, reg_type, oid);
    None
}
