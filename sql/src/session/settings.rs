//! Run-time parameters (SET, SHOW, RESET).

use std::collections::BTreeMap;

use basalt_types::{IoSettings, Result, SqlError, SqlState, TimeZone, io::ByteaOutput};

use super::date_style;

/// How a parameter's text is checked and normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Bool,
    /// Milliseconds; accepts units.
    Duration,
    Integer(i64, i64),
    /// One of these, case-insensitively.
    Choice(&'static [&'static str]),
    TimeZone,
    DateStyle,
    Encoding,
    /// Can't be changed.
    ReadOnly,
}

struct Parameter {
    /// As SHOW ALL prints it; found case-insensitively.
    name: &'static str,
    kind: Kind,
    default: &'static str,
    /// Sent to the client when it changes (ParameterStatus).
    reported: bool,
    description: &'static str,
}

const ISOLATION: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];

macro_rules! parameters {
    ($($name:literal, $kind:expr, $default:literal, $reported:literal, $description:literal;)*) => {
        static PARAMETERS: &[Parameter] = &[
            $(Parameter { name: $name, kind: $kind, default: $default, reported: $reported, description: $description },)*
        ];
    };
}

parameters! {
    "application_name", Kind::Text, "", true, "Sets the application name to be reported in statistics and logs.";
    "basalt.executor", Kind::Choice(&["auto", "row", "vectorized"]), "auto", false, "Chooses the executor of queries.";
    "bytea_output", Kind::Choice(&["hex", "escape"]), "hex", false, "Sets the output format for bytea.";
    "check_function_bodies", Kind::Bool, "on", false, "Accepted for compatibility.";
    "client_encoding", Kind::Encoding, "UTF8", true, "Sets the client's character set encoding.";
    "client_min_messages", Kind::Choice(&["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "warning", "error"]), "notice", false, "Sets the message levels that are sent to the client.";
    "DateStyle", Kind::DateStyle, "ISO, MDY", true, "Sets the display format for date and time values.";
    "deadlock_timeout", Kind::Duration, "1s", false, "Accepted for compatibility; deadlocks are found at once.";
    "default_table_access_method", Kind::Text, "heap", false, "Accepted for compatibility.";
    "default_tablespace", Kind::Text, "", false, "Accepted for compatibility.";
    "default_transaction_isolation", Kind::Choice(ISOLATION), "serializable", false, "Sets the transaction isolation level of each new transaction.";
    "default_transaction_read_only", Kind::Bool, "off", true, "Sets the default read-only status of new transactions.";
    "escape_string_warning", Kind::Bool, "on", false, "Accepted for compatibility.";
    "extra_float_digits", Kind::Integer(-15, 3), "1", false, "Sets the number of digits displayed for floating-point values.";
    "idle_in_transaction_session_timeout", Kind::Duration, "0", false, "Sets the maximum allowed idle time between queries, when in a transaction.";
    "idle_session_timeout", Kind::Duration, "0", false, "Sets the maximum allowed idle time between queries, when not in a transaction.";
    "in_hot_standby", Kind::ReadOnly, "off", true, "Shows whether hot standby is currently active.";
    "integer_datetimes", Kind::ReadOnly, "on", true, "Shows whether datetimes are integer based.";
    "IntervalStyle", Kind::Choice(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]), "postgres", true, "Sets the display format for interval values.";
    "is_superuser", Kind::ReadOnly, "on", true, "Shows whether the current user is a superuser.";
    "lc_collate", Kind::ReadOnly, "C", false, "Shows the collation order locale.";
    "lc_ctype", Kind::ReadOnly, "C", false, "Shows the character classification and case conversion locale.";
    "lc_messages", Kind::Text, "C", false, "Accepted for compatibility.";
    "lc_monetary", Kind::Text, "C", false, "Accepted for compatibility.";
    "lc_numeric", Kind::Text, "C", false, "Accepted for compatibility.";
    "lc_time", Kind::Text, "C", false, "Accepted for compatibility.";
    "lock_timeout", Kind::Duration, "0", false, "Sets the maximum allowed duration of any wait for a lock.";
    "max_connections", Kind::ReadOnly, "200", false, "Sets the maximum number of concurrent connections.";
    "max_identifier_length", Kind::ReadOnly, "63", false, "Shows the maximum identifier length.";
    "max_index_keys", Kind::ReadOnly, "32", false, "Shows the maximum number of index keys.";
    "row_security", Kind::Bool, "on", false, "Accepted for compatibility.";
    "search_path", Kind::Text, "\"$user\", public", false, "Sets the schema search order for names that are not schema-qualified.";
    "server_encoding", Kind::ReadOnly, "UTF8", true, "Shows the server (database) character set encoding.";
    "server_version", Kind::ReadOnly, "15.0 (Basalt 0.1.0)", true, "Shows the server version.";
    "server_version_num", Kind::ReadOnly, "150000", false, "Shows the server version as an integer.";
    "session_authorization", Kind::ReadOnly, "postgres", true, "Shows the current session user name.";
    "standard_conforming_strings", Kind::Choice(&["on"]), "on", true, "Causes '...' strings to treat backslashes literally.";
    "statement_timeout", Kind::Duration, "0", false, "Sets the maximum allowed duration of any statement.";
    "synchronous_commit", Kind::Choice(&["on", "local", "remote_write", "remote_apply"]), "on", false, "Every commit is durable before it is acknowledged.";
    "TimeZone", Kind::TimeZone, "UTC", true, "Sets the time zone for displaying and interpreting time stamps.";
    "transaction_isolation", Kind::Choice(ISOLATION), "serializable", false, "Shows the current transaction's isolation level.";
    "transaction_read_only", Kind::Bool, "off", false, "Shows the current transaction's read-only status.";
    "transaction_deferrable", Kind::Bool, "off", false, "Accepted for compatibility.";
    "work_mem", Kind::Text, "64MB", false, "Sets the maximum memory of one statement.";
    "maintenance_work_mem", Kind::Text, "64MB", false, "Accepted for compatibility.";
    "xmloption", Kind::Text, "content", false, "Accepted for compatibility.";
}

/// Values that every statement needs, decoded once per change.
#[derive(Clone, Debug)]
pub struct HotSettings {
    pub io: IoSettings,
    /// Milliseconds; 0 is no limit.
    pub statement_timeout_ms: u64,
    pub lock_timeout_ms: u64,
    pub default_read_only: bool,
    pub executor: ExecutorChoice,
}

/// `basalt.executor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorChoice {
    Auto,
    Row,
    Vectorized,
}

