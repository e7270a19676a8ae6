//! Intervals as ISO 8601 writes them: `P1Y2M3W4DT5H6M7.8S`, `P0001-02-03T04:05:06`, `P00010203T040506`.

use super::interval_sum::{IntervalSum, Unit};
use super::parts::Fault;

/// A number, its fraction of the same sign, and what follows.
fn number(text: &str) -> Result<(i64, f64, &str), Fault> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
        return Err(Fault::Syntax);
    }
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let sign = usize::from(text.starts_with('-'));
    let mut end = sign + digits(sign);
    let mut any = end > sign;
    if text[end..].starts_with('.') {
        let decimals = digits(end + 1);
        any |= decimals > 0;
        end += 1 + decimals;
    }
    if !any {
        return Err(Fault::Syntax);
    }
    if text[end..].starts_with(['e', 'E']) {
        let signed = end + 1 + usize::from(text[end + 1..].starts_with(['-', '+']));
        let exponent = digits(signed);
        if exponent > 0 {
            end = signed + exponent;
        }
    }
    let value: f64 = text[..end].parse().map_err(|_| Fault::Syntax)?;
    if !(-1e15..=1e15).contains(&value) {
        return Err(Fault::Field);
    }
    Ok((value.trunc() as i64, value - value.trunc(), &text[end..]))
}

/// Digits before the point.
fn width(text: &str) -> usize {
    text.strip_prefix('-').unwrap_or(text).bytes().take_while(u8::is_ascii_digit).count()
}

pub(super) fn parse_iso(input: &str) -> Result<IntervalSum, Fault> {
    let mut rest = input.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or(Fault::Syntax)?;
    let mut sum = IntervalSum::default();
    let (mut in_date, mut any) = (true, false);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            (in_date, any) = (false, false);
            rest = time;
            continue;
        }
        let start = rest;
        let (value, share, after) = number(rest)?;
        let designator = after.chars().next();
        rest = designator.map_or("", |designator| &after[designator.len_utf8()..]);
        let unit = match (in_date, designator) {
            (true, Some('Y')) => Unit::Year,
            (true, Some('M')) => Unit::Month,
            (true, Some('W')) => Unit::Week,
            (true, Some('D')) => Unit::Day,
            (false, Some('H')) => Unit::Hour,
            (false, Some('M')) => Unit::Minute,
            (false, Some('S')) => Unit::Second,
            (true, None | Some('T' | '-')) => {
                let basic = designator != Some('-') && width(start) == 8 && !any;
                if basic {
                    sum.add(value / 10_000, 0.0, Unit::Year)?;
                    sum.add(value / 100 % 100, 0.0, Unit::Month)?;
                    sum.add(value % 100, share, Unit::Day)?;
                } else if any {
                    return Err(Fault::Syntax);
                } else {
                    sum.add(value, share, Unit::Year)?;
                    if designator == Some('-') {
                        rest = extended_date(&mut sum, rest)?;
                    }
                }
                if rest.is_empty() && designator != Some('T') {
                    return Ok(sum);
                }
                (in_date, any) = (false, false);
                continue;
            }
            (false, None | Some(':')) => {
                if designator.is_none() && width(start) == 6 && !any {
                    sum.add(value / 10_000, 0.0, Unit::Hour)?;
                    sum.add(value / 100 % 100, 0.0, Unit::Minute)?;
                    sum.add(value % 100, share, Unit::Second)?;
                    return Ok(sum);
                }
                if any {
                    return Err(Fault::Syntax);
                }
                sum.add(value, share, Unit::Hour)?;
                if designator.is_some() {
                    extended_time(&mut sum, rest)?;
                }
                return Ok(sum);
            }
            _ => return Err(Fault::Syntax),
        };
        sum.add(value, share, unit)?;
        any = true;
    }
    Ok(sum)
}

/// Months and days after the year; what follows a `T`.
fn extended_date<'a>(sum: &mut IntervalSum, text: &'a str) -> Result<&'a str, Fault> {
    let (value, share, rest) = number(text)?;
    sum.add(value, share, Unit::Month)?;
    if rest.is_empty() || rest.starts_with('T') {
        return Ok(rest.strip_prefix('T').unwrap_or(rest));
    }
    let (value, share, rest) = number(rest.strip_prefix('-').ok_or(Fault::Syntax)?)?;
    sum.add(value, share, Unit::Day)?;
    if rest.is_empty() {
        return Ok(rest);
    }
    rest.strip_prefix('T').ok_or(Fault::Syntax)
}

/// Minutes and seconds after the hour.
fn extended_time(sum: &mut IntervalSum, text: &str) -> Result<(), Fault> {
    let (value, share, rest) = number(text)?;
    sum.add(value, share, Unit::Minute)?;
    if rest.is_empty() {
        return Ok(());
    }
    let (value, share, rest) = number(rest.strip_prefix(':').ok_or(Fault::Syntax)?)?;
    sum.add(value, share, Unit::Second)?;
    if rest.is_empty() { Ok(()) } else { Err(Fault::Syntax) }
}
