//! Questions and answers as bytes.

use basalt_kv_api::wire::{Input, WireError, put_bytes};
use basalt_types::Oid;
use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    output::Signal,
    sessions::{Activity, SessionState},
};

/// What one node asks another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Its sessions.
    Sessions,
    /// The table locks of its sessions.
    Locks,
    /// To stop a session's statement, or the session. The answer says whether there is such a session.
    Signal(i32, Signal),
    /// Whether there is such a session.
    HasPid(i32),
}

/// A table lock of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockInfo {
    pub table: Oid,
    /// Of the session, unless a change goes on without one.
    pub pid: Option<i32>,
    pub exclusive: bool,
}

impl Question {
    pub fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(6);
        match self {
            Self::Sessions => out.put_u8(1),
            Self::Locks => out.put_u8(2),
            Self::Signal(pid, signal) => {
                out.put_u8(3);
                out.put_i32(pid);
                out.put_u8(u8::from(signal == Signal::Terminate));
            }
            Self::HasPid(pid) => {
                out.put_u8(4);
                out.put_i32(pid);
            }
        }
        out.freeze()
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "question of a node");
        let question = match input.u8()? {
            1 => Self::Sessions,
            2 => Self::Locks,
            3 => {
                let pid = pid(&mut input)?;
                Self::Signal(pid, if input.u8()? == 0 { Signal::Cancel } else { Signal::Terminate })
            }
            4 => Self::HasPid(pid(&mut input)?),
            _ => return Err(input.error()),
        };
        input.end()?;
        Ok(question)
    }
}

/// What can be an answer.
pub trait Answer: Sized {
    fn encode(&self) -> Bytes;
    fn decode(bytes: Bytes) -> Result<Self, WireError>;
}

impl Answer for bool {
    fn encode(&self) -> Bytes {
        Bytes::from_static(if *self { &[1] } else { &[0] })
    }

    fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "answer of a node");
        let answer = input.u8()? != 0;
        input.end()?;
        Ok(answer)
    }
}

impl Answer for Vec<Activity> {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u32(u32::try_from(self.len()).expect("connections are bounded"));
        for activity in self {
            out.put_i32(activity.pid);
            out.put_u32(activity.database.0);
            out.put_i64(activity.backend_start_micros);
            out.put_i64(activity.query_start_micros);
            let state = SessionState::ALL.iter().position(|state| *state == activity.state);
            out.put_u8(u8::try_from(state.expect("all states are there")).expect("they are few"));
            for text in [
                &activity.user,
                &activity.database_name,
                &activity.application_name,
                &activity.query,
                activity.client.as_ref().unwrap_or(&String::new()),
            ] {
                put_bytes(&mut out, text.as_bytes());
            }
        }
        out.freeze()
    }

    fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "sessions of a node");
        let count = input.count(45)?;
        let mut all = Self::with_capacity(count);
        for _ in 0..count {
            let pid = pid(&mut input)?;
            let database = Oid(input.u32()?);
            let (backend_start_micros, query_start_micros) = (input.i64()?, input.i64()?);
            let state = SessionState::ALL.get(usize::from(input.u8()?)).copied();
            all.push(Activity {
                pid,
                database,
                backend_start_micros,
                query_start_micros,
                state: state.ok_or_else(|| input.error())?,
                user: text(&mut input)?,
                database_name: text(&mut input)?,
                application_name: text(&mut input)?,
                query: text(&mut input)?,
                client: Some(text(&mut input)?).filter(|client| !client.is_empty()),
            });
        }
        input.end()?;
        Ok(all)
    }
}

impl Answer for Vec<LockInfo> {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(4 + 9 * self.len());
        out.put_u32(u32::try_from(self.len()).expect("locks are bounded by memory"));
        for lock in self {
            out.put_u32(lock.table.0);
            // No session has the process id 0.
            out.put_i32(lock.pid.unwrap_or(0));
            out.put_u8(u8::from(lock.exclusive));
        }
        out.freeze()
    }

    fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "locks of a node");
        let count = input.count(9)?;
        let mut all = Self::with_capacity(count);
        for _ in 0..count {
            let table = Oid(input.u32()?);
            let pid = Some(pid(&mut input)?).filter(|pid| *pid != 0);
            all.push(LockInfo { table, pid, exclusive: input.u8()? != 0 });
        }
        input.end()?;
        Ok(all)
    }
}

fn pid(input: &mut Input) -> Result<i32, WireError> {
    Ok(input.u32()?.cast_signed())
}

fn text(input: &mut Input) -> Result<String, WireError> {
    String::from_utf8(input.bytes()?.to_vec()).map_err(|_| input.error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses_truncation<T: Answer + std::fmt::Debug + PartialEq>(answer: &T) {
        let bytes = answer.encode();
        assert_eq!(&T::decode(bytes.clone()).unwrap(), answer);
        (0..bytes.len()).for_each(|length| assert!(T::decode(bytes.slice(..length)).is_err(), "{length}"));
    }

    #[test]
    fn questions_and_answers_round_trip_and_refuse_truncation() {
        let signals = [Signal::Cancel, Signal::Terminate].map(|signal| Question::Signal(3 << 20, signal));
        for question in [Question::Sessions, Question::Locks, Question::HasPid(7)].into_iter().chain(signals)
        {
            let bytes = question.encode();
            assert_eq!(Question::decode(bytes.clone()), Ok(question));
            (0..bytes.len()).for_each(|length| assert!(Question::decode(bytes.slice(..length)).is_err()));
        }
        let activity = Activity {
            pid: i32::MAX,
            user: "postgres".to_owned(),
            database: Oid(16_400),
            database_name: "shop".to_owned(),
            application_name: String::new(),
            client: Some("127.0.0.1:5".to_owned()),
            backend_start_micros: -1,
            query_start_micros: 7,
            state: SessionState::InTransaction,
            query: "SELECT 'ä'".to_owned(),
        };
        let other = Activity { client: None, state: SessionState::Idle, ..activity.clone() };
        refuses_truncation(&vec![activity, other]);
        let lock = LockInfo { table: Oid(9), pid: None, exclusive: true };
        refuses_truncation(&vec![lock, LockInfo { pid: Some(4), ..lock }]);
        refuses_truncation(&true);
    }

    #[test]
    fn a_text_that_is_none_is_refused() {
        let mut out = BytesMut::new();
        out.put_u32(1);
        out.put_slice(&[0; 25]);
        put_bytes(&mut out, &[0xff]);
        (0..4).for_each(|_| put_bytes(&mut out, b""));
        assert!(Vec::<Activity>::decode(out.freeze()).is_err());
    }
}
