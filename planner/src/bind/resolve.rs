//! Resolution of overloaded functions and operators by candidate elimination (the manual's chapter "Type Conversion").

use basalt_functions::{CastContext, Function, Operator};
use basalt_types::{Category, Oid, Result, SqlError, SqlState, SqlType};

use super::{coerce::oid_name, lookup};

/// What was found for a call.
pub(crate) enum Found<T> {
    One(T),
    None,
    Ambiguous,
}

/// A function whose parameter list has been matched to the number of arguments.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub function: &'static Function,
    pub args: Vec<Oid>,
    expanded: bool,
}

impl Candidate {
    /// The last parameter was repeated for the arguments.
    pub fn is_expanded(&self) -> bool {
        self.expanded
    }
}

pub(crate) fn function(name: &str, types: &[Oid]) -> Found<Candidate> {
    let count = types.len();
    let mut candidates: Vec<Candidate> = Vec::new();
    for function in lookup::functions(name) {
        let declared = function.args.len();
        let fits_plain = count <= declared && count + function.defaults >= declared;
        if fits_plain {
            candidates.push(Candidate { function, args: function.args[..count].to_vec(), expanded: false });
        }
        if let Some(element) = function.variadic
            && count >= declared
            && (element != Oid::ANY || !fits_plain)
        {
            let mut args = function.args[..declared.saturating_sub(1)].to_vec();
            args.resize(count, element);
            candidates.push(Candidate { function, args, expanded: true });
        }
    }
    if candidates.is_empty() {
        return Found::None;
    }
    if let Some(exact) = candidates.iter().position(|candidate| candidate.args == types) {
        return Found::One(candidates.swap_remove(exact));
    }
    let matching: Vec<Candidate> =
        candidates.into_iter().filter(|candidate| accepts(types, &candidate.args)).collect();
    let plain: Vec<Vec<Oid>> = matching.iter().map(|candidate| candidate.args.clone()).collect();
    match matching.len() {
        0 => return Found::None,
        1 => return Found::One(matching.into_iter().next().expect("there is one")),
        _ => {}
    }
    match select(types, &plain) {
        Some(index) => Found::One(matching[index].clone()),
        // Equal parameter lists: the one without a variadic expansion wins.
        None if plain.iter().all(|args| args == &plain[0]) => matching
            .iter()
            .find(|candidate| !candidate.expanded)
            .cloned()
            .map_or(Found::Ambiguous, Found::One),
        None => Found::Ambiguous,
    }
}

/// A binary operator, or a prefix operator when `left` is `None`.
pub(crate) fn operator(name: &str, left: Option<Oid>, right: Oid) -> Found<&'static Operator> {
    let all: Vec<&'static Operator> =
        lookup::operators(name).filter(|operator| operator.left.is_some() == left.is_some()).collect();
    let types: Vec<Oid> = left.into_iter().chain([right]).collect();
    let parameters =
        |operator: &Operator| -> Vec<Oid> { operator.left.into_iter().chain([operator.right]).collect() };
    // An unknown operand is first taken to have the type of the other one.
    let mut assumed = types.clone();
    if let [one, other] = assumed.as_mut_slice() {
        if *one == Oid::UNKNOWN {
            *one = *other;
        } else if *other == Oid::UNKNOWN {
            *other = *one;
        }
    }
    if !assumed.contains(&Oid::UNKNOWN)
        && let Some(exact) = all.iter().find(|operator| parameters(operator) == assumed)
    {
        return Found::One(exact);
    }
    let matching: Vec<&'static Operator> =
        all.into_iter().filter(|operator| accepts(&types, &parameters(operator))).collect();
    match matching.len() {
        0 => Found::None,
        1 => Found::One(matching[0]),
        _ => {
            let lists: Vec<Vec<Oid>> = matching.iter().map(|operator| parameters(operator)).collect();
            select(&types, &lists).map_or(Found::Ambiguous, |index| Found::One(matching[index]))
        }
    }
}

fn accepts(types: &[Oid], parameters: &[Oid]) -> bool {
    types
        .iter()
        .zip(parameters)
        .all(|(ty, parameter)| lookup::can_coerce(*ty, *parameter, CastContext::Implicit))
        && consistent(types, parameters)
}

