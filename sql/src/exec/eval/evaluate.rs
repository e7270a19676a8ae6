//! The evaluator: three-valued logic and laziness exactly as SQL has them.

use std::sync::Arc;

use basalt_functions::{Call, EvalContext};
use basalt_types::{Array, Datum, LengthRule, Oid, Result, SqlError, SqlState, apply_typmod, text_in};

use super::{
    Interrupt,
    compile::{Compiled, FunctionCall, Node},
};

type Value = Result<Datum, Interrupt>;

/// What one evaluation sees.
pub(super) struct Frame<'a> {
    pub context: &'a EvalContext,
    pub row: &'a [Datum],
    /// Values of subqueries known for this row, by position.
    pub subqueries: &'a [Option<Datum>],
}

impl Compiled {
    /// Evaluates over one row; the expression has no subqueries.
    pub fn evaluate(&self, context: &EvalContext, row: &[Datum]) -> Result<Datum> {
        match self.evaluate_with(context, row, &[]) {
            Ok(value) => Ok(value),
            Err(Interrupt::Error(error)) => Err(error),
            Err(Interrupt::Subquery(_) | Interrupt::Function(..)) => {
                Err(SqlError::internal("an expression that waits was evaluated at once"))
            }
        }
    }

    pub(super) fn evaluate_with(
        &self,
        context: &EvalContext,
        row: &[Datum],
        subqueries: &[Option<Datum>],
    ) -> Result<Datum, Interrupt> {
        Frame { context, row, subqueries }.value(&self.node)
    }
}