/// The parameters of one session.
#[derive(Clone, Debug)]
pub struct Settings {
    hot: HotSettings,
    /// Values that differ from the defaults, by canonical name.
    values: BTreeMap<&'static str, String>,
    /// Defaults given at connect (`options`, startup parameters); RESET returns to them.
    session_defaults: BTreeMap<&'static str, String>,
    /// Parameters with a dot that are not ours: any text.
    custom: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        let hot = HotSettings {
            io: IoSettings::default(),
            statement_timeout_ms: 0,
            lock_timeout_ms: 0,
            default_read_only: false,
            executor: ExecutorChoice::Auto,
        };
        Self { hot, values: BTreeMap::new(), session_defaults: BTreeMap::new(), custom: BTreeMap::new() }
    }
}

impl Settings {
    /// The values that every statement needs.
    pub fn hot(&self) -> &HotSettings {
        &self.hot
    }

    /// Decodes the hot values again after a change.
    fn refresh(&mut self) {
        self.hot = HotSettings {
            io: self.decode_io(),
            statement_timeout_ms: self.millis("statement_timeout"),
            lock_timeout_ms: self.millis("lock_timeout"),
            default_read_only: self.bool("default_transaction_read_only"),
            executor: match self.text("basalt.executor").as_str() {
                "row" => ExecutorChoice::Row,
                "vectorized" => ExecutorChoice::Vectorized,
                _ => ExecutorChoice::Auto,
            },
        };
    }

