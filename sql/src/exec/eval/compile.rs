//! Expressions with columns resolved to positions.

use basalt_functions::{CastMethod, FunctionKind, ScalarFn};
use basalt_planner::{
    ColumnId, Expr,
    expr::{CallExpr, Subquery},
};
use basalt_types::{Datum, Oid, Result, SqlError, SqlType};

use crate::exec::{WaitingFunction, scope::OuterValues};

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub(super) node: Node,
}

/// A call of a scalar function.
#[derive(Clone, Debug)]
pub(super) struct FunctionCall {
    pub function: ScalarFn,
    pub strict: bool,
    pub arg_types: Box<[SqlType]>,
    pub return_type: SqlType,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Constant(Datum),
    Slot(usize),
    Param(usize),
    Call {
        call: Box<FunctionCall>,
        args: Box<[Node]>,
    },
    InOutCast {
        input: Box<Node>,
        from: SqlType,
        to: SqlType,
        explicit: bool,
    },
    /// A cast between types of one stored form, which may still be different variants of [`Datum`].
    Relabel {
        input: Box<Node>,
        to: Oid,
    },
    /// Casts every element.
    ArrayCast {
        input: Box<Node>,
        method: CastMethod,
        from: SqlType,
        to: SqlType,
    },
    Coerce {
        input: Box<Node>,
        to: SqlType,
        explicit: bool,
    },
    And(Box<[Node]>),
    Or(Box<[Node]>),
    Not(Box<Node>),
    IsNull {
        input: Box<Node>,
        negated: bool,
    },
    BoolTest {
        input: Box<Node>,
        value: Option<bool>,
        negated: bool,
    },
    IsDistinct {
        left: Box<Node>,
        right: Box<Node>,
        equal: Box<FunctionCall>,
        negated: bool,
    },
    Case {
        branches: Box<[(Node, Node)]>,
        otherwise: Option<Box<Node>>,
    },
    Coalesce(Box<[Node]>),
    NullIf {
        left: Box<Node>,
        right: Box<Node>,
        equal: Box<FunctionCall>,
    },
    MinMax {
        greatest: bool,
        args: Box<[Node]>,
        less: Box<FunctionCall>,
    },
    InList {
        input: Box<Node>,
        list: Box<[Node]>,
        equal: Box<FunctionCall>,
        negated: bool,
    },
    ArrayOp {
        input: Box<Node>,
        operator: Box<FunctionCall>,
        array: Box<Node>,
        all: bool,
    },
    Array {
        elements: Box<[Node]>,
        element: Oid,
        nested: bool,
    },
    Subscript {
        array: Box<Node>,
        indexes: Box<[Node]>,
    },
    Row(Box<[Node]>),
    /// Position in the operator's list of what it runs itself.
    Subquery(usize),
    /// A call of a function that may wait, by position in the same list.
    Waiting {
        position: usize,
        function: WaitingFunction,
        args: Box<[Node]>,
    },
}

/// What an operator must run before evaluation can go on.
#[derive(Clone, Debug)]
pub(crate) enum Lazy {
    Subquery(Subquery),
    /// A call of a function that may wait.
    Function,
}

type Find<'a> = &'a dyn Fn(ColumnId) -> Option<usize>;

/// Compiles `expr`; what evaluation cannot do by itself is appended to `lazies`.
pub(crate) fn compile_with(
    expr: &Expr,
    find: Find<'_>,
    outer: &OuterValues,
    lazies: &mut Vec<Lazy>,
) -> Result<Compiled> {
    let mut compiler = Compiler { find, outer, lazies };
    Ok(Compiled { node: compiler.node(expr)? })
}

struct Compiler<'a> {
    find: Find<'a>,
    outer: &'a OuterValues,
    lazies: &'a mut Vec<Lazy>,
}