impl Frame<'_> {
    fn value(&self, node: &Node) -> Value {
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Slot(slot) => Ok(self.row[*slot].clone()),
            Node::Param(index) => self.param(*index),
            Node::Call { call, args } => self.call(call, args),
            Node::InOutCast { input, from, to, explicit } => {
                let value = self.value(input)?;
                if value.is_null() {
                    return Ok(value);
                }
                let text = basalt_functions::io::output_in(self.context, &value, *from);
                if *explicit && matches!(to.oid, Oid::VARCHAR | Oid::BPCHAR) {
                    let whole = text_in(to.bare(), &text, &self.context.io)?;
                    return Ok(apply_typmod(whole, *to, LengthRule::ExplicitCast)?);
                }
                Ok(self.parse_text(*to, &text)?)
            }
            Node::Relabel { input, to } => Ok(basalt_functions::relabel(self.value(input)?, *to)),
            Node::ArrayCast { input, method, from, to } => {
                let value = self.value(input)?;
                let call = Call { context: self.context, arg_types: &[*from], return_type: *to };
                Ok(method.apply(&call, &value)?)
            }
            Node::Coerce { input, to, explicit } => {
                let value = self.value(input)?;
                if value.is_null() {
                    return Ok(value);
                }
                let rule = if *explicit { LengthRule::ExplicitCast } else { LengthRule::Assignment };
                Ok(apply_typmod(value, *to, rule)?)
            }
            Node::And(args) => self.and(args),
            Node::Or(args) => self.or(args),
            Node::Not(input) => Ok(match self.value(input)? {
                Datum::Bool(value) => Datum::Bool(!value),
                _ => Datum::Null,
            }),
            Node::IsNull { input, negated } => Ok(Datum::Bool(self.is_null(input, *negated)?)),
            Node::BoolTest { input, value, negated } => {
                let actual = match self.value(input)? {
                    Datum::Bool(actual) => Some(actual),
                    _ => None,
                };
                Ok(Datum::Bool((actual == *value) != *negated))
            }
            Node::IsDistinct { left, right, equal, negated } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                let distinct = match (left.is_null(), right.is_null()) {
                    (true, true) => false,
                    (false, false) => self.apply(equal, &[left, right])? != Datum::Bool(true),
                    _ => true,
                };
                Ok(Datum::Bool(distinct != *negated))
            }
            Node::Case { branches, otherwise } => {
                for (when, then) in branches {
                    if self.value(when)? == Datum::Bool(true) {
                        return self.value(then);
                    }
                }
                otherwise.as_ref().map_or(Ok(Datum::Null), |node| self.value(node))
            }
            Node::Coalesce(args) => {
                for arg in args {
                    let value = self.value(arg)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Ok(Datum::Null)
            }
            Node::NullIf { left, right, equal } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                let same = !left.is_null()
                    && !right.is_null()
                    && self.apply(equal, &[left.clone(), right])? == Datum::Bool(true);
                Ok(if same { Datum::Null } else { left })
            }
            Node::MinMax { greatest, args, less } => self.min_max(*greatest, args, less),
            Node::InList { input, list, equal, negated } => self.in_list(input, list, equal, *negated),
            Node::ArrayOp { input, operator, array, all } => self.array_op(input, operator, array, *all),
            Node::Array { elements, element, nested } => self.array(elements, *element, *nested),
            Node::Subscript { array, indexes } => self.subscript(array, indexes),
            Node::Row(fields) => {
                let fields: Vec<Datum> =
                    fields.iter().map(|field| self.value(field)).collect::<Result<_, _>>()?;
                Ok(Datum::Record(fields.into()))
            }
            Node::Subquery(position) => match self.subqueries.get(*position) {
                Some(Some(value)) => Ok(value.clone()),
                _ => Err(Interrupt::Subquery(*position)),
            },
            Node::Waiting { position, function, args } => {
                if let Some(Some(value)) = self.subqueries.get(*position) {
                    return Ok(value.clone());
                }
                let args = args.iter().map(|arg| self.value(arg)).collect::<Result<Vec<_>, _>>()?;
                if args.iter().any(Datum::is_null) {
                    return Ok(Datum::Null);
                }
                Err(Interrupt::Function(*position, *function, args))
            }
        }
    }

    fn param(&self, index: usize) -> Value {
        self.context.params.get(index).cloned().ok_or_else(|| {
            SqlError::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter ${}", index + 1))
                .into()
        })
    }

    fn call(&self, call: &FunctionCall, args: &[Node]) -> Value {
        // Most calls have one or two arguments: no allocation for them.
        match args {
            [one] => {
                let values = [self.value(one)?];
                self.apply(call, &values)
            }
            [one, two] => {
                let values = [self.value(one)?, self.value(two)?];
                self.apply(call, &values)
            }
            args => {
                let values: Vec<Datum> = args.iter().map(|arg| self.value(arg)).collect::<Result<_, _>>()?;
                self.apply(call, &values)
            }
        }
    }

    fn apply(&self, call: &FunctionCall, args: &[Datum]) -> Value {
        if call.strict && args.iter().any(Datum::is_null) {
            return Ok(Datum::Null);
        }
        let site = Call { context: self.context, arg_types: &call.arg_types, return_type: call.return_type };
        Ok((call.function)(&site, args)?)
    }

    fn parse_text(&self, to: basalt_types::SqlType, text: &str) -> Result<Datum> {
        basalt_functions::io::input_in(self.context, to, text)
    }

    fn and(&self, args: &[Node]) -> Value {
        let mut unknown = false;
        for arg in args {
            match self.value(arg)? {
                Datum::Bool(false) => return Ok(Datum::Bool(false)),
                Datum::Bool(true) => {}
                _ => unknown = true,
            }
        }
        Ok(if unknown { Datum::Null } else { Datum::Bool(true) })
    }

    fn or(&self, args: &[Node]) -> Value {
        let mut unknown = false;
        for arg in args {
            match self.value(arg)? {
                Datum::Bool(true) => return Ok(Datum::Bool(true)),
                Datum::Bool(false) => {}
                _ => unknown = true,
            }
        }
        Ok(if unknown { Datum::Null } else { Datum::Bool(false) })
    }

    /// A row is NULL when all its fields are, and NOT NULL when none is.
    fn is_null(&self, input: &Node, negated: bool) -> Result<bool, Interrupt> {
        Ok(match self.value(input)? {
            Datum::Record(fields) if negated => fields.iter().all(|field| !field.is_null()),
            Datum::Record(fields) => fields.iter().all(Datum::is_null),
            value => value.is_null() != negated,
        })
    }

    fn min_max(&self, greatest: bool, args: &[Node], less: &FunctionCall) -> Value {
        let mut best = Datum::Null;
        for arg in args {
            let value = self.value(arg)?;
            if value.is_null() {
                continue;
            }
            let better = best.is_null() || {
                let pair =
                    if greatest { [best.clone(), value.clone()] } else { [value.clone(), best.clone()] };
                self.apply(less, &pair)? == Datum::Bool(true)
            };
            if better {
                best = value;
            }
        }
        Ok(best)
    }

    fn in_list(&self, input: &Node, list: &[Node], equal: &FunctionCall, negated: bool) -> Value {
        let input = self.value(input)?;
        let mut unknown = false;
        for item in list {
            match self.apply(equal, &[input.clone(), self.value(item)?])? {
                Datum::Bool(true) => return Ok(Datum::Bool(!negated)),
                Datum::Null => unknown = true,
                _ => {}
            }
        }
        Ok(if unknown { Datum::Null } else { Datum::Bool(negated) })
    }

    fn array_op(&self, input: &Node, operator: &FunctionCall, array: &Node, all: bool) -> Value {
        let input = self.value(input)?;
        let Datum::Array(array) = self.value(array)? else { return Ok(Datum::Null) };
        let mut unknown = false;
        for element in &array.elements {
            match self.apply(operator, &[input.clone(), element.clone()])? {
                Datum::Bool(found) if found != all => return Ok(Datum::Bool(found)),
                Datum::Null => unknown = true,
                _ => {}
            }
        }
        Ok(if unknown { Datum::Null } else { Datum::Bool(all) })
    }

    fn array(&self, elements: &[Node], element: Oid, nested: bool) -> Value {
        let values: Vec<Datum> = elements.iter().map(|node| self.value(node)).collect::<Result<_, _>>()?;
        if !nested {
            return Ok(Datum::Array(Arc::new(Array::from_elements(element, values))));
        }
        let mut dimensions: Option<Vec<(usize, i32)>> = None;
        let mut flat = Vec::new();
        for value in &values {
            let Datum::Array(inner) = value else { return Err(mismatched_dimensions().into()) };
            if dimensions.as_ref().is_some_and(|known| *known != inner.dimensions) {
                return Err(mismatched_dimensions().into());
            }
            dimensions = Some(inner.dimensions.clone());
            flat.extend(inner.elements.iter().cloned());
        }
        let mut all = vec![(values.len(), 1)];
        all.extend(dimensions.unwrap_or_default());
        Ok(Datum::Array(Arc::new(Array { element_type: element, dimensions: all, elements: flat })))
    }

    fn subscript(&self, array: &Node, indexes: &[Node]) -> Value {
        let array = self.value(array)?;
        let mut position = 0;
        let Datum::Array(array) = array else { return Ok(Datum::Null) };
        let mut subscripts = Vec::with_capacity(indexes.len());
        for index in indexes {
            match self.value(index)? {
                Datum::Int4(index) => subscripts.push(i64::from(index)),
                Datum::Int2(index) => subscripts.push(i64::from(index)),
                Datum::Int8(index) => subscripts.push(index),
                _ => return Ok(Datum::Null),
            }
        }
        if subscripts.len() != array.dimensions.len() {
            return Ok(Datum::Null);
        }
        for (subscript, &(length, lower)) in subscripts.iter().zip(&array.dimensions) {
            let offset = subscript - i64::from(lower);
            match usize::try_from(offset) {
                Ok(offset) if offset < length => position = position * length + offset,
                _ => return Ok(Datum::Null),
            }
        }
        Ok(array.elements.get(position).cloned().unwrap_or_default())
    }
}

fn mismatched_dimensions() -> SqlError {
    SqlError::new(
        SqlState::ARRAY_SUBSCRIPT_ERROR,
        "multidimensional arrays must have array expressions with matching dimensions",
    )
}
