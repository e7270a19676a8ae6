//! The settings a client is told of at start (ParameterStatus), and those it gives.

/// What the server compares itself to: drivers enable features by the leading number.
pub const SERVER_VERSION: &str = concat!("15.0 (Basalt ", env!("CARGO_PKG_VERSION"), ")");

/// The settings that PostgreSQL reports, with this server's defaults, overlaid with the session's.
/// Names compare without case; a session's further names come last.
pub(crate) fn reported(
    user: &str,
    application_name: &str,
    session: Vec<(String, String)>,
) -> Vec<(String, String)> {
    let defaults = [
        ("application_name", application_name),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("default_transaction_read_only", "off"),
        ("in_hot_standby", "off"),
        ("integer_datetimes", "on"),
        ("IntervalStyle", "postgres"),
        ("is_superuser", "on"),
        ("server_encoding", "UTF8"),
        ("server_version", SERVER_VERSION),
        ("session_authorization", user),
        ("standard_conforming_strings", "on"),
        ("TimeZone", "UTC"),
    ];
    let mut reported: Vec<(String, String)> =
        defaults.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for (name, value) in session {
        match reported.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            Some(entry) => entry.1 = value,
            None => reported.push((name, value)),
        }
    }
    reported
}

/// Splits the startup parameter `options` as PostgreSQL does: `-c name=value`, `-cname=value`, `--name=value`,
/// words separated by spaces, a backslash keeps the next character. The error is the word not understood.
pub(crate) fn parse_options(options: &str) -> Result<Vec<(String, String)>, String> {
    let mut settings = Vec::new();
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next()
        } else {
            word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).map(str::to_owned)
        };
        match setting.as_deref().and_then(|setting| setting.split_once('=')) {
            // As on PostgreSQL's command line, a dash may stand for an underscore.
            Some((name, value)) => settings.push((name.replace('-', "_"), value.to_owned())),
            None => return Err(word),
        }
    }
    Ok(settings)
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            space if space.is_ascii_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_like_a_command_line() {
        let parsed = parse_options(r"-c a=1  -cb=2 --c-d=x\ y").unwrap();
        let expected = [("a", "1"), ("b", "2"), ("c_d", "x y")];
        assert_eq!(parsed, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(parse_options("-c").unwrap_err(), "-c");
        assert_eq!(parse_options("-x 1").unwrap_err(), "-x");
        assert_eq!(parse_options("").unwrap(), []);
    }

    #[test]
    fn a_session_overrides_defaults_without_case() {
        let reported =
            reported("u", "app", vec![("timezone".into(), "Europe/Bern".into()), ("x".into(), "y".into())]);
        assert!(reported.contains(&("TimeZone".into(), "Europe/Bern".into())));
        assert_eq!(reported.last().unwrap().0, "x");
        assert_eq!(reported.len(), 14);
    }
}
