//! The SQL layer: sessions, catalog, schema changes, the row executor, system catalogs.

pub mod catalog;
pub mod catalog_functions;
pub mod cluster;
pub mod ddl;
pub mod error;
pub mod exec;
pub mod jobs;
pub mod layout;
pub mod locks;
pub mod output;
pub mod plan_cache;
mod privileges;
pub mod row_ids;
pub mod sequences;
pub mod services;
pub mod session;
pub mod virtual_tables;

pub use output::{Cancel, NeverCancel, Notice, NoticeLevel, Output};
pub use services::{Activity, MetricsSource, NodeRow, RangeRow, SqlOptions, SqlServices, StoreInfo};
pub use session::{BlockState, ConnectInfo, Session};
