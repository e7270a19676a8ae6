//! The regular expression operators and the `regexp_*` functions.

use basalt_types::{Array, Datum, Oid, Result, SqlError, SqlState};

use crate::builder::{Builder, call_scalars, scalars};
use crate::scalar::pattern::regular_expression::{Flags, Groups, compiled, find_all, find_at, flags};
use crate::scalar::pattern::similar::{escape_character, similar};
use crate::scalar::pattern::translate::Options;
use crate::scalar::text::{TEXT_BYTES_MAX, characters, offset, too_long};
use crate::{Call, EvalContext};

pub fn register(builder: &mut Builder) {
    operators(builder);
    scalars!(builder, {
        "substring(text,text)" => |a: &str, pattern: &str| extract(a, pattern),
        "substring(text,text,text)" => |a: &str, pattern: &str, escape: &str| {
            extract(a, &similar(pattern, escape_character(escape)?, true)?)
        },
        "regexp_like(text,text)" => |a: &str, pattern: &str| like(a, pattern, ""),
        "regexp_like(text,text,text)" => like,
        "regexp_match(text,text)" => |a: &str, pattern: &str| first_match(a, pattern, ""),
        "regexp_match(text,text,text)" => first_match,
    });
    call_scalars!(builder, {
        "regexp_split_to_array(text,text)" => |call: &Call<'_>, a: &str, pattern: &str| split_to_array(call, a, pattern, ""),
        "regexp_split_to_array(text,text,text)" => split_to_array,
        "regexp_count(text,text)" => |call: &Call<'_>, a: &str, pattern: &str| count(call, a, pattern, 1, ""),
        "regexp_count(text,text,int4)" => |call: &Call<'_>, a: &str, pattern: &str, start: i32| count(call, a, pattern, start, ""),
        "regexp_count(text,text,int4,text)" => count,
    });
    call_scalars!(builder, {
        "regexp_replace(text,text,text)" => |call: &Call<'_>, a: &str, pattern: &str, new: &str| replace(call, a, pattern, new, 1, Some(1), ""),
        "regexp_replace(text,text,text,text)" => replace_with_flags,
        "regexp_replace(text,text,text,int4)" => |call: &Call<'_>, a: &str, pattern: &str, new: &str, start: i32| replace(call, a, pattern, new, start, Some(1), ""),
        "regexp_replace(text,text,text,int4,int4)" => |call: &Call<'_>, a: &str, pattern: &str, new: &str, start: i32, n: i32| {
            replace(call, a, pattern, new, start, Some(n), "")
        },
        "regexp_replace(text,text,text,int4,int4,text)" => |call: &Call<'_>, a: &str, pattern: &str, new: &str, start: i32, n: i32, letters: &str| {
            replace(call, a, pattern, new, start, Some(n), letters)
        },
    });
    call_scalars!(builder, {
        "regexp_instr(text,text)" => |call: &Call<'_>, a: &str, p: &str| instr(call, a, p, 1, 1, 0, "", 0),
        "regexp_instr(text,text,int4)" => |call: &Call<'_>, a: &str, p: &str, start: i32| instr(call, a, p, start, 1, 0, "", 0),
        "regexp_instr(text,text,int4,int4)" => |call: &Call<'_>, a: &str, p: &str, start: i32, n: i32| instr(call, a, p, start, n, 0, "", 0),
        "regexp_instr(text,text,int4,int4,int4)" => |call: &Call<'_>, a: &str, p: &str, start: i32, n: i32, end: i32| instr(call, a, p, start, n, end, "", 0),
        "regexp_instr(text,text,int4,int4,int4,text)" => |call: &Call<'_>, a: &str, p: &str, start: i32, n: i32, end: i32, letters: &str| {
            instr(call, a, p, start, n, end, letters, 0)
        },
        "regexp_instr(text,text,int4,int4,int4,text,int4)" => instr,
        "regexp_substr(text,text)" => |call: &Call<'_>, a: &str, p: &str| substr(call, a, p, 1, 1, "", 0),
        "regexp_substr(text,text,int4)" => |call: &Call<'_>, a: &str, p: &str, start: i32| substr(call, a, p, start, 1, "", 0),
        "regexp_substr(text,text,int4,int4)" => |call: &Call<'_>, a: &str, p: &str, start: i32, n: i32| substr(call, a, p, start, n, "", 0),
        "regexp_substr(text,text,int4,int4,text)" => |call: &Call<'_>, a: &str, p: &str, start: i32, n: i32, letters: &str| substr(call, a, p, start, n, letters, 0),
        "regexp_substr(text,text,int4,int4,text,int4)" => substr,
    });
}

const IGNORE_CASE: Options = Options {
    ignore_case: true,
    multi_line: false,
    newline_stops: false,
    expanded: false,
    literal: false,
    other_flavour: false,
};

