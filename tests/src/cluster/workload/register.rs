//! Registers that are read, written blindly, and read and written in one transaction: each must be linearizable.

use basalt_sim::check::{
    Anomaly, Kind, Level,
    history::{Operation, Transaction},
    linearizable,
    rw_register::{self, Inference},
};
use tokio_postgres::{Client, Error};

use super::{number, rotation::Rotation, widen};
use crate::{
    chaos::Outcome,
    cluster::{attempt::Attempt, recorder::Recorder},
};

const SLOTS: u64 = 5;

pub struct Register {
    keys: Rotation,
}

impl Default for Register {
    fn default() -> Self {
        Self { keys: Rotation::new(SLOTS, 80) }
    }
}

pub async fn create(client: &Client) -> Outcome {
    client.batch_execute("create table registers (id int8 primary key, value int8, pad text)").await?;
    widen(client, "registers", SLOTS).await
}

impl Register {
    pub async fn step(&self, attempt: &mut Attempt<'_>, recorder: &Recorder) -> Result<(), Error> {
        let key = self.keys.key();
        match fastrand::u32(0..10) {
            0..=3 => self.read(attempt, key).await,
            4..=6 => {
                let write = self.write(attempt, key, recorder.event());
                attempt.alone(&write).await.map(|_| ())
            }
            _ => {
                attempt.begin().await?;
                self.read(attempt, key).await?;
                let write = self.write(attempt, key, recorder.event());
                attempt.query(&write).await?;
                attempt.commit().await
            }
        }
    }

    async fn read(&self, attempt: &mut Attempt<'_>, key: u64) -> Result<(), Error> {
        let row = self.keys.row(key, 1);
        let rows = attempt.query(&format!("select value from registers where id = {row}")).await?;
        let value = rows.first().and_then(|row| number(row[0].as_ref()));
        attempt.did(Operation::Read { key, value });
        Ok(())
    }

    fn write(&self, attempt: &mut Attempt<'_>, key: u64, value: u64) -> String {
        attempt.did(Operation::Write { key, value });
        let row = self.keys.row(key, 1);
        format!(
            "insert into registers (id, value) values ({row}, {value})
             on conflict (id) do update set value = excluded.value"
        )
    }

    pub async fn read_all(&self, attempt: &mut Attempt<'_>) -> Result<String, Error> {
        let rows = attempt.query("select id, value from registers where pad is null order by id").await?;
        for key in self.keys.keys() {
            let id = self.keys.row(key, 1);
            let row = rows.iter().find(|row| number(row[0].as_ref()) == Some(id));
            attempt.did(Operation::Read { key, value: row.and_then(|row| number(row[1].as_ref())) });
        }
        Ok(format!("{rows:?}"))
    }
}

pub fn judge(history: &[Transaction]) -> Vec<Anomaly> {
    let mut found = linearizable::check_keys(None, &linearizable::by_key(history));
    found.extend(rw_register::check(history, Level::Serializable, Inference::RealTime));
    // A register with more writes under way at once than a search can order is no finding.
    found.retain(|anomaly| anomaly.kind != Kind::Undecided);
    found
}
