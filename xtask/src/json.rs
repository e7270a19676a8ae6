//! A reader of JSON for what cargo prints: strict enough for a machine's output, bounded in depth.

use std::collections::BTreeMap;

use crate::process::Result;

const DEPTH_MAX: usize = 128;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    pub fn parse(text: &str) -> Result<Self> {
        let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == reader.bytes.len() { Ok(value) } else { Err(reader.error("more text")) }
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        if let Self::Object(members) = self { members.get(name) } else { None }
    }

    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The elements of a list; none for anything else.
    pub fn list(&self) -> &[Self] {
        if let Self::List(elements) = self { elements } else { &[] }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn error(&self, problem: &str) -> String {
        format!("JSON: {problem} at byte {}", self.at)
    }

    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn skip(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.skip(byte) { Ok(()) } else { Err(self.error(&format!("no {:?}", byte as char))) }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.error("an unknown word"))
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json> {
        if depth > DEPTH_MAX {
            return Err(self.error("too deep"));
        }
        self.space();
        match self.bytes.get(self.at) {
            None => Err(self.error("the end")),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json> {
        self.expect(b'{')?;
        let mut members = BTreeMap::new();
        if self.skip(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.expect(b':')?;
            members.insert(name, self.value(depth + 1)?);
            if !self.skip(b',') {
                self.expect(b'}')?;
                return Ok(Json::Object(members));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json> {
        self.expect(b'[')?;
        let mut elements = Vec::new();
        if self.skip(b']') {
            return Ok(Json::List(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            if !self.skip(b',') {
                self.expect(b']')?;
                return Ok(Json::List(elements));
            }
        }
    }

    fn number(&mut self) -> Result<Json> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().take_while(|byte| b"+-.eE0123456789".contains(byte)).count();
        let text = std::str::from_utf8(&rest[..len]).unwrap_or_default();
        let number = text.parse().map_err(|_| self.error("not a number"))?;
        self.at += len;
        Ok(Json::Number(number))
    }

    fn string(&mut self) -> Result<String> {
        self.expect(b'"')?;
        let mut bytes = Vec::new();
        loop {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.error("an open string"))?;
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => self.escape(&mut bytes)?,
                byte => bytes.push(byte),
            }
        }
        String::from_utf8(bytes).map_err(|_| self.error("a string that is not UTF-8"))
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let code = *self.bytes.get(self.at).ok_or_else(|| self.error("an open escape"))?;
        self.at += 1;
        bytes.push(match code {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => return self.unicode(bytes),
            other => other,
        });
        Ok(())
    }

    fn unicode(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or_else(|| self.error("an open escape"))?;
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        let code = u32::from_str_radix(digits, 16).map_err(|_| self.error("not an escape"))?;
        self.at += 4;
        // Halves of a pair do not occur in what cargo prints.
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let json =
            Json::parse(r#" {"a": [1, -2.5e1, "x\n\"\u00e9"], "b": {}, "c": [true, false, null]} "#).unwrap();
        assert_eq!(json.get("a").unwrap().list()[1], Json::Number(-25.0));
        assert_eq!(json.get("a").unwrap().list()[2].text(), Some("x\n\"é"));
        assert_eq!(json.get("b"), Some(&Json::Object(BTreeMap::new())));
        assert_eq!(json.get("c").unwrap().list().len(), 3);
    }

    #[test]
    fn damage_is_an_error() {
        for text in
            ["", "{", "[1,]", "{\"a\" 1}", "\"", "\"\\u12", "nul", "1 2", "{\"a\":1}}", &"[".repeat(1_000)]
        {
            assert!(Json::parse(text).is_err(), "{text}");
        }
    }
}
