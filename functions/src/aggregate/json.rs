//! `json_agg`, `json_object_agg` and their jsonb forms: everything, in input order.

use basalt_types::json::{Json, JsonObject, push_json_string};
use basalt_types::{Datum, Result, SqlType};

use crate::aggregate::unexpected;
use crate::builder::Builder;
use crate::scalar::json::{Form, json_value, object_key, push_json, unnamed_key};
use crate::{Accumulator, AggregateFn, Call, EvalContext};

/// What outlives the call that made the accumulator.
struct Site {
    context: EvalContext,
    arg_types: Vec<SqlType>,
    return_type: SqlType,
}

impl Site {
    fn of(call: &Call<'_>) -> Self {
        let context = EvalContext {
            transaction_micros: call.context.transaction_micros,
            statement_micros: call.context.statement_micros,
            io: call.context.io.clone(),
            session: call.context.session.clone(),
            params: call.context.params.clone(),
        };
        Self { context, arg_types: call.arg_types.to_vec(), return_type: call.return_type }
    }

    fn call(&self) -> Call<'_> {
        Call { context: &self.context, arg_types: &self.arg_types, return_type: self.return_type }
    }

    fn arg_type(&self, index: usize) -> SqlType {
        self.arg_types.get(index).copied().unwrap_or(SqlType::TEXT)
    }
}

/// json text between its brackets; `None` without a row.
struct Text {
    site: Site,
    object: bool,
    body: Option<String>,
}

impl Text {
    fn next(&mut self) -> &mut String {
        let structured = !self.object && Form::of(self.site.arg_type(0)).is_structured();
        match &mut self.body {
            Some(body) => {
                body.push_str(if structured { ", \n " } else { ", " });
                body
            }
            empty => empty.insert(String::new()),
        }
    }
}

impl Accumulator for Text {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let mut item = String::new();
        match (self.object, args) {
            (false, [value]) => push_json(&self.site.context, value, self.site.arg_type(0), &mut item)?,
            (true, [Datum::Null, _]) => return Err(unnamed_key()),
            (true, [key, value]) => {
                let key = object_key(&self.site.call(), key, self.site.arg_type(0))?;
                push_json_string(&key, &mut item);
                item.push_str(" : ");
                push_json(&self.site.context, value, self.site.arg_type(1), &mut item)?;
            }
            _ => return Err(unexpected(args)),
        }
        self.next().push_str(&item);
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.body.as_deref().map_or(Datum::Null, Datum::text)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        match state {
            [Datum::Null] => {}
            [Datum::Text(body)] => self.next().push_str(body),
            _ => return Err(unexpected(state)),
        }
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        Ok(match &self.body {
            None => Datum::Null,
            Some(body) if self.object => Datum::text(format!("{{ {body} }}")),
            Some(body) => Datum::text(format!("[{body}]")),
        })
    }

    fn bytes(&self) -> usize {
        self.body.as_ref().map_or(0, String::capacity)
    }
}

/// Elements, or pairs as an array of two.
struct Values {
    site: Site,
    object: bool,
    items: Vec<Json>,
    heap: usize,
}

impl Accumulator for Values {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let item = match (self.object, args) {
            (false, [value]) => json_value(&self.site.context, value, self.site.arg_type(0))?,
            (true, [Datum::Null, _]) => return Err(unnamed_key()),
            (true, [key, value]) => {
                let key = object_key(&self.site.call(), key, self.site.arg_type(0))?;
                let value = json_value(&self.site.context, value, self.site.arg_type(1))?;
                Json::Array(vec![Json::String(key.into()), value])
            }
            _ => return Err(unexpected(args)),
        };
        self.heap += item.heap_bytes();
        self.items.push(item);
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![Datum::jsonb(Json::Array(self.items.clone()))]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        let [Datum::Jsonb(items)] = state else { return Err(unexpected(state)) };
        let Json::Array(items) = &**items else { return Err(unexpected(state)) };
        self.heap += items.iter().map(Json::heap_bytes).sum::<usize>();
        self.items.extend(items.iter().cloned());
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        if self.items.is_empty() {
            return Ok(Datum::Null);
        }
        if !self.object {
            return Ok(Datum::jsonb(Json::Array(self.items.clone())));
        }
        let pairs = self.items.iter().filter_map(|item| match item {
            Json::Array(pair) => match &pair[..] {
                [Json::String(key), value] => Some((key.clone(), value.clone())),
                _ => None,
            },
            _ => None,
        });
        Ok(Datum::jsonb(Json::Object(JsonObject::from_pairs(pairs.collect()))))
    }

    fn bytes(&self) -> usize {
        self.heap + self.items.capacity() * std::mem::size_of::<Json>()
    }
}

pub fn register(builder: &mut Builder) {
    let mut add = |declared: &str, new, state_types| {
        builder.aggregate(declared, AggregateFn { new, state_types, strict: false });
    };
    add(
        "json_agg",
        |call| Box::new(Text { site: Site::of(call), object: false, body: None }),
        |_| vec![SqlType::TEXT],
    );
    add(
        "json_object_agg",
        |call| Box::new(Text { site: Site::of(call), object: true, body: None }),
        |_| vec![SqlType::TEXT],
    );
    add(
        "jsonb_agg",
        |call| Box::new(Values { site: Site::of(call), object: false, items: Vec::new(), heap: 0 }),
        |_| vec![SqlType::JSONB],
    );
    add(
        "jsonb_object_agg",
        |call| Box::new(Values { site: Site::of(call), object: true, items: Vec::new(), heap: 0 }),
        |_| vec![SqlType::JSONB],
    );
}
