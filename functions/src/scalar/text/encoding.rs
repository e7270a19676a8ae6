//! Character encodings: their names, and conversion between text and bytes.

use basalt_types::{Result, SqlError, SqlState, text_from_utf8};

use crate::builder::{Builder, scalars};

/// PostgreSQL's encodings in the order of their numbers, with the bytes of their longest character.
#[rustfmt::skip]
const ENCODINGS: [(&str, i32); 42] = [
    ("SQL_ASCII", 1), ("EUC_JP", 3), ("EUC_CN", 3), ("EUC_KR", 3), ("EUC_TW", 4), ("EUC_JIS_2004", 3), ("UTF8", 4),
    ("MULE_INTERNAL", 4), ("LATIN1", 1), ("LATIN2", 1), ("LATIN3", 1), ("LATIN4", 1), ("LATIN5", 1), ("LATIN6", 1),
    ("LATIN7", 1), ("LATIN8", 1), ("LATIN9", 1), ("LATIN10", 1), ("WIN1256", 1), ("WIN1258", 1), ("WIN866", 1),
    ("WIN874", 1), ("KOI8R", 1), ("WIN1251", 1), ("WIN1252", 1), ("ISO_8859_5", 1), ("ISO_8859_6", 1),
    ("ISO_8859_7", 1), ("ISO_8859_8", 1), ("WIN1250", 1), ("WIN1253", 1), ("WIN1254", 1), ("WIN1255", 1),
    ("WIN1257", 1), ("KOI8U", 1), ("SJIS", 2), ("BIG5", 2), ("GBK", 2), ("UHC", 2), ("GB18030", 4), ("JOHAB", 3),
    ("SHIFT_JIS_2004", 2),
];
/// Other names, as they are after folding.
#[rustfmt::skip]
const ALIASES: [(&str, &str); 29] = [
    ("unicode", "UTF8"), ("iso88591", "LATIN1"), ("iso88592", "LATIN2"), ("iso88593", "LATIN3"),
    ("iso88594", "LATIN4"), ("iso88599", "LATIN5"), ("iso885910", "LATIN6"), ("iso885913", "LATIN7"),
    ("iso885914", "LATIN8"), ("iso885915", "LATIN9"), ("iso885916", "LATIN10"), ("abc", "WIN1258"), ("alt", "WIN866"),
    ("koi8", "KOI8R"), ("mskanji", "SJIS"), ("shiftjis", "SJIS"), ("tcvn", "WIN1258"), ("tcvn5712", "WIN1258"),
    ("vscii", "WIN1258"), ("win", "WIN1251"), ("win932", "SJIS"), ("win936", "GBK"), ("win949", "UHC"),
    ("win950", "BIG5"), ("windows1252", "WIN1252"), ("windows1251", "WIN1251"), ("windows1250", "WIN1250"),
    ("windows936", "GBK"), ("windows950", "BIG5"),
];
const UTF8: usize = 6;
const LATIN1: usize = 8;

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "pg_encoding_to_char" => |number: i32| {
            usize::try_from(number).ok().and_then(|number| ENCODINGS.get(number)).map_or("", |found| found.0)
        },
        "pg_encoding_max_length" => |number: i32| {
            usize::try_from(number).ok().and_then(|number| ENCODINGS.get(number)).map(|found| found.1)
        },
        "pg_char_to_encoding" => |name: &str| find(name).map_or(-1, |number| number as i32),
        "convert_from" => |bytes: &[u8], name: &str| decode(bytes, encoding(name, "source")?),
        "convert_to" => |text: &str, name: &str| encode(text, encoding(name, "destination")?),
        "convert" => |bytes: &[u8], source: &str, destination: &str| {
            let (source, destination) = (encoding(source, "source")?, encoding(destination, "destination")?);
            encode(&decode(bytes, source)?, destination)
        },
        "length(bytea,name)" => |bytes: &[u8], name: &str| {
            decode(bytes, encoding(name, "source").map_err(|_| invalid(format!("invalid encoding name \"{name}\"")))?)
                .map(|text| text.chars().count() as i32)
        },
    });
}

/// Letters and digits only, in small letters.
fn folded(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

fn find(name: &str) -> Option<usize> {
    let wanted = folded(name);
    let wanted = ALIASES.iter().find(|(alias, _)| *alias == wanted).map_or(wanted, |(_, own)| folded(own));
    ENCODINGS.iter().position(|(own, _)| folded(own) == wanted)
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn encoding(name: &str, role: &str) -> Result<usize> {
    find(name).ok_or_else(|| invalid(format!("invalid {role} encoding name \"{name}\"")))
}

fn unsupported(encoding: usize) -> SqlError {
    SqlError::not_supported(format!("the character encoding {}", ENCODINGS[encoding].0))
}

fn decode(bytes: &[u8], encoding: usize) -> Result<String> {
    match encoding {
        UTF8 => text_from_utf8(bytes).map(str::to_owned),
        LATIN1 if bytes.contains(&0) => Err(SqlError::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"LATIN1\": 0x00",
        )),
        LATIN1 => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        other => Err(unsupported(other)),
    }
}

fn encode(text: &str, encoding: usize) -> Result<Vec<u8>> {
    match encoding {
        UTF8 => Ok(text.as_bytes().to_vec()),
        LATIN1 => text
            .chars()
            .map(|character| {
                u8::try_from(u32::from(character)).map_err(|_| {
                    let mut buffer = [0; 4];
                    let bytes = character.encode_utf8(&mut buffer).bytes();
                    let hex: Vec<String> = bytes.map(|byte| format!("0x{byte:02x}")).collect();
                    SqlError::new(
                        SqlState::UNTRANSLATABLE_CHARACTER,
                        format!(
                            "character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
                            hex.join(" ")
                        ),
                    )
                })
            })
            .collect(),
        other => Err(unsupported(other)),
    }
}
