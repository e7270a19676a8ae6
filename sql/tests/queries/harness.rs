//! A node in the simulator, and its answers as text.

use std::{
    collections::{BTreeSet, VecDeque},
    future::Future,
    sync::Arc,
};

use basalt_env::{
    BoxFuture, Clock, Env,
    sim::{SimDisk, SimExecutor},
};
use basalt_kv::{LocalSender, Network, Store, StoreConfig};
use basalt_kv_api::{ScanBatch, Sender};
use basalt_planner::Field;
use basalt_raft::Options;
use basalt_sql::{
    Cancel, ConnectInfo, NeverCancel, Notice, Output, Session, SqlOptions, SqlServices,
    exec::Vectorized,
    layout::{EntryCodec, index_span},
};
use basalt_storage::MemoryEngine;
use basalt_txn::{ScanRequest, TxnClient, TxnConfig, TxnOptions};
use basalt_types::{Datum, IoSettings, Result, Row, SqlType, text_out};
use bytes::Bytes;

/// Rows as `a|b`, NULL as `~`, one per line.
#[derive(Default)]
pub struct Text {
    types: Vec<SqlType>,
    pub text: String,
    /// What else came, in order, if it is wanted: `columns`, `row`, `suspended`, notices, and the command tags.
    pub messages: Option<Vec<String>>,
    /// What COPY FROM STDIN is to read.
    input: VecDeque<Bytes>,
}

impl Text {
    /// Keeps its messages.
    pub fn recording() -> Self {
        Self { messages: Some(Vec::new()), ..Self::default() }
    }

    fn record(&mut self, message: &str) {
        if let Some(messages) = &mut self.messages {
            messages.push(message.to_owned());
        }
    }
}

impl Output for Text {
    fn fields(&mut self, fields: &[Field]) -> Result<()> {
        self.record("columns");
        self.types = fields.iter().map(|field| field.ty).collect();
        Ok(())
    }