/// PostgreSQL's `check_generic_type_consistency`: whether polymorphic parameters can all take their arguments.
fn consistent(types: &[Oid], parameters: &[Oid]) -> bool {
    let mut element: Option<Oid> = None;
    let mut compatible: Option<Oid> = None;
    for (ty, parameter) in types.iter().zip(parameters) {
        if *ty == Oid::UNKNOWN {
            continue;
        }
        let item = match *parameter {
            Oid::ANYARRAY | Oid::ANYCOMPATIBLEARRAY => lookup::element(*ty),
            Oid::ANYNONARRAY if lookup::element(*ty).is_some() => None,
            Oid::ANYELEMENT | Oid::ANYNONARRAY | Oid::ANYCOMPATIBLE => Some(*ty),
            _ => continue,
        };
        let Some(item) = item else { return *ty == Oid::ANYARRAY };
        if matches!(*parameter, Oid::ANYCOMPATIBLE | Oid::ANYCOMPATIBLEARRAY) {
            compatible = match compatible {
                None => Some(item),
                Some(known) if known == item => Some(known),
                Some(known) if lookup::can_coerce(item, known, CastContext::Implicit) => Some(known),
                Some(known) if lookup::can_coerce(known, item, CastContext::Implicit) => Some(item),
                Some(_) => return false,
            };
        } else if *element.get_or_insert(item) != item {
            return false;
        }
    }
    true
}

/// PostgreSQL's `func_select_candidate`: the position of the best list, if there is a single best.
fn select(types: &[Oid], lists: &[Vec<Oid>]) -> Option<usize> {
    let unknowns = types.iter().filter(|ty| **ty == Oid::UNKNOWN).count();
    let mut left: Vec<usize> = (0..lists.len()).collect();
    let keep_best = |left: &mut Vec<usize>, score: &dyn Fn(usize) -> usize| {
        let best = left.iter().map(|index| score(*index)).max().unwrap_or(0);
        left.retain(|index| score(*index) == best);
    };
    let known = |slot: &usize| types[*slot] != Oid::UNKNOWN;
    keep_best(&mut left, &|index| {
        (0..types.len()).filter(known).filter(|slot| lists[index][*slot] == types[*slot]).count()
    });
    if let [one] = left.as_slice() {
        return Some(*one);
    }
    keep_best(&mut left, &|index| {
        (0..types.len())
            .filter(known)
            .filter(|slot| {
                let parameter = lists[index][*slot];
                parameter == types[*slot]
                    || lookup::preferred(parameter)
                        && lookup::category(parameter) == lookup::category(types[*slot])
            })
            .count()
    });
    if let [one] = left.as_slice() {
        return Some(*one);
    }
    if unknowns == 0 {
        return None;
    }
    // The category of each unknown argument: string if any candidate takes one, else the only one there is.
    let mut wanted: Vec<Option<(Category, bool)>> = vec![None; types.len()];
    let mut resolved = true;
    for slot in (0..types.len()).filter(|slot| !known(slot)) {
        let categories: Vec<Category> =
            left.iter().map(|index| lookup::category(lists[*index][slot])).collect();
        let category = if categories.contains(&Category::String) {
            Category::String
        } else if categories.iter().all(|category| *category == categories[0]) {
            categories[0]
        } else {
            resolved = false;
            break;
        };
        let has_preferred = left.iter().any(|index| {
            let parameter = lists[*index][slot];
            lookup::category(parameter) == category && lookup::preferred(parameter)
        });
        wanted[slot] = Some((category, has_preferred));
    }
    if resolved {
        let fitting: Vec<usize> = left
            .iter()
            .copied()
            .filter(|index| {
                wanted.iter().enumerate().all(|(slot, wanted)| match wanted {
                    Some((category, has_preferred)) => {
                        let parameter = lists[*index][slot];
                        lookup::category(parameter) == *category
                            && (!has_preferred || lookup::preferred(parameter))
                    }
                    None => true,
                })
            })
            .collect();
        if !fitting.is_empty() {
            left = fitting;
        }
        if let [one] = left.as_slice() {
            return Some(*one);
        }
    }
    // Known arguments of one type: take the unknown ones to have it too.
    let mut known_types = types.iter().filter(|ty| **ty != Oid::UNKNOWN);
    let first = *known_types.next()?;
    if !known_types.all(|ty| *ty == first) {
        return None;
    }
    let assumed = vec![first; types.len()];
    let mut fitting = left.iter().filter(|index| accepts(&assumed, &lists[**index]));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Some(*one),
        _ => None,
    }
}

