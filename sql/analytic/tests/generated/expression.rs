//! Random typed expressions over the columns of a query's FROM.

/// A small generator with a seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One time in `of`.
    pub fn rarely(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Int,
    Big,
    Num,
    Float,
    Text,
    Bool,
    Date,
    Stamp,
}

pub const TYPES: [Type; 8] =
    [Type::Int, Type::Big, Type::Num, Type::Float, Type::Text, Type::Bool, Type::Date, Type::Stamp];

/// A column that expressions may use.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub ty: Type,
}

fn columns(sources: &[Source], ty: Type) -> Vec<&Source> {
    sources.iter().filter(|source| source.ty == ty).collect()
}

fn literal(random: &mut Random, ty: Type) -> String {
    match ty {
        Type::Int => random.pick(&["0", "1", "2", "3", "(-2)", "7", "NULL::int"]),
        Type::Big => random.pick(&["0::bigint", "5000000000", "(-7)::bigint", "2::bigint"]),
        Type::Num => random.pick(&["0.5", "1.50", "(-2.25)", "100.001", "'NaN'::numeric", "3::numeric"]),
        Type::Float => random.pick(&[
            "0.5::float8",
            "'-0'::float8",
            "'Infinity'::float8",
            "'NaN'::float8",
            "(-3)::float8",
        ]),
        Type::Text => random.pick(&["'a'", "'abc'", "''", "'x y'", "NULL::text"]),
        Type::Bool => random.pick(&["true", "false", "NULL::bool"]),
        Type::Date => random.pick(&["date '2020-01-05'", "date '1999-12-31'", "date 'infinity'"]),
        Type::Stamp => random.pick(&["timestamp '2020-01-01 10:00'", "timestamp '2020-01-03'"]),
    }
    .to_owned()
}

/// An expression of a type; deeper ones are larger.
pub fn expression(random: &mut Random, sources: &[Source], ty: Type, depth: usize) -> String {
    let own = columns(sources, ty);
    if depth == 0 || random.rarely(4) {
        if own.is_empty() || random.rarely(5) {
            return literal(random, ty);
        }
        return own[random.below(own.len())].name.clone();
    }
    let mut of = |ty| expression(random, sources, ty, depth - 1);
    let (a, b, condition) = (of(ty), of(ty), of(Type::Bool));
    let (int, text, date) = (of(Type::Int), of(Type::Text), of(Type::Date));
    match random.below(10) {
        0 => format!("CASE WHEN {condition} THEN {a} ELSE {b} END"),
        1 => format!("coalesce({a}, {b})"),
        2 if !matches!(ty, Type::Bool) => format!("nullif({a}, {b})"),
        3 if !matches!(ty, Type::Bool) => {
            format!("{}({a}, {b})", random.pick(&["greatest", "least"]))
        }
        choice => match ty {
            Type::Int => match choice {
                4 | 5 => format!("({a} {} {b})", random.pick(&["+", "-", "*"])),
                6 => format!("length({text})"),
                7 => format!("({a} % {})", random.pick(&["3", "5", "-4"])),
                _ => format!("({a} / {})", random.pick(&["2", "3", "-7"])),
            },
            Type::Big => format!("({a} {} {int})", random.pick(&["+", "-"])),
            Type::Num => match choice {
                4..=6 => format!("({a} {} {b})", random.pick(&["+", "-", "*"])),
                7 => format!("round({a}, {})", random.pick(&["0", "1", "-1"])),
                8 => format!("({a} / {})", random.pick(&["4", "0.3", "-7"])),
                _ => format!("({int})::numeric"),
            },
            Type::Float => match choice {
                4 | 5 => format!("({a} {} {b})", random.pick(&["+", "-"])),
                6 => format!("abs({a})"),
                _ => format!("({int})::float8"),
            },
            Type::Text => match choice {
                4 => format!("({a} || {b})"),
                5 => format!("upper({a})"),
                6 => format!("substr({a}, {})", random.pick(&["1, 2", "2", "0, 3"])),
                _ => format!("({int})::text"),
            },
            Type::Bool => predicate(random, sources, depth - 1),
            Type::Date => format!("({a} + {})", random.pick(&["1", "7", "-30"])),
            Type::Stamp => match choice {
                4 | 5 => format!("({date})::timestamp"),
                _ => format!("({a} + interval '{}')", random.pick(&["1 hour", "1 mon", "-2 days"])),
            },
        },
    }
}

/// A condition.
pub fn predicate(random: &mut Random, sources: &[Source], depth: usize) -> String {
    let ty = TYPES[random.below(TYPES.len())];
    let left = expression(random, sources, ty, depth);
    let right = expression(random, sources, ty, depth);
    match random.below(9) {
        0 => format!("({left} IS {}NULL)", random.pick(&["", "NOT "])),
        1 => format!("({left} IS {}DISTINCT FROM {right})", random.pick(&["", "NOT "])),
        2 => {
            let third = expression(random, sources, ty, 0);
            format!("({left} {}IN ({right}, {third}))", random.pick(&["", "NOT "]))
        }
        3 => format!("({left} BETWEEN {right} AND {})", literal(random, ty)),
        4 if depth > 0 => {
            let (a, b) = (predicate(random, sources, depth - 1), predicate(random, sources, depth - 1));
            format!("({a} {} {b})", random.pick(&["AND", "OR"]))
        }
        5 if depth > 0 => format!("(NOT {})", predicate(random, sources, depth - 1)),
        6 if ty == Type::Text => format!("({left} LIKE {})", random.pick(&["'a%'", "'%b%'", "'_'"])),
        _ => format!("({left} {} {right})", random.pick(&["=", "<>", "<", "<=", ">", ">="])),
    }
}
