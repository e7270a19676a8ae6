//! One connection, over the simple query protocol: results in text, as PostgreSQL writes them.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::letters;

/// The type letters of the record that runs, in the dialect that formats by them.
pub type Letters = Arc<Mutex<Option<Vec<DefaultColumnType>>>>;

pub struct Client {
    client: Option<tokio_postgres::Client>,
    letters: Letters,
}

impl Client {
    pub async fn connect(url: &str, letters: Letters) -> Result<Self, ClientError> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        // Ends with the client; what ends it early, the next query reports.
        tokio::spawn(async move {
            let _reported_by_queries = connection.await;
        });
        Ok(Self { client: Some(client), letters })
    }

    fn shown(&self, value: Option<&str>, column: usize) -> String {
        let letters = self.letters.lock().expect("nobody panics under this lock");
        match &*letters {
            Some(letters) => letters::shown(value, letters.get(column)),
            None => match value {
                None => "NULL".to_owned(),
                Some("") => "(empty)".to_owned(),
                Some(value) => value.to_owned(),
            },
        }
    }
}

/// An error, with its SQLSTATE in front as psql's verbose form has it.
#[derive(Debug)]
pub struct ClientError(tokio_postgres::Error);

impl From<tokio_postgres::Error> for ClientError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_db_error() {
            Some(error) => write!(f, "{}: {}", error.code().code(), error.message()),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::error::Error for ClientError {}

#[async_trait]
impl AsyncDB for Client {
    type Error = ClientError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, ClientError> {
        let client = self.client.as_ref().expect("no query follows the end");
        let messages = client.simple_query(sql).await?;
        let mut columns = None;
        let mut rows = Vec::new();
        let mut count = 0;
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(description) => {
                    columns = Some(description.len());
                    rows.clear();
                }
                SimpleQueryMessage::Row(row) => {
                    columns = Some(row.len());
                    rows.push((0..row.len()).map(|column| self.shown(row.get(column), column)).collect());
                }
                SimpleQueryMessage::CommandComplete(rows) => count = rows,
                _ => {}
            }
        }
        Ok(match columns {
            Some(columns) => DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn shutdown(&mut self) {
        self.client = None;
    }

    fn engine_name(&self) -> &str {
        "postgresql"
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &ClientError) -> Option<String> {
        error.0.code().map(|code| code.code().to_owned())
    }
}
