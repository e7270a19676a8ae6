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
pub mod others;
pub mod output;
pub mod plan_cache;
mod privileges;
pub mod row_ids;
pub mod sequences;
pub mod services;
pub mod session;
pub mod sessions;
pub mod virtual_tables;

pub use output::{Cancel, NeverCancel, Notice, NoticeLevel, Output, Signal};
pub use services::{MetricsSource, NodeRow, RangeRow, SqlOptions, SqlServices, StoreInfo};
pub use session::{BlockState, ConnectInfo, Session};
pub use sessions::{Activity, SessionState, Sessions};
