//! Transactions: what travels with requests, and records.

use bytes::BytesMut;

use super::{
    Input, Wire, WireError,
    value::{wire_enum, wire_struct},
};
use crate::{IgnoredSeqs, Observed, ResolvedTxn, TxnMeta, TxnPriority, TxnRecord, TxnStatus};

wire_struct!(TxnMeta {
    id,
    anchor,
    epoch,
    read_ts,
    write_ts,
    min_ts,
    global_limit,
    priority,
    read_seq,
    ignored,
    observed,
});

wire_struct!(TxnRecord { id, status, epoch, write_ts, last_heartbeat, lock_spans, ignored, in_flight });

wire_struct!(ResolvedTxn { id, epoch, status, timestamp, ignored });

wire_enum!(TxnStatus {
    1 => Pending,
    2 => Staging,
    3 => Committed,
    4 => Aborted,
});

impl Wire for IgnoredSeqs {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        self.0.put(out)
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        Vec::take(input).map(Self)
    }
}

impl Wire for Observed {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        self.0.put(out)
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        Vec::take(input).map(Self)
    }
}

impl Wire for TxnPriority {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        self.0.put(out)
    }

    fn take(input: &mut Input) -> Result<Self, WireError> {
        u32::take(input).map(Self)
    }
}