    pub fn get(&self, name: &str) -> Option<String> {
        if let Some(parameter) = find(name) {
            let value = self.values.get(parameter.name).or_else(|| self.session_defaults.get(parameter.name));
            return Some(value.cloned().unwrap_or_else(|| parameter.default.to_owned()));
        }
        self.custom.get(&name.to_ascii_lowercase()).cloned()
    }

    /// A built-in parameter's value.
    fn text(&self, name: &str) -> String {
        self.get(name).expect("a built-in parameter")
    }

    /// Checks and stores; returns the canonical name and value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(String, String)> {
        let Some(parameter) = find(name) else {
            if name.contains('.') {
                self.custom.insert(name.to_ascii_lowercase(), value.to_owned());
                return Ok((name.to_owned(), value.to_owned()));
            }
            return Err(unknown(name));
        };
        let value = check(parameter, value, &self.text(parameter.name))?;
        self.values.insert(parameter.name, value.clone());
        self.refresh();
        Ok((parameter.name.to_owned(), value))
    }

    /// Sets what RESET returns to.
    pub fn set_default(&mut self, name: &str, value: &str) -> Result<()> {
        let Some(parameter) = find(name) else {
            if name.contains('.') {
                self.custom.insert(name.to_ascii_lowercase(), value.to_owned());
                return Ok(());
            }
            return Err(unknown(name));
        };
        let value = check(parameter, value, &self.text(parameter.name))?;
        self.session_defaults.insert(parameter.name, value);
        self.refresh();
        Ok(())
    }

    /// For parameters that SET can't change.
    pub fn set_read_only(&mut self, name: &'static str, value: &str) {
        self.session_defaults.insert(name, value.to_owned());
    }

    pub fn reset(&mut self, name: &str) -> Result<()> {
        match find(name) {
            Some(parameter) => {
                self.values.remove(parameter.name);
            }
            None if name.contains('.') => {
                self.custom.remove(&name.to_ascii_lowercase());
            }
            None => return Err(unknown(name)),
        }
        self.refresh();
        Ok(())
    }

    pub fn reset_all(&mut self) {
        self.values.clear();
        self.custom.clear();
        self.refresh();
    }

    /// Name, value and description of every built-in parameter.
    pub fn all(&self) -> Vec<(String, String, &'static str)> {
        PARAMETERS
            .iter()
            .map(|parameter| (parameter.name.to_owned(), self.text(parameter.name), parameter.description))
            .collect()
    }

    /// Values of the parameters that clients are told of.
    pub fn reported(&self) -> Vec<(&'static str, String)> {
        let reported = PARAMETERS.iter().filter(|parameter| parameter.reported);
        reported.map(|parameter| (parameter.name, self.text(parameter.name))).collect()
    }

    /// 0 means no limit.
    pub fn millis(&self, name: &str) -> u64 {
        parse_duration_ms(&self.text(name)).unwrap_or(0)
    }

    fn bool(&self, name: &str) -> bool {
        self.text(name) == "on"
    }

    fn decode_io(&self) -> IoSettings {
        let (date_style, date_order) = date_style::decode(&self.text("DateStyle"));
        IoSettings {
            date_style,
            date_order,
            interval_style: date_style::interval_style(&self.text("IntervalStyle")),
            time_zone: TimeZone::parse(&self.text("TimeZone")).unwrap_or_else(|_| TimeZone::utc()),
            extra_float_digits: self.text("extra_float_digits").parse().unwrap_or(1),
            bytea_output: match self.text("bytea_output").as_str() {
                "escape" => ByteaOutput::Escape,
                _ => ByteaOutput::Hex,
            },
            ..IoSettings::default()
        }
    }

    /// The schema names of `search_path`, unquoted, `"$user"` replaced.
    pub fn search_path(&self, user: &str) -> Vec<String> {
        split_identifiers(&self.text("search_path"))
            .into_iter()
            .map(|name| if name == "$user" { user.to_owned() } else { name })
            .collect()
    }
}

fn find(name: &str) -> Option<&'static Parameter> {
    let name = if name.eq_ignore_ascii_case("time zone") { "TimeZone" } else { name };
    PARAMETERS.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

