//! Rows that are inserted once, perhaps deleted once, and scanned; with an index that must say the same. Beside them places
//! that everybody wants and nobody may have twice, as a unique index says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use basalt_sim::check::history::Operation;
use tokio_postgres::{Client, Error};

use super::{number, one_in, rotation::Rotation, widen};
use crate::{
    chaos::Outcome,
    cluster::{attempt::Attempt, recorder::Recorder, status::rows},
};

const SLOTS: u64 = 4;
/// Rows of one set.
const ROOM: u64 = 1_000;
const TAGS: u64 = 7;
/// Values that are unique.
const PLACES: u64 = 20;

pub struct Sets {
    keys: Rotation,
    /// By set, how many rows were tried to insert, and those that were inserted and that nobody has tried to delete: a
    /// delete that comes before its insert would prove nothing.
    used: Mutex<BTreeMap<u64, (u64, Vec<u64>)>>,
}

impl Default for Sets {
    fn default() -> Self {
        Self { keys: Rotation::new(SLOTS, 150), used: Mutex::default() }
    }
}

pub async fn create(client: &Client) -> Outcome {
    client
        .batch_execute(
            "create table elements (id int8 primary key, tag int8, value int8, pad text);
             create index elements_tag on elements (tag);
             create table places (id int8 primary key, place int8 unique)",
        )
        .await?;
    widen(client, "elements", SLOTS).await
}

impl Sets {
    pub async fn step(&self, attempt: &mut Attempt<'_>, recorder: &Recorder) -> Result<(), Error> {
        if one_in(6) {
            return take_place(attempt).await;
        }
        match fastrand::u32(0..10) {
            0..=4 => {
                let (insert, added) = self.insert(attempt, recorder, 1);
                attempt.alone(&insert).await?;
                self.note(added);
            }
            5 | 6 => {
                attempt.begin().await?;
                let mut added = Vec::new();
                for _ in 0..2 {
                    let (insert, more) = self.insert(attempt, recorder, 2);
                    attempt.query(&insert).await?;
                    added.extend(more);
                }
                if one_in(10) {
                    return attempt.roll_back().await;
                }
                attempt.commit().await?;
                self.note(added);
            }
            7 => {
                let Some(delete) = self.delete(attempt) else { return Ok(()) };
                attempt.alone(&delete).await?;
            }
            _ => {
                self.scan(attempt, self.keys.key()).await?;
            }
        }
        Ok(())
    }

    /// The statement, and the rows that it adds.
    fn insert(
        &self,
        attempt: &mut Attempt<'_>,
        recorder: &Recorder,
        count: u64,
    ) -> (String, Vec<(u64, u64)>) {
        let set = self.keys.key();
        let mut used = self.used.lock().expect("nobody panics with it");
        let (next, _) = used.entry(set).or_default();
        let (mut values, mut added) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (key, value) = (*next, recorder.event());
            *next += 1;
            added.push((set, key));
            attempt.did(Operation::Insert { set, key, value });
            values.push(format!("({}, {}, {value}, null)", self.row(set, key), value % TAGS));
        }
        (format!("insert into elements values {}", values.join(", ")), added)
    }

    fn note(&self, added: Vec<(u64, u64)>) {
        let mut used = self.used.lock().expect("nobody panics with it");
        for (set, key) in added {
            used.entry(set).or_default().1.push(key);
        }
    }

    fn delete(&self, attempt: &mut Attempt<'_>) -> Option<String> {
        let set = self.keys.key();
        let mut used = self.used.lock().expect("nobody panics with it");
        let (_, alive) = used.get_mut(&set)?;
        if alive.is_empty() {
            return None;
        }
        let key = alive.swap_remove(fastrand::usize(0..alive.len()));
        attempt.did(Operation::Delete { set, key });
        Some(format!("delete from elements where id = {}", self.row(set, key)))
    }

    fn row(&self, set: u64, key: u64) -> u64 {
        self.keys.row(set, ROOM) + key
    }

    async fn scan(&self, attempt: &mut Attempt<'_>, set: u64) -> Result<Vec<(u64, u64)>, Error> {
        let from = self.row(set, 0);
        let query = format!("select id, value from elements where id >= {from} and id < {}", from + ROOM);
        let found = attempt.query(&query).await?;
        let rows = found.iter().filter_map(|row| Some((number(row[0].as_ref())?, number(row[1].as_ref())?)));
        let rows: Vec<(u64, u64)> = rows.map(|(id, value)| (id - from, value)).collect();
        attempt.did(Operation::Scan { set, rows: rows.clone() });
        Ok(rows)
    }

    pub async fn read_all(&self, attempt: &mut Attempt<'_>) -> Result<String, Error> {
        let mut found = Vec::new();
        for set in self.keys.keys() {
            found.push(self.scan(attempt, set).await?);
        }
        Ok(format!("{found:?}"))
    }
}

/// Takes a place that may be taken, moves to another one, or leaves one.
async fn take_place(attempt: &mut Attempt<'_>) -> Result<(), Error> {
    let (id, place) = (fastrand::u32(..), fastrand::u64(..PLACES));
    let statement = match fastrand::u32(0..3) {
        0 => format!("insert into places values ({id}, {place}) on conflict (place) do nothing"),
        1 => format!(
            "insert into places values ({id}, {place}) on conflict (place) do update set id = excluded.id"
        ),
        _ => format!("delete from places where place = {place}"),
    };
    attempt.alone(&statement).await?;
    Ok(())
}

/// No place has two rows, and the index says what the table says.
async fn contradicting_places(client: &Client) -> Outcome<Vec<String>> {
    let mut by_place: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for row in rows(client, "select place, id from places order by id").await? {
        if let (Some(place), Some(id)) = (number(row[0].as_ref()), number(row[1].as_ref())) {
            by_place.entry(place).or_default().push(id);
        }
    }
    let mut found = Vec::new();
    for place in 0..PLACES {
        let indexed = rows(client, &format!("select id from places where place = {place}")).await?;
        let indexed: Vec<u64> = indexed.iter().filter_map(|row| number(row[0].as_ref())).collect();
        let expected = by_place.remove(&place).unwrap_or_default();
        if expected.len() > 1 || indexed != expected {
            found.push(format!(
                "place {place}: rows {expected:?} in the table, {indexed:?} in the unique index"
            ));
        }
    }
    Ok(found)
}

/// The indexes say what the tables say.
pub async fn contradictions(client: &Client) -> Outcome<Vec<String>> {
    let mut found = contradicting_places(client).await?;
    let mut by_tag: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for row in rows(client, "select tag, id from elements where pad is null").await? {
        if let (Some(tag), Some(id)) = (number(row[0].as_ref()), number(row[1].as_ref())) {
            by_tag.entry(tag).or_default().insert(id);
        }
    }
    for tag in 0..TAGS {
        let indexed = rows(client, &format!("select id from elements where tag = {tag}")).await?;
        let indexed: BTreeSet<u64> = indexed.iter().filter_map(|row| number(row[0].as_ref())).collect();
        let expected = by_tag.remove(&tag).unwrap_or_default();
        if indexed != expected {
            let differing: Vec<_> = indexed.symmetric_difference(&expected).take(5).collect();
            found.push(format!("index and table differ for tag {tag}: {differing:?}"));
        }
    }
    Ok(found)
}
