//! How rows become keys and values, and back.
//!
//! * Every key begins `10 ‖ table id ‖ index id` (big-endian u32 each), then the index columns, each encoded
//!   order-preserving and self-delimiting.
//! * Primary entry: key columns in the key; the value holds every other column by column id, and those key columns whose
//!   key encoding loses how they print (numeric 1.00, char(n), −0).
//! * Secondary entry: index columns in the key, then the primary key columns unless the index is UNIQUE and none of its
//!   columns is NULL in this row. So NULLs never conflict, and every entry's key is unique. The value holds the primary
//!   key when it is not in the key, the INCLUDE columns, and what the key encoding loses.

pub mod entry;
pub mod keys;

pub use entry::{EntryCodec, RowEntry};
pub use keys::{database_table_span, index_prefix, index_span, table_span};