    fn row(&mut self, row: &[Datum]) -> Result<()> {
        self.record("row");
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        for (position, (value, ty)) in row.iter().zip(&self.types).enumerate() {
            if position > 0 {
                self.text.push('|');
            }
            match value {
                Datum::Null => self.text.push('~'),
                value => text_out(value, *ty, &IoSettings::default(), &mut self.text),
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        false
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn complete(&mut self, tag: &str) -> Result<()> {
        self.record(tag);
        Ok(())
    }

    fn empty_query(&mut self) -> Result<()> {
        Ok(())
    }

    fn suspended(&mut self) -> Result<()> {
        self.record("suspended");
        Ok(())
    }

    fn notice(&mut self, notice: &Notice) {
        self.record(notice.content.message());
    }

    fn copy_in_start(&mut self, _: bool, _: usize) -> Result<()> {
        Ok(())
    }

    fn copy_read(&mut self) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(std::future::ready(Ok(self.input.pop_front())))
    }

    fn copy_out_start(&mut self, _: bool, _: usize) -> Result<()> {
        Ok(())
    }

    fn copy_out_data(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn copy_out_end(&mut self) -> Result<()> {
        Ok(())
    }
}

pub struct Client {
    pub session: Session,
}

#[allow(dead_code, reason = "not every test binary prepares statements")]
impl Client {
    /// Parse.
    pub async fn prepare(&mut self, name: &str, sql: &str) {
        self.session.parse(name, sql, &[]).await.expect("the statement is right");
        self.session.sync().await.expect("nothing to fail");
    }

    /// Bind, Execute and Sync, with `value` for the parameter if there is one.
    pub async fn execute(&mut self, name: &str, value: &str) {
        let wanted = self.session.statement(name).expect("it was prepared").params.len();
        let values = vec![Some(Bytes::copy_from_slice(value.as_bytes())); wanted];
        self.session.bind("", name, &values, &|_| false).await.expect("the parameter is right");
        self.session.execute("", 0, &mut Text::default()).await.expect("the statement runs");
        self.session.sync().await.expect("it commits");
    }

    /// Forgets every prepared statement.
    pub async fn discard(&mut self) {
        assert_eq!(self.run("DEALLOCATE ALL").await, "");
    }

    /// Bytes of the future of an execution.
    pub fn execution_future_bytes(&mut self) -> usize {
        size_of_val(&self.session.execute("", 0, &mut Text::default()))
    }
}

impl Client {
    /// The rows of the last statements, or `ERROR sqlstate: message`.
    pub async fn run(&mut self, sql: &str) -> String {
        self.run_with(sql, VecDeque::new()).await
    }

    /// The same with input for COPY.
    pub async fn run_with(&mut self, sql: &str, input: VecDeque<Bytes>) -> String {
        let mut out = Text { input, ..Text::default() };
        match self.session.simple_query(sql, &mut out).await {
            Ok(()) => out.text,
            Err(error) => format!("ERROR {}: {}", error.sqlstate(), error.message()),
        }
    }

    /// Binds the statement, fetches at most so many rows, and ends the implicit transaction: the rows or an error.
    pub async fn fetch(&mut self, sql: &str, rows_max: u32) -> String {
        let mut out = Text::default();
        let fetched = async {
            self.session.parse("", sql, &[]).await?;
            self.session.bind("", "", &[], &|_| false).await?;
            self.session.execute("", rows_max, &mut out).await
        };
        let fetched = match fetched.await {
            Ok(()) => out.text,
            Err(error) => return format!("ERROR {}: {}", error.sqlstate(), error.message()),
        };
        match self.session.sync().await {
            Ok(()) => fetched,
            Err(error) => format!("ERROR {}: {}", error.sqlstate(), error.message()),
        }
    }
}

pub struct Node {
    pub executor: SimExecutor,
    pub disk: SimDisk,
    pub services: Arc<SqlServices>,
}

impl Node {
    pub fn client(&self) -> Client {
        self.client_with(Arc::new(NeverCancel))
    }

    pub fn client_with(&self, cancel: Arc<dyn Cancel>) -> Client {
        let info = self.info("postgres", 1, cancel);
        Client { session: Session::connect(self.services.clone(), info).expect("the database is there") }
    }

    pub fn info(&self, database: &str, pid: i32, cancel: Arc<dyn Cancel>) -> ConnectInfo {
        ConnectInfo {
            user: "postgres".to_owned(),
            database: database.to_owned(),
            application_name: String::new(),
            options: Vec::new(),
            client: None,
            pid,
            cancel,
        }
    }

    /// Fails unless every index of the table holds exactly the entries of its rows, so that reading an index answers as
    /// reading the rows does. `after` says what was done before.
    pub async fn check_indexes(&self, table: &str, after: &str) {
        let snapshot = self.services.catalog.current();
        let table = snapshot.tables.values().find(|known| known.name == table).expect("the table is there");
        let txn = self.services.client.begin(TxnConfig::default()).expect("a transaction begins");
        let codecs: Vec<EntryCodec> = (0..table.indexes.len()).map(|at| EntryCodec::new(table, at)).collect();
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let mut rows = Vec::new();
        for (index, codec) in codecs.iter().enumerate() {
            let mut stored = BTreeSet::new();
            let mut span = Some(index_span(table.id, table.indexes[index].id));
            while let Some(next) = span {
                let page = txn.scan(ScanRequest::new(next)).await.expect("the index can be read");
                let ScanBatch::Rows(entries) = page.batch else { unreachable!("no program was given") };
                stored.extend(entries);
                span = page.resume;
            }
            if index == 0 {
                for (key, value) in &stored {
                    let mut row = Row::new();
                    codec.decode_into(key, value, &all, &mut row).expect("the row can be read");
                    rows.push(row);
                }
            }
            let entry = |row: &Row| codec.encode(row).map(|entry| (entry.key, entry.value));
            let wanted: Result<BTreeSet<_>> = rows.iter().map(entry).collect();
            let mut wanted = wanted.expect("a stored row fits");
            if index == 0 {
                // A row has the columns of when it was written: it lacks some that were added later, and holds some that were
                // dropped since.
                stored = without_values(stored);
                wanted = without_values(wanted);
            }
            let name = &table.indexes[index].name;
            assert_eq!(stored, wanted, "index {name} after: {after}");
        }
        txn.rollback().await;
    }
}

fn without_values<K: Ord, V: Ord + Default>(entries: BTreeSet<(K, V)>) -> BTreeSet<(K, V)> {
    entries.into_iter().map(|(key, _)| (key, V::default())).collect()
}

/// Runs `body` on a fresh node.
pub fn with_node<F: Future<Output = ()>>(body: impl FnOnce(Node) -> F) {
    with_options(SqlOptions::default(), body);
}

pub fn with_options<F: Future<Output = ()>>(options: SqlOptions, body: impl FnOnce(Node) -> F) {
    with_executor(options, None, body);
}

/// Runs `body` on a node with a vectorised executor.
pub fn with_executor<F: Future<Output = ()>>(
    options: SqlOptions,
    vectorized: Option<Arc<dyn Vectorized>>,
    body: impl FnOnce(Node) -> F,
) {
    with_sender(options, vectorized, |sender| sender, body);
}

/// Runs `body` on a node whose requests pass through what `wrap` makes.
pub fn with_sender<F: Future<Output = ()>>(
    options: SqlOptions,
    vectorized: Option<Arc<dyn Vectorized>>,
    wrap: impl FnOnce(Arc<dyn Sender>) -> Arc<dyn Sender>,
    body: impl FnOnce(Node) -> F,
) {
    with_clock(options, vectorized, wrap, |clock| clock, body);
}

/// Runs `body` on a node whose SQL layer reads the clock that `clock` makes.
pub fn with_clock<F: Future<Output = ()>>(
    options: SqlOptions,
    vectorized: Option<Arc<dyn Vectorized>>,
    wrap: impl FnOnce(Arc<dyn Sender>) -> Arc<dyn Sender>,
    clock: impl FnOnce(Arc<dyn Clock>) -> Arc<dyn Clock>,
    body: impl FnOnce(Node) -> F,
) {
    let (executor, disk) = (SimExecutor::new(7), SimDisk::new());
    let env = executor.env(1, disk.clone());
    executor.clone().run(async {
        let engine = Arc::new(MemoryEngine::new());
        let config = StoreConfig::default();
        let network = Network::none(config.node_id);
        let store = Store::open(env.clone(), engine, Options::default(), network, config);
        let store = store.await.expect("a new store opens");
        let sender = wrap(Arc::new(LocalSender::new(store)));
        let client = TxnClient::new(env.clone(), sender, TxnOptions::default());
        let env = Env { clock: clock(env.clock.clone()), ..env };
        let services = SqlServices::open(env, client, options, vectorized, None);
        let services = services.await.expect("a new catalog opens");
        body(Node { executor, disk, services }).await;
    });
}

/// Runs `setup`, then each query, and compares with what is expected of it.
pub fn check(setup: &str, cases: &[(&str, &str)]) {
    with_node(async |node| {
        let mut client = node.client();
        if !setup.is_empty() {
            assert_eq!(client.run(setup).await, "", "setup");
        }
        let mut wrong = Vec::new();
        for (sql, expected) in cases {
            let got = client.run(sql).await;
            if got != *expected {
                wrong.push(format!("{sql}\n  expected {expected:?}\n  got      {got:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {} answers differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    });
}
