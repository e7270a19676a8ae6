//! The text and CSV formats of COPY (PostgreSQL manual, COPY, "File Formats").

use basalt_types::{Result, SqlError, SqlState, text_from_utf8};

/// Options of one COPY.
#[derive(Clone, Debug)]
pub(crate) struct CopyOptions {
    pub csv: bool,
    pub delimiter: u8,
    pub null: String,
    pub header: bool,
    pub quote: u8,
    pub escape: u8,
}

impl CopyOptions {
    pub fn new(csv: bool) -> Self {
        Self {
            csv,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".to_owned() },
            header: false,
            quote: b'"',
            escape: b'"',
        }
    }
}

/// Longest line accepted, in bytes.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Cuts a stream of chunks into records (a quoted CSV field may hold line ends).
#[derive(Default)]
pub(crate) struct LineSplitter {
    buffer: Vec<u8>,
    /// Where the next record begins.
    start: usize,
    /// How far the buffer was searched for the record's end.
    searched: usize,
    in_quotes: bool,
}

impl LineSplitter {
    pub fn push(&mut self, chunk: &[u8]) -> Result<()> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        if self.buffer.len() + chunk.len() > LINE_BYTES_MAX {
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "COPY line is too long"));
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    /// The next complete record without its line end.
    pub fn next(&mut self, options: &CopyOptions) -> Option<&[u8]> {
        while self.searched < self.buffer.len() {
            let byte = self.buffer[self.searched];
            self.searched += 1;
            if options.csv && byte == options.quote {
                self.in_quotes = !self.in_quotes;
            }
            if byte == b'\n' && !self.in_quotes {
                let line = self.start..self.searched - 1;
                self.start = self.searched;
                return Some(trim_carriage_return(&self.buffer[line]));
            }
        }
        None
    }

    /// What is left after the last line end.
    pub fn rest(&mut self) -> Option<&[u8]> {
        let line = self.start..self.buffer.len();
        self.start = self.buffer.len();
        self.searched = self.start;
        if line.is_empty() { None } else { Some(trim_carriage_return(&self.buffer[line])) }
    }
}

fn trim_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Splits a record into fields; `None` is NULL. `fields` is reused.
pub(crate) fn split_fields(
    line: &[u8],
    options: &CopyOptions,
    fields: &mut Vec<Option<String>>,
) -> Result<()> {
    fields.clear();
    if options.csv { split_csv(line, options, fields) } else { split_text(line, options, fields) }
}

fn split_text(line: &[u8], options: &CopyOptions, fields: &mut Vec<Option<String>>) -> Result<()> {
    let mut value = Vec::new();
    let mut raw_start = 0;
    let mut index = 0;
    loop {
        let end = index >= line.len();
        if end || line[index] == options.delimiter {
            // NULL is recognised before escapes are undone.
            let is_null = &line[raw_start..index.min(line.len())] == options.null.as_bytes();
            fields.push(if is_null { None } else { Some(text(std::mem::take(&mut value))?) });
            value.clear();
            if end {
                return Ok(());
            }
            index += 1;
            raw_start = index;
            continue;
        }
        if line[index] == b'\\' && index + 1 < line.len() {
            index += 1;
            index = unescape(line, index, &mut value);
            continue;
        }
        value.push(line[index]);
        index += 1;
    }
}

/// Undoes one escape sequence whose character after the backslash is at `index`; returns where to go on.
fn unescape(line: &[u8], mut index: usize, value: &mut Vec<u8>) -> usize {
    let byte = line[index];
    index += 1;
    match byte {
        b'b' => value.push(8),
        b'f' => value.push(12),
        b'n' => value.push(b'\n'),
        b'r' => value.push(b'\r'),
        b't' => value.push(b'\t'),
        b'v' => value.push(11),
        b'0'..=b'7' => {
            let mut code = u32::from(byte - b'0');
            for _ in 0..2 {
                match line.get(index) {
                    Some(digit @ b'0'..=b'7') => {
                        code = code * 8 + u32::from(digit - b'0');
                        index += 1;
                    }
                    _ => break,
                }
            }
            value.push((code & 0xff) as u8);
        }
        b'x' => {
            let mut code = None;
            for _ in 0..2 {
                match line.get(index).and_then(|digit| (*digit as char).to_digit(16)) {
                    Some(digit) => {
                        code = Some(code.unwrap_or(0) * 16 + digit);
                        index += 1;
                    }
                    None => break,
                }
            }
            value.push(code.map_or(b'x', |code| code as u8));
        }
        other => value.push(other),
    }
    index
}