impl Compiler<'_> {
    fn node(&mut self, expr: &Expr) -> Result<Node> {
        Ok(match expr {
            Expr::Literal { value, .. } => Node::Constant(value.clone()),
            Expr::Column { id, .. } => self.column(*id)?,
            Expr::Param { index, .. } => Node::Param(*index),
            Expr::Call(call) => self.call(call)?,
            Expr::Cast { input, to, method, explicit } => self.cast(input, *to, method, *explicit)?,
            Expr::Coerce { input, to, explicit } => {
                Node::Coerce { input: self.boxed(input)?, to: *to, explicit: *explicit }
            }
            Expr::And(args) => Node::And(self.nodes(args)?),
            Expr::Or(args) => Node::Or(self.nodes(args)?),
            Expr::Not(input) => Node::Not(self.boxed(input)?),
            Expr::IsNull { input, negated } => Node::IsNull { input: self.boxed(input)?, negated: *negated },
            Expr::BoolTest { input, value, negated } => {
                Node::BoolTest { input: self.boxed(input)?, value: *value, negated: *negated }
            }
            Expr::IsDistinct { left, right, equal, negated } => Node::IsDistinct {
                equal: comparison(equal, left.ty(), right.ty())?,
                left: self.boxed(left)?,
                right: self.boxed(right)?,
                negated: *negated,
            },
            Expr::Case { branches, otherwise, .. } => {
                let branches = branches.iter().map(|(when, then)| Ok((self.node(when)?, self.node(then)?)));
                let branches = branches.collect::<Result<_>>()?;
                let otherwise = otherwise.as_ref().map(|expr| self.boxed(expr)).transpose()?;
                Node::Case { branches, otherwise }
            }
            Expr::Coalesce { args, .. } => Node::Coalesce(self.nodes(args)?),
            Expr::NullIf { left, right, equal, .. } => Node::NullIf {
                equal: comparison(equal, left.ty(), right.ty())?,
                left: self.boxed(left)?,
                right: self.boxed(right)?,
            },
            Expr::MinMax { greatest, args, less, ty } => Node::MinMax {
                greatest: *greatest,
                args: self.nodes(args)?,
                less: comparison(less, *ty, *ty)?,
            },
            Expr::InList { input, list, equal, negated } => Node::InList {
                equal: comparison(equal, input.ty(), list.first().map_or(input.ty(), Expr::ty))?,
                input: self.boxed(input)?,
                list: self.nodes(list)?,
                negated: *negated,
            },
            Expr::ArrayOp { input, operator, array, all } => {
                let element = array.ty().info().map_or(input.ty(), |info| SqlType::new(info.element, -1));
                Node::ArrayOp {
                    operator: comparison(operator, input.ty(), element)?,
                    input: self.boxed(input)?,
                    array: self.boxed(array)?,
                    all: *all,
                }
            }
            Expr::Array { elements, ty } => {
                let element = ty.info().map_or(Oid::UNKNOWN, |info| info.element);
                let is_array = |expr: &Expr| expr.ty().info().is_some_and(|info| info.element != Oid(0));
                let nested = elements.first().is_some_and(is_array);
                Node::Array { elements: self.nodes(elements)?, element, nested }
            }
            Expr::Subscript { array, indexes, .. } => {
                Node::Subscript { array: self.boxed(array)?, indexes: self.nodes(indexes)? }
            }
            Expr::Row { fields, .. } => Node::Row(self.nodes(fields)?),
            Expr::Subquery(subquery) => {
                self.lazies.push(Lazy::Subquery((**subquery).clone()));
                Node::Subquery(self.lazies.len() - 1)
            }
        })
    }

    fn boxed(&mut self, expr: &Expr) -> Result<Box<Node>> {
        self.node(expr).map(Box::new)
    }

    fn nodes(&mut self, exprs: &[Expr]) -> Result<Box<[Node]>> {
        exprs.iter().map(|expr| self.node(expr)).collect()
    }

    fn column(&self, id: ColumnId) -> Result<Node> {
        if let Some(slot) = (self.find)(id) {
            return Ok(Node::Slot(slot));
        }
        match self.outer.get(&id) {
            Some(value) => Ok(Node::Constant(value.clone())),
            None => Err(SqlError::internal(format!("column {} is not in scope", id.0))),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Result<Node> {
        if let Some(function) = WaitingFunction::of(call.function.name) {
            let args = self.nodes(&call.args)?;
            self.lazies.push(Lazy::Function);
            return Ok(Node::Waiting { position: self.lazies.len() - 1, function, args });
        }
        let arg_types = call.args.iter().map(Expr::ty).collect();
        let function = function_call(call.function, arg_types, call.ty)?;
        Ok(Node::Call { call: Box::new(function), args: self.nodes(&call.args)? })
    }

    fn cast(&mut self, input: &Expr, to: SqlType, method: &CastMethod, explicit: bool) -> Result<Node> {
        let from = input.ty();
        let node = self.node(input)?;
        if from.element().is_some() && to.element().is_some() && !matches!(method, CastMethod::InOut) {
            return Ok(Node::ArrayCast { input: Box::new(node), method: *method, from, to });
        }
        Ok(match method {
            CastMethod::Binary => Node::Relabel { input: Box::new(node), to: to.oid },
            CastMethod::InOut => Node::InOutCast { input: Box::new(node), from, to, explicit },
            CastMethod::Function(function) => {
                // Length-coercing cast functions also take the type modifier and whether the cast is explicit.
                let mut args = vec![node];
                let mut types = vec![from];
                if function.args.len() > 1 {
                    args.push(Node::Constant(Datum::Int4(to.typmod)));
                    types.push(SqlType::INT4);
                }
                if function.args.len() > 2 {
                    args.push(Node::Constant(Datum::Bool(explicit)));
                    types.push(SqlType::BOOL);
                }
                let call = function_call(function, types.into(), to)?;
                let call = Node::Call { call: Box::new(call), args: args.into() };
                // A cast function may give another type of the same form (integer for oid).
                if function.returns == to.oid {
                    call
                } else {
                    Node::Relabel { input: Box::new(call), to: to.oid }
                }
            }
        })
    }
}

fn function_call(
    function: &'static basalt_functions::Function,
    arg_types: Box<[SqlType]>,
    return_type: SqlType,
) -> Result<FunctionCall> {
    match &function.kind {
        FunctionKind::Scalar(scalar) => {
            Ok(FunctionCall { function: *scalar, strict: function.strict, arg_types, return_type })
        }
        _ => Err(SqlError::internal(format!("{} is not a scalar function", function.name))),
    }
}

fn comparison(
    function: &'static basalt_functions::Function,
    left: SqlType,
    right: SqlType,
) -> Result<Box<FunctionCall>> {
    function_call(function, [left, right].into(), SqlType::BOOL).map(Box::new)
}
