//! Results on their way from a session to its client.

use std::sync::Arc;

use basalt_env::BoxFuture;
use basalt_functions::SessionInfo;
use basalt_pgwire::{Field, Format, FormatCodes, ResultSink, Severity};
use basalt_sql::{Notice, NoticeLevel, Output, session::SessionShared};
use basalt_types::{Datum, IoSettings, Oid, Result};
use bytes::Bytes;

/// Types whose values are object ids and whose text is a name that only the catalog knows.
const NAMED_IDS: [Oid; 5] = [Oid::REGCLASS, Oid::REGTYPE, Oid::REGPROC, Oid::REGROLE, Oid::REGNAMESPACE];

/// What the connection was last told of the settings that text output depends on.
pub type LastSettings = Option<IoSettings>;

/// One query's or one execution's way out.
pub struct ClientOutput<'a> {
    pub sink: &'a mut dyn ResultSink,
    pub shared: Arc<SessionShared>,
    pub last_settings: &'a mut LastSettings,
    /// As Bind asked; simple queries answer in text.
    pub formats: &'a FormatCodes,
    /// Columns of object ids that are shown as names (`regclass` and its like), in text.
    pub named_ids: Vec<(usize, Oid)>,
    /// Only a simple query's client is told the columns' names here.
    pub names: bool,
}

impl ClientOutput<'_> {
    /// Settings may change between the statements of one query.
    fn tell_settings(&mut self) {
        let settings = self.shared.settings.lock();
        let now = &settings.hot().io;
        if self.last_settings.as_ref() != Some(now) {
            self.sink.set_io_settings(now);
            *self.last_settings = Some(now.clone());
        }
    }
}

/// The client's view of a column.
pub fn client_field(field: &basalt_planner::Field, format: Format, named: bool) -> Field {
    Field {
        name: if named { field.name.clone() } else { String::new() },
        table: field.table,
        column: field.attnum,
        ty: field.ty,
        format,
    }
}

pub fn client_notice(notice: &Notice) -> basalt_pgwire::Notice {
    let severity = match notice.level {
        NoticeLevel::Notice => Severity::Notice,
        NoticeLevel::Warning => Severity::Warning,
        NoticeLevel::Info => Severity::Info,
    };
    basalt_pgwire::Notice { severity, content: notice.content.clone() }
}

fn format(binary: bool) -> Format {
    if binary { Format::Binary } else { Format::Text }
}

impl Output for ClientOutput<'_> {
    fn fields(&mut self, fields: &[basalt_planner::Field]) -> Result<()> {
        self.tell_settings();
        let column = |(index, field)| client_field(field, self.formats.get(index), self.names);
        let fields: Vec<Field> = fields.iter().enumerate().map(column).collect();
        let is_named = |field: &Field| field.format == Format::Text && NAMED_IDS.contains(&field.ty.oid);
        let named = fields.iter().enumerate().filter(|(_, field)| is_named(field));
        self.named_ids = named.map(|(index, field)| (index, field.ty.oid)).collect();
        self.sink.row_description(&fields)
    }

    fn row(&mut self, row: &[Datum]) -> Result<()> {
        if self.named_ids.is_empty() {
            return self.sink.row(row);
        }
        let mut shown = row.to_vec();
        for (index, ty) in &self.named_ids {
            if let Datum::Oid(oid) = row[*index]
                && let Some(name) = self.shared.reg_name(*ty, oid)
            {
                shown[*index] = Datum::text(name);
            }
        }
        self.sink.row(&shown)
    }

    fn is_full(&self) -> bool {
        self.sink.is_full()
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.sink.flush_if_full())
    }

    fn complete(&mut self, tag: &str) -> Result<()> {
        self.sink.command_complete(tag)
    }

    fn empty_query(&mut self) -> Result<()> {
        self.sink.empty_query()
    }

    fn suspended(&mut self) -> Result<()> {
        self.sink.portal_suspended()
    }

    fn notice(&mut self, notice: &Notice) {
        self.sink.notice(&client_notice(notice));
    }

    fn copy_in_start(&mut self, binary: bool, columns: usize) -> Result<()> {
        self.sink.copy_in_start(format(binary), columns)
    }

    fn copy_read(&mut self) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(self.sink.copy_read())
    }

    fn copy_out_start(&mut self, binary: bool, columns: usize) -> Result<()> {
        self.tell_settings();
        self.sink.copy_out_start(format(binary), columns)
    }

    fn copy_out_data(&mut self, data: &[u8]) -> Result<()> {
        self.sink.copy_out_data(data)
    }

    fn copy_out_end(&mut self) -> Result<()> {
        self.sink.copy_out_end()
    }
}
