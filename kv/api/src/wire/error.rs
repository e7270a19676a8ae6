//! Errors.

use super::value::wire_enum;
use crate::Error;

wire_enum!(Error {
    1 => WriteTooOld { existing },
    2 => Uncertain { existing, retry_at },
    3 => RefreshFailed { reason },
    4 => RefreshRequired { write_ts },
    5 => TxnAborted { reason },
    6 => Deadlock { holder },
    7 => LockNotAvailable { holder },
    8 => DeadlineExceeded,
    9 => BelowGcThreshold { read_ts, threshold },
    10 => KeyExists { key },
    11 => RangeMismatch,
    12 => NotLeaseholder,
    13 => Ambiguous { reason },
    14 => DiskFull,
    15 => Unavailable(reason),
    16 => LimitExceeded(reason),
    17 => Invalid(reason),
    18 => Corruption(reason),
    19 => Internal(reason),
    20 => RangeNotFound,
} instead {
    // The type behind it is known to the author of the program only; programs run where that is.
    Self::Program(error) => Self::Invalid(error.to_string()),
    // Made where the transaction is, of what others have answered.
    Self::Unproven { cause, .. } => Self::Internal(cause.to_string())
});
