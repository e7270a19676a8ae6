//! Requests.

use super::value::{wire_enum, wire_struct};
use crate::{BatchHeader, BatchRequest, LockStrength, LockWait, PushType, ReadConsistency, Request};

wire_struct!(BatchRequest { header, requests });

wire_struct!(BatchHeader {
    txn,
    timestamp,
    lock_wait,
    consistency,
    rows_max,
    bytes_max,
    can_forward_read_ts,
    from_any_replica,
});

wire_enum!(LockStrength {
    1 => Shared,
    2 => Exclusive,
});

wire_enum!(LockWait {
    1 => Block,
    2 => Timeout(duration),
    3 => Error,
    4 => Skip,
});

wire_enum!(ReadConsistency {
    1 => Consistent,
    2 => Inconsistent,
});

wire_enum!(PushType {
    1 => Timestamp,
    2 => Abort,
    3 => Touch,
});

wire_enum!(Request {
    1 => Get { key, lock },
    2 => Scan { span, reverse, lock; program },
    3 => Put { key, value, seq, if_absent },
    4 => Delete { key, seq },
    5 => EndTxn { commit, lock_spans, one_phase, deadline },
    6 => HeartbeatTxn { anchor, now },
    7 => PushTxn { pushee, push_type, push_to, force, dependents },
    8 => QueryTxn { anchor, id },
    9 => ResolveLock { key, txn },
    10 => ResolveLockRange { span, txn, keys_max },
    11 => Refresh { span, from, to },
    12 => ClearRange { span },
    13 => GarbageCollect { span, threshold, keys_max },
    14 => AdminSplit { key },
    15 => Increment { key, by },
    16 => PutMeta { key, generation, descriptor },
    17 => AdminTransferLease { key, to },
    18 => StageTxn { lock_spans, in_flight, deadline },
    19 => QueryWrite { key, id, epoch, seq, at, prevent },
    20 => RecoverTxn { anchor, id, epoch, staged_at, committed },
});
