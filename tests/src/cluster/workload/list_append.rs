//! Appends to lists and reads of whole lists, several in a transaction.

use basalt_sim::check::{
    Anomaly, Level,
    history::{Operation, Transaction},
    list_append,
};
use tokio_postgres::{Client, Error};

use super::{number, one_in, rotation::Rotation, widen};
use crate::{
    chaos::Outcome,
    cluster::{attempt::Attempt, recorder::Recorder},
};

const SLOTS: u64 = 5;

pub struct ListAppend {
    keys: Rotation,
}

impl Default for ListAppend {
    fn default() -> Self {
        Self { keys: Rotation::new(SLOTS, 150) }
    }
}

pub async fn create(client: &Client) -> Outcome {
    client.batch_execute("create table lists (id int8 primary key, elements text, pad text)").await?;
    widen(client, "lists", SLOTS).await
}

impl ListAppend {
    pub async fn step(&self, attempt: &mut Attempt<'_>, recorder: &Recorder) -> Result<(), Error> {
        let steps = fastrand::usize(1..=4);
        if steps == 1 && fastrand::bool() {
            return self.append(attempt, recorder, true).await;
        }
        attempt.begin().await?;
        for _ in 0..steps {
            if fastrand::bool() {
                self.append(attempt, recorder, false).await?;
            } else {
                let key = self.keys.key();
                let row = self.keys.row(key, 1);
                let rows = attempt.query(&format!("select elements from lists where id = {row}")).await?;
                let values = rows.first().map(|row| elements(row[0].as_ref()));
                attempt.did(Operation::ReadList { key, values });
            }
        }
        if one_in(25) { attempt.roll_back().await } else { attempt.commit().await }
    }

    async fn append(
        &self,
        attempt: &mut Attempt<'_>,
        recorder: &Recorder,
        is_alone: bool,
    ) -> Result<(), Error> {
        let (key, value) = (self.keys.key(), recorder.event());
        let row = self.keys.row(key, 1);
        attempt.did(Operation::Append { key, value });
        let statement = format!(
            "insert into lists (id, elements) values ({row}, '{value}')
             on conflict (id) do update set elements = lists.elements || ',' || excluded.elements"
        );
        if is_alone { attempt.alone(&statement).await } else { attempt.query(&statement).await }.map(|_| ())
    }

    pub async fn read_all(&self, attempt: &mut Attempt<'_>) -> Result<String, Error> {
        let rows = attempt.query("select id, elements from lists where pad is null order by id").await?;
        for key in self.keys.keys() {
            let id = self.keys.row(key, 1);
            let row = rows.iter().find(|row| number(row[0].as_ref()) == Some(id));
            attempt.did(Operation::ReadList { key, values: row.map(|row| elements(row[1].as_ref())) });
        }
        Ok(format!("{rows:?}"))
    }
}

/// Numbers with commas between them.
fn elements(text: Option<&String>) -> Vec<u64> {
    // One that is no number is a value that nobody wrote, and is found as such.
    let parse = |element: &str| element.parse().unwrap_or(u64::MAX);
    text.map(|text| text.split(',').filter(|element| !element.is_empty()).map(parse).collect())
        .unwrap_or_default()
}

pub fn judge(history: &[Transaction]) -> Vec<Anomaly> {
    list_append::check(history, Level::Serializable)
}