/// The concrete types of a polymorphic call: its parameters and its result.
pub(crate) struct Signature {
    pub args: Vec<Oid>,
    pub returns: Oid,
}

/// PostgreSQL's `enforce_generic_type_consistency`.
pub(crate) fn concrete(
    declared: &[Oid],
    returns: Oid,
    actual: &[SqlType],
    common: impl FnOnce(&[SqlType]) -> Result<SqlType>,
) -> Result<Signature> {
    let mut element: Option<Oid> = None;
    let mut polymorphic = lookup::is_polymorphic(returns);
    let mut compatible: Vec<SqlType> = Vec::new();
    let mut any_compatible = matches!(returns, Oid::ANYCOMPATIBLE | Oid::ANYCOMPATIBLEARRAY);
    for (parameter, ty) in declared.iter().zip(actual) {
        polymorphic |= lookup::is_polymorphic(*parameter);
        any_compatible |= matches!(*parameter, Oid::ANYCOMPATIBLE | Oid::ANYCOMPATIBLEARRAY);
        let found = match *parameter {
            Oid::ANYELEMENT | Oid::ANYNONARRAY if ty.oid != Oid::UNKNOWN => ty.oid,
            Oid::ANYARRAY if ty.oid != Oid::UNKNOWN => match lookup::element(ty.oid) {
                Some(element) => element,
                // The arrays of statistics views stay anyarray.
                None if ty.oid == Oid::ANYARRAY => Oid::ANYELEMENT,
                None => {
                    return Err(SqlError::new(
                        SqlState::DATATYPE_MISMATCH,
                        format!("argument declared anyarray is not an array but type {}", oid_name(ty.oid)),
                    ));
                }
            },
            Oid::ANYCOMPATIBLE => {
                compatible.push(ty.bare());
                continue;
            }
            Oid::ANYCOMPATIBLEARRAY => {
                let element = lookup::element(ty.oid).unwrap_or(Oid::UNKNOWN);
                compatible.push(SqlType::new(element, -1));
                continue;
            }
            _ => continue,
        };
        match element {
            Some(before) if before != found => {
                return Err(SqlError::new(
                    SqlState::DATATYPE_MISMATCH,
                    "arguments declared \"anyelement\" are not all alike",
                )
                .with_detail(format!("{} versus {}", oid_name(before), oid_name(found))));
            }
            _ => element = Some(found),
        }
    }
    if !polymorphic {
        return Ok(Signature { args: declared.to_vec(), returns });
    }
    let common = if any_compatible && !compatible.is_empty() { Some(common(&compatible)?.oid) } else { None };
    let uses_element = |oid: Oid| matches!(oid, Oid::ANYELEMENT | Oid::ANYARRAY | Oid::ANYNONARRAY);
    if element.is_none() && (uses_element(returns) || declared.iter().any(|oid| uses_element(*oid))) {
        if uses_element(returns) || actual.iter().any(|ty| ty.oid == Oid::UNKNOWN) {
            return Err(SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                "could not determine polymorphic type because input has type unknown",
            ));
        }
        element = Some(Oid::TEXT);
    }
    let replace = |oid: Oid| -> Result<Oid> {
        let array = |element: Option<Oid>| {
            let element = element.unwrap_or(Oid::TEXT);
            lookup::array_of(element).ok_or_else(|| {
                SqlError::new(
                    SqlState::UNDEFINED_OBJECT,
                    format!("could not find array type for data type {}", oid_name(element)),
                )
            })
        };
        match oid {
            Oid::ANYELEMENT | Oid::ANYNONARRAY => Ok(element.unwrap_or(Oid::TEXT)),
            Oid::ANYARRAY => array(element),
            Oid::ANYCOMPATIBLE => Ok(common.unwrap_or(Oid::TEXT)),
            Oid::ANYCOMPATIBLEARRAY => array(common),
            other => Ok(other),
        }
    };
    let args = declared.iter().map(|oid| replace(*oid)).collect::<Result<_>>()?;
    Ok(Signature { args, returns: replace(returns)? })
}