fn split_csv(line: &[u8], options: &CopyOptions, fields: &mut Vec<Option<String>>) -> Result<()> {
    let mut index = 0;
    loop {
        let mut value = Vec::new();
        let mut quoted = false;
        let mut in_quotes = false;
        while index < line.len() {
            let byte = line[index];
            if in_quotes {
                let next = line.get(index + 1).copied();
                if byte == options.escape
                    && next.is_some_and(|next| next == options.quote || next == options.escape)
                {
                    value.push(next.expect("checked"));
                    index += 2;
                    continue;
                }
                if byte == options.quote {
                    in_quotes = false;
                } else {
                    value.push(byte);
                }
            } else if byte == options.quote {
                in_quotes = true;
                quoted = true;
            } else if byte == options.delimiter {
                break;
            } else {
                value.push(byte);
            }
            index += 1;
        }
        if in_quotes {
            return Err(SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field"));
        }
        let is_null = !quoted && value == options.null.as_bytes();
        fields.push(if is_null { None } else { Some(text(value)?) });
        if index >= line.len() {
            return Ok(());
        }
        index += 1;
    }
}

fn text(bytes: Vec<u8>) -> Result<String> {
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(text) => text_from_utf8(text.as_bytes()).map(str::to_owned),
        Err(error) => text_from_utf8(error.as_bytes()).map(str::to_owned),
    }
}

/// Appends one value of COPY TO; `None` is NULL.
pub(crate) fn write_field(
    out: &mut Vec<u8>,
    value: Option<&str>,
    options: &CopyOptions,
    single_column: bool,
) {
    let Some(value) = value else {
        out.extend_from_slice(options.null.as_bytes());
        return;
    };
    if options.csv {
        let special =
            |byte: u8| byte == options.delimiter || byte == options.quote || byte == b'\n' || byte == b'\r';
        let needs_quotes =
            value == options.null || value.bytes().any(special) || (single_column && value == "\\.");
        if !needs_quotes {
            out.extend_from_slice(value.as_bytes());
            return;
        }
        out.push(options.quote);
        for byte in value.bytes() {
            if byte == options.quote || byte == options.escape {
                out.push(options.escape);
            }
            out.push(byte);
        }
        out.push(options.quote);
        return;
    }
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            11 => out.extend_from_slice(b"\\v"),
            byte if byte == options.delimiter => out.extend_from_slice(&[b'\\', byte]),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(line: &str, options: &CopyOptions) -> Vec<Option<String>> {
        let mut fields = Vec::new();
        split_fields(line.as_bytes(), options, &mut fields).unwrap();
        fields
    }

    fn some(values: &[Option<&str>]) -> Vec<Option<String>> {
        values.iter().map(|value| value.map(str::to_owned)).collect()
    }

    #[test]
    fn text_format_undoes_escapes_and_finds_nulls() {
        let options = CopyOptions::new(false);
        assert_eq!(fields("1\t\\N\ta\\tb\\\\", &options), some(&[Some("1"), None, Some("a\tb\\")]));
        assert_eq!(fields("\\101\\x42\t", &options), some(&[Some("AB"), Some("")]));
    }

    #[test]
    fn csv_format_knows_quotes() {
        let options = CopyOptions::new(true);
        assert_eq!(
            fields("1,,\"\",\"a\"\"b,c\"", &options),
            some(&[Some("1"), None, Some(""), Some("a\"b,c")])
        );
    }

    #[test]
    fn records_survive_any_chunking() {
        let options = CopyOptions::new(true);
        let input = b"a,\"x\ny\"\r\nb,2\nlast";
        for size in 1..input.len() {
            let mut splitter = LineSplitter::default();
            let mut lines: Vec<Vec<u8>> = Vec::new();
            for chunk in input.chunks(size) {
                splitter.push(chunk).unwrap();
                while let Some(line) = splitter.next(&options) {
                    lines.push(line.to_vec());
                }
            }
            lines.extend(splitter.rest().map(<[u8]>::to_vec));
            assert_eq!(lines, [&b"a,\"x\ny\""[..], b"b,2", b"last"]);
        }
    }

    #[test]
    fn written_fields_read_back() {
        for csv in [false, true] {
            let options = CopyOptions::new(csv);
            for value in ["", "a,b", "q\"q", "tab\tnl\nback\\", "\\N"] {
                let mut out = Vec::new();
                write_field(&mut out, Some(value), &options, false);
                let mut read = Vec::new();
                split_fields(&out, &options, &mut read).unwrap();
                assert_eq!(read, [Some(value.to_owned())], "csv: {csv}");
            }
        }
    }
}
