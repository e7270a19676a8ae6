//! Errors, notices and settings as messages.

use basalt_types::SqlError;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::Notice;

/// No field of a report is longer; a statement quoted in a message could be.
const FIELD_BYTES_MAX: usize = 1 << 20;

/// The session goes on.
pub(crate) const ERROR: &str = "ERROR";
/// The connection ends.
pub(crate) const FATAL: &str = "FATAL";

pub(crate) fn error_response(severity: &'static str, error: &SqlError) -> ErrorResponse {
    ErrorResponse::new(fields(severity, error))
}

pub(crate) fn notice_response(notice: &Notice) -> NoticeResponse {
    NoticeResponse::new(fields(notice.severity.as_str(), &notice.content))
}

fn fields(severity: &'static str, error: &SqlError) -> Vec<(u8, String)> {
    let content = error.fields();
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', content.sqlstate.to_string()),
        (b'M', clean(&content.message)),
    ];
    let position = content.position.map(|position| position.to_string());
    let optional = [
        (b'D', &content.detail),
        (b'H', &content.hint),
        (b'P', &position),
        (b'W', &content.context),
        (b's', &content.schema),
        (b't', &content.table),
        (b'c', &content.column),
        (b'd', &content.data_type),
        (b'n', &content.constraint),
    ];
    fields.extend(optional.into_iter().filter_map(|(code, value)| Some((code, clean(value.as_ref()?)))));
    fields
}

/// Zero bytes would end the field early, and shift what follows.
fn clean(text: &str) -> String {
    let mut end = text.len().min(FIELD_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "")
}

#[cfg(test)]
mod tests {
    use basalt_types::SqlState;

    use super::*;

    #[test]
    fn every_field_is_sent_under_its_code() {
        let error = SqlError::new(SqlState::UNIQUE_VIOLATION, "dup\0licate")
            .with_detail("detail")
            .with_hint("hint")
            .at(7)
            .with_table("public", "t")
            .with_column("c")
            .with_constraint("t_pkey")
            .with_context("COPY t, line 3");
        let sent = error_response(ERROR, &error).fields;
        let sent: Vec<String> = sent.iter().map(|(code, text)| format!("{}{text}", *code as char)).collect();
        let expected = [
            "SERROR",
            "VERROR",
            "C23505",
            "Mduplicate",
            "Ddetail",
            "Hhint",
            "P7",
            "WCOPY t, line 3",
            "spublic",
            "tt",
            "cc",
            "nt_pkey",
        ];
        assert_eq!(sent, expected);
    }

    #[test]
    fn long_fields_are_cut_between_characters() {
        let error = SqlError::internal("é".repeat(FIELD_BYTES_MAX));
        let sent = error_response(FATAL, &error).fields;
        assert_eq!(sent[3].1.len(), FIELD_BYTES_MAX);
    }
}
