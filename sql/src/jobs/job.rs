//! The stored row of a job.

use basalt_base::{Key, Span, codec, keys};
use basalt_planner::Index;
use basalt_types::{Oid, Result, SqlError, SqlState};
use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    catalog::{
        codec::{self as descriptor_codec, decode_index, encode_index},
        fields::{Input, damaged, put_bool, put_bytes, put_option, put_string},
    },
    cluster::rows::{Identity, decode_identity, encode_identity},
};

const FORMAT: u8 = 1;

/// Where a job stands. It ends in one of the last three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Nothing of it can be seen yet.
    Pending,
    Running,
    /// What it has done is undone.
    Reverting,
    Succeeded,
    Failed,
    Canceled,
}

impl JobState {
    const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Reverting, Self::Succeeded, Self::Failed, Self::Canceled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Reverting => "reverting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// How much of the table is in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub rows: u64,
    /// The primary index that is read and the index that is filled, by id. A change of the table that writes it anew
    /// (TRUNCATE, another primary key) gives them others: then it begins again.
    pub of: (u32, u32),
    /// Where the next rows are; `None` at the beginning.
    pub resume: Option<Key>,
    /// All rows are there.
    pub is_filled: bool,
}

/// Why a job failed, for the client that waits for it and for whoever asks later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    pub sqlstate: SqlState,
    pub message: String,
    pub detail: Option<String>,
}

/// The building of an index beside the use of its table. A row of `basalt_jobs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: Oid,
    pub database: Oid,
    pub table: Oid,
    /// As it was asked for; it gets its id when it becomes part of the table.
    pub index: Index,
    /// The statement, for people.
    pub description: String,
    pub state: JobState,
    pub cancel_requested: bool,
    /// The session of the node that runs it.
    pub executor: Option<Identity>,
    /// Microseconds since 2000-01-01 UTC.
    pub created: i64,
    pub finished: Option<i64>,
    pub progress: Progress,
    pub error: Option<JobError>,
}

impl JobError {
    pub fn of(error: &SqlError) -> Self {
        let fields = error.fields();
        Self { sqlstate: error.sqlstate(), message: fields.message.clone(), detail: fields.detail.clone() }
    }

    pub fn to_sql_error(&self) -> SqlError {
        let error = SqlError::new(self.sqlstate, self.message.clone());
        match &self.detail {
            Some(detail) => error.with_detail(detail.clone()),
            None => error,
        }
    }
}

impl Job {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(FORMAT);
        // The index is in the format of descriptors, which has versions of its own.
        out.put_u8(descriptor_codec::VERSION);
        encode_index(&mut out, &self.index);
        for oid in [self.id, self.database, self.table] {
            out.put_u32(oid.0);
        }
        put_string(&mut out, &self.description);
        out.put_u8(self.state as u8);
        put_bool(&mut out, self.cancel_requested);
        put_option(&mut out, self.executor.as_ref(), |out, executor| {
            put_bytes(out, &encode_identity(*executor));
        });
        out.put_i64(self.created);
        put_option(&mut out, self.finished.as_ref(), |out, at| out.put_i64(*at));
        out.put_u64(self.progress.rows);
        out.put_u32(self.progress.of.0);
        out.put_u32(self.progress.of.1);
        put_option(&mut out, self.progress.resume.as_ref(), |out, key| put_bytes(out, key));
        put_bool(&mut out, self.progress.is_filled);
        put_option(&mut out, self.error.as_ref(), |out, error| {
            out.put_slice(&error.sqlstate.0);
            put_string(out, &error.message);
            put_option(out, error.detail.as_ref(), |out, detail| put_string(out, detail));
        });
        out.freeze()
    }

    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let mut input = Input(bytes.clone());
        let format = input.u8()?;
        if format != FORMAT {
            return Err(damaged(format!("unknown format of a job {format}")));
        }
        let version = input.u8()?;
        let index = decode_index(&mut input, version)?;
        Ok(Self {
            index,
            id: input.oid()?,
            database: input.oid()?,
            table: input.oid()?,
            description: input.string()?,
            state: decode_state(&mut input)?,
            cancel_requested: input.bool()?,
            executor: input.option(|input| {
                let bytes = input.bytes()?;
                decode_identity(&mut &bytes[..]).ok_or_else(|| damaged("executor of a job".to_owned()))
            })?,
            created: input.i64()?,
            finished: input.option(Input::i64)?,
            progress: Progress {
                rows: input.u64()?,
                of: (input.u32()?, input.u32()?),
                resume: input.option(Input::bytes)?,
                is_filled: input.bool()?,
            },
            error: input.option(|input| {
                let mut sqlstate = [0; 5];
                for byte in &mut sqlstate {
                    *byte = input.u8()?;
                }
                if !sqlstate.is_ascii() {
                    return Err(damaged("error of a job".to_owned()));
                }
                Ok(JobError {
                    sqlstate: SqlState(sqlstate),
                    message: input.string()?,
                    detail: input.option(Input::string)?,
                })
            })?,
        })
    }
}

fn decode_state(input: &mut Input) -> Result<JobState> {
    let state = input.u8()?;
    let known = JobState::ALL.get(usize::from(state)).copied();
    known.ok_or_else(|| damaged(format!("unknown state of a job {state}")))
}

/// Where a job is stored: `05 ‖ 'J' ‖ id`.
pub fn job_key(id: Oid) -> Key {
    let mut key = BytesMut::from(&[keys::SYSTEM_PREFIX, b'J'][..]);
    codec::encode_u32(&mut key, id.0);
    key.freeze()
}

/// All jobs, the oldest first.
pub fn jobs_span() -> Span {
    Span::prefix(Bytes::from_static(&[keys::SYSTEM_PREFIX, b'J']))
}

#[cfg(test)]
mod tests {
    use basalt_base::NodeId;
    use basalt_planner::{IndexColumn, IndexState};

    use super::*;

    fn example() -> Job {
        Job {
            id: Oid(20_000),
            database: Oid(5),
            table: Oid(16_400),
            index: Index {
                id: 3,
                oid: Oid(16_401),
                name: "by_a".to_owned(),
                unique: true,
                primary: false,
                constraint: false,
                columns: vec![IndexColumn { column: 2, descending: true }],
                stored: vec![4],
                state: IndexState::WriteOnly,
            },
            description: "CREATE INDEX CONCURRENTLY by_a ON t (a DESC) INCLUDE (c)".to_owned(),
            state: JobState::Reverting,
            cancel_requested: true,
            executor: Some(Identity { node: NodeId(2), incarnation: 99 }),
            created: 5,
            finished: Some(7),
            progress: Progress {
                rows: 12,
                of: (1, 3),
                resume: Some(Bytes::from_static(b"key")),
                is_filled: true,
            },
            error: Some(JobError {
                sqlstate: SqlState::UNIQUE_VIOLATION,
                message: "could not create unique index \"by_a\"".to_owned(),
                detail: Some("Key (a)=(1) is duplicated.".to_owned()),
            }),
        }
    }

    #[test]
    fn a_job_is_read_as_it_was_written() {
        for state in JobState::ALL {
            let job = Job { state, ..example() };
            assert_eq!(Job::decode(&job.encode()), Ok(job));
        }
        let bare = Job { executor: None, finished: None, error: None, ..example() };
        assert_eq!(Job::decode(&bare.encode()), Ok(bare));
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = example().encode();
        for length in 0..bytes.len() {
            assert!(Job::decode(&bytes.slice(..length)).is_err(), "{length}");
        }
        assert!(Job::decode(&Bytes::from_static(&[9])).is_err());
    }
}
