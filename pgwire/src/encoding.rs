//! UTF-8, the only encoding on the wire.

use basalt_types::{Result, SqlError, SqlState};

/// `bytes` as text; `22021` names the first bad sequence, and a zero byte counts as one, as in PostgreSQL.
pub fn decode_utf8(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.contains(&0) => Ok(text),
        Ok(_) => Err(bad_sequence(&[0])),
        Err(error) => {
            let start = error.valid_up_to();
            let length = error.error_len().unwrap_or(bytes.len() - start);
            Err(bad_sequence(&bytes[start..start + length]))
        }
    }
}

fn bad_sequence(bytes: &[u8]) -> SqlError {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
    SqlError::new(
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        format!("invalid byte sequence for encoding \"UTF8\": {}", hex.join(" ")),
    )
}
