//! Responses.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Input, Wire, WireError, put_bytes,
    value::{wire_enum, wire_struct},
};
use crate::{BatchResponse, Response, ScanBatch};

wire_struct!(BatchResponse { responses, txn, now });

wire_enum!(Response {
    1 => Get { value },
    2 => Scan { batch, resume },
    3 => Put,
    4 => Delete,
    5 => EndTxn { commit_ts, one_phase },
    6 => HeartbeatTxn { record },
    7 => PushTxn { record, known },
    8 => QueryTxn { record, dependents },
    9 => ResolveLock,
    10 => ResolveLockRange { resume },
    11 => Refresh,
    12 => ClearRange,
    13 => GarbageCollect { resume },
    14 => AdminSplit,
    15 => Increment { sum },
    16 => PutMeta,
    17 => AdminTransferLease,
    18 => StageTxn { staged_at, committed },
    19 => QueryWrite { done },
    20 => RecoverTxn { record },
});

/// Two lengths.
const ROW_BYTES_MIN: usize = 8;

impl Wire for ScanBatch {
    fn put(&self, out: &mut BytesMut) -> Result<(), WireError> {
        match self {
            Self::Rows(rows) => {
                out.put_u32(u32::try_from(rows.len()).map_err(|_| WireError("scan, too many rows"))?);
                for (key, value) in rows {
                    put_bytes(out, key);
                    put_bytes(out, value);
                }
                Ok(())
            }
            Self::Program(_) => Err(WireError("scan: the output of a program can't be sent")),
        }
    }

    /// Rows share the message: they live and die together.
    fn take(input: &mut Input) -> Result<Self, WireError> {
        let count = input.count(ROW_BYTES_MIN)?;
        let rows: Result<Vec<(Bytes, Bytes)>, WireError> =
            (0..count).map(|_| Ok((input.bytes()?, input.bytes()?))).collect();
        rows.map(Self::Rows)
    }
}