fn is_match(text: &str, pattern: &str) -> Result<bool> {
    Ok(compiled(pattern, Options::default())?.is_match(text))
}

fn is_match_any_case(text: &str, pattern: &str) -> Result<bool> {
    Ok(compiled(pattern, IGNORE_CASE)?.is_match(text))
}

fn operators(builder: &mut Builder) {
    scalars!(builder, {
        "textregexeq" => is_match,
        "nameregexeq" => is_match,
        "bpcharregexeq" => is_match,
        "textregexne" => |a: &str, pattern: &str| is_match(a, pattern).map(|found| !found),
        "nameregexne" => |a: &str, pattern: &str| is_match(a, pattern).map(|found| !found),
        "bpcharregexne" => |a: &str, pattern: &str| is_match(a, pattern).map(|found| !found),
        "texticregexeq" => is_match_any_case,
        "nameicregexeq" => is_match_any_case,
        "bpcharicregexeq" => is_match_any_case,
        "texticregexne" => |a: &str, pattern: &str| is_match_any_case(a, pattern).map(|found| !found),
        "nameicregexne" => |a: &str, pattern: &str| is_match_any_case(a, pattern).map(|found| !found),
        "bpcharicregexne" => |a: &str, pattern: &str| is_match_any_case(a, pattern).map(|found| !found),
    });
}

fn bad_parameter(name: &str, value: i32) -> SqlError {
    SqlError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("invalid value for parameter \"{name}\": {value}"),
    )
}

/// The flags of a function that finds one match or counts them all by itself.
fn without_global(function: &str, letters: &str) -> Result<Options> {
    let flags = flags(letters)?;
    if flags.global {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("{function}() does not support the \"global\" option"),
        ));
    }
    Ok(flags.options)
}

/// The byte offset of a one-based character position.
fn start_offset(text: &str, start: i32) -> Result<usize> {
    if start <= 0 {
        return Err(bad_parameter("start", start));
    }
    Ok(offset(text, start as usize - 1))
}

fn like(text: &str, pattern: &str, letters: &str) -> Result<bool> {
    Ok(compiled(pattern, without_global("regexp_like", letters)?)?.is_match(text))
}

fn slice(text: &str, range: Option<(usize, usize)>) -> Datum {
    range.map_or(Datum::Null, |(from, to)| Datum::text(&text[from..to]))
}

/// The first group, or the whole match of an expression without groups.
fn extract(text: &str, pattern: &str) -> Result<Datum> {
    let found = find_at(&*compiled(pattern, Options::default())?, text, 0);
    Ok(found.map_or(Datum::Null, |groups| slice(text, groups[usize::from(groups.len() > 1)])))
}

/// The groups of a match as an array, or the whole match of an expression without groups.
pub fn groups_array(text: &str, groups: &Groups) -> Array {
    let wanted = if groups.len() > 1 { &groups[1..] } else { &groups[..] };
    Array::from_elements(Oid::TEXT, wanted.iter().map(|range| slice(text, *range)).collect())
}

fn first_match(text: &str, pattern: &str, letters: &str) -> Result<Option<Array>> {
    let options = without_global("regexp_match", letters)
        .map_err(|error| error.with_hint("Use the regexp_matches function instead."))?;
    Ok(find_at(&*compiled(pattern, options)?, text, 0).map(|groups| groups_array(text, &groups)))
}

/// The arrays of `regexp_matches`: of the first match, or of all with the flag `g`.
pub fn matches(context: &EvalContext, text: &str, pattern: &str, letters: &str) -> Result<Vec<Array>> {
    let Flags { options, global } = flags(letters)?;
    let regex = compiled(pattern, options)?;
    let most = if global { usize::MAX } else { 1 };
    let found = find_all(context, &regex, text, 0).take(most);
    found.map(|groups| groups.map(|groups| groups_array(text, &groups))).collect()
}

/// The parts between matches. Empty matches at either end or right after a match do not split.
pub fn split<'a>(
    context: &EvalContext,
    function: &str,
    text: &'a str,
    pattern: &str,
    letters: &str,
) -> Result<Vec<&'a str>> {
    let regex = compiled(pattern, without_global(function, letters)?)?;
    let mut parts = Vec::new();
    let mut part_start = 0;
    for groups in find_all(context, &regex, text, 0) {
        let (begin, end) = groups?[0].expect("the whole match always takes part");
        if begin < text.len() && end > part_start {
            parts.push(&text[part_start..begin]);
            part_start = end;
        }
    }
    parts.push(&text[part_start..]);
    Ok(parts)
}

fn split_to_array(call: &Call<'_>, text: &str, pattern: &str, letters: &str) -> Result<Array> {
    let parts = split(call.context, "regexp_split_to_array", text, pattern, letters)?;
    Ok(Array::from_elements(Oid::TEXT, parts.into_iter().map(Datum::text).collect()))
}