fn check(parameter: &Parameter, value: &str, current: &str) -> Result<String> {
    let name = parameter.name;
    let invalid = || {
        SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("invalid value for parameter \"{name}\": \"{value}\""),
        )
    };
    match parameter.kind {
        Kind::Text => Ok(value.to_owned()),
        Kind::Bool => match basalt_types::io::parse_bool(value) {
            Ok(true) => Ok("on".to_owned()),
            Ok(false) => Ok("off".to_owned()),
            Err(_) => Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("parameter \"{name}\" requires a Boolean value"),
            )),
        },
        Kind::Duration => parse_duration_ms(value).map(format_duration_ms).ok_or_else(invalid),
        Kind::Integer(min, max) => {
            let number: i64 = value.trim().parse().map_err(|_| invalid())?;
            if (min..=max).contains(&number) {
                return Ok(number.to_string());
            }
            Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("{number} is outside the valid range for parameter \"{name}\" ({min} .. {max})"),
            ))
        }
        Kind::Choice(choices) => {
            let value = value.trim().to_ascii_lowercase();
            let value = match value.as_str() {
                "true" | "yes" | "1" if choices.contains(&"on") => "on".to_owned(),
                _ => value,
            };
            if choices.contains(&value.as_str()) { Ok(value) } else { Err(invalid()) }
        }
        Kind::TimeZone => TimeZone::parse(value).map(|zone| zone.name().to_owned()).map_err(|_| invalid()),
        Kind::DateStyle => date_style::merged(current, value).ok_or_else(invalid),
        Kind::Encoding => {
            match value.trim().trim_matches('\'').to_ascii_uppercase().replace(['-', '_'], "").as_str() {
                "UTF8" | "UNICODE" => Ok("UTF8".to_owned()),
                "SQLASCII" | "LATIN1" | "WIN1252" | "EUCJP" | "SJIS" | "BIG5" | "GBK" => {
                    Err(SqlError::not_supported(format!("client encoding \"{value}\"")))
                }
                _ => Err(invalid()),
            }
        }
        Kind::ReadOnly => Err(SqlError::new(
            SqlState::CANT_CHANGE_RUNTIME_PARAM,
            format!("parameter \"{name}\" cannot be changed"),
        )),
    }
}

fn parse_duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "ms" => 1.0,
        "us" => 0.001,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let ms = (number * factor).round();
    (ms <= f64::from(i32::MAX)).then_some(ms as u64)
}

fn format_duration_ms(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        ms if ms % 86_400_000 == 0 => format!("{}d", ms / 86_400_000),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

/// Splits a comma-separated list of identifiers, folding those without quotes.
fn split_identifiers(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            c if c.is_whitespace() && !quoted => {}
            c if quoted => name.push(c),
            c => name.extend(c.to_lowercase()),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_printed_as_postgres_does() {
        let mut settings = Settings::default();
        assert_eq!(settings.set("statement_timeout", "90s").unwrap().1, "90s");
        assert_eq!(settings.set("STATEMENT_TIMEOUT", "120000").unwrap().1, "2min");
        assert_eq!(settings.hot().statement_timeout_ms, 120_000);
        assert_eq!(settings.set("datestyle", "iso").unwrap().1, "ISO, MDY");
        assert_eq!(
            settings.set("server_version", "1").unwrap_err().sqlstate(),
            SqlState::CANT_CHANGE_RUNTIME_PARAM
        );
        assert_eq!(settings.set("nonsense", "1").unwrap_err().sqlstate(), SqlState::UNDEFINED_OBJECT);
        assert_eq!(settings.set("my.own", "x").unwrap().1, "x");
        settings.reset("statement_timeout").unwrap();
        assert_eq!(settings.get("statement_timeout").as_deref(), Some("0"));
    }

    #[test]
    fn search_path_folds_and_unquotes() {
        let mut settings = Settings::default();
        settings.set("search_path", "A, \"B c\", \"$user\"").unwrap();
        assert_eq!(settings.search_path("me"), ["a", "B c", "me"]);
    }
}