fn count(call: &Call<'_>, text: &str, pattern: &str, start: i32, letters: &str) -> Result<i32> {
    let start = start_offset(text, start)?;
    let regex = compiled(pattern, without_global("regexp_count", letters)?)?;
    find_all(call.context, &regex, text, start).try_fold(0, |count, found| found.map(|_| count + 1))
}

/// The range of a group in the `n`th match.
fn nth_group(
    call: &Call<'_>,
    function: &str,
    text: &str,
    pattern: &str,
    start: i32,
    n: i32,
    letters: &str,
    group: i32,
) -> Result<Option<(usize, usize)>> {
    let start = start_offset(text, start)?;
    if n <= 0 {
        return Err(bad_parameter("n", n));
    }
    if group < 0 {
        return Err(bad_parameter("subexpr", group));
    }
    let regex = compiled(pattern, without_global(function, letters)?)?;
    let groups = find_all(call.context, &regex, text, start);
    // Errors end the search, too.
    let mut number = 0;
    let groups = groups
        .into_iter()
        .find(|groups| {
            number += 1;
            groups.is_err() || number == n
        })
        .transpose()?;
    Ok(groups.and_then(|groups| groups.get(group as usize).copied().flatten()))
}

#[expect(clippy::too_many_arguments, reason = "they are the SQL function's")]
fn instr(
    call: &Call<'_>,
    text: &str,
    pattern: &str,
    start: i32,
    n: i32,
    end: i32,
    letters: &str,
    group: i32,
) -> Result<i32> {
    if !(0..=1).contains(&end) {
        return Err(bad_parameter("endoption", end));
    }
    let range = nth_group(call, "regexp_instr", text, pattern, start, n, letters, group)?;
    Ok(range.map_or(0, |(from, to)| characters(&text[..if end == 1 { to } else { from }]) as i32 + 1))
}

fn substr(
    call: &Call<'_>,
    text: &str,
    pattern: &str,
    start: i32,
    n: i32,
    letters: &str,
    group: i32,
) -> Result<Datum> {
    Ok(slice(text, nth_group(call, "regexp_substr", text, pattern, start, n, letters, group)?))
}

/// `regexp_replace(text, pattern, new, flags)`: the first match, or all with the flag `g`.
fn replace_with_flags(
    call: &Call<'_>,
    text: &str,
    pattern: &str,
    new: &str,
    letters: &str,
) -> Result<String> {
    if let Some(digit) = letters.chars().next().filter(char::is_ascii_digit) {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("invalid regular expression option: \"{digit}\""),
        )
        .with_hint(
            "If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.",
        ));
    }
    replace(call, text, pattern, new, 1, None, letters)
}

/// `n` is the match to replace, 0 for all; `None` leaves it to the flag `g`.
fn replace(
    call: &Call<'_>,
    text: &str,
    pattern: &str,
    new: &str,
    start: i32,
    n: Option<i32>,
    letters: &str,
) -> Result<String> {
    let from = start_offset(text, start)?;
    if let Some(n) = n.filter(|n| *n < 0) {
        return Err(bad_parameter("n", n));
    }
    let Flags { options, global } = flags(letters)?;
    let n = n.unwrap_or(if global { 0 } else { 1 }) as usize;
    let regex = compiled(pattern, options)?;
    let mut result = String::with_capacity(text.len());
    let mut copied = 0;
    for (index, groups) in find_all(call.context, &regex, text, from).enumerate() {
        let groups = groups?;
        if n != 0 && index + 1 != n {
            continue;
        }
        let (begin, end) = groups[0].expect("the whole match always takes part");
        result.push_str(&text[copied..begin]);
        substitute(&mut result, text, new, &groups);
        copied = end;
        if result.len() > TEXT_BYTES_MAX {
            return Err(too_long());
        }
        if n != 0 {
            break;
        }
    }
    result.push_str(&text[copied..]);
    Ok(result)
}

/// Appends the replacement: `\1` to `\9` are groups, `\&` the match, `\\` a backslash.
fn substitute(result: &mut String, text: &str, new: &str, groups: &Groups) {
    let mut rest = new;
    while let Some(backslash) = rest.find('\\') {
        result.push_str(&rest[..backslash]);
        let letter = rest[backslash + 1..].chars().next();
        let group = match letter {
            Some('&') => Some(0),
            Some(digit @ '1'..='9') => digit.to_digit(10).map(|digit| digit as usize),
            _ => None,
        };
        match (group, letter) {
            (Some(group), _) => {
                if let Some((from, to)) = groups.get(group).copied().flatten() {
                    result.push_str(&text[from..to]);
                }
                rest = &rest[backslash + 2..];
            }
            (None, Some('\\')) => {
                result.push('\\');
                rest = &rest[backslash + 2..];
            }
            (None, _) => {
                result.push('\\');
                rest = &rest[backslash + 1..];
            }
        }
    }
    result.push_str(rest);
}
