//! Renders a parsed template over data.
//!
//! Recursion is bounded: by the parser for what is nested in the text, and by [`MAX_DEPTH`] for templates
//! that call each other. So is the work, which a template that calls itself twice would double with each level:
//! by [`MAX_ROUNDS`], [`MAX_OUTPUT`], and [`MAX_TEXT`] for what it hands from one call to the next.

use super::ast::{Branch, Command, Expr, ExprKind, Node, Pipe, template_call};
use super::functions::{self, Function, Param};
use super::printf;
use super::quote::quote;
use super::value::Value;
use super::{Template, TemplateError};
use std::borrow::Cow;
use std::fmt::Display;

/// Deepest nesting of blocks and template calls while rendering.
const MAX_DEPTH: usize = 400;
/// Most rounds of loops and calls of templates, all together.
const MAX_ROUNDS: usize = bounded(1_000_000);
/// Longest output, in bytes, with which another round begins.
const MAX_OUTPUT: usize = bounded(64 << 20);
/// Bytes of all texts that functions make: quoting what was quoted before doubles it.
const MAX_TEXT: usize = bounded(64 << 20);

/// A fuzzer reaches the limits often, and should get on.
const fn bounded(limit: usize) -> usize {
    if cfg!(feature = "fuzzing") {
        limit / 1000
    } else {
        limit
    }
}

pub(super) fn render(
    template: &Template,
    data: &serde_json::Value,
) -> Result<String, TemplateError> {
    let dot = match data {
        serde_json::Value::Null => Value::Missing,
        data => Value::element(data),
    };
    let mut machine = Machine {
        template,
        out: String::new(),
        name: "",
        variables: vec![("$", dot.clone())],
        depth: 0,
        rounds: 0,
        made: 0,
    };
    let nodes = template.definitions.get("").map_or(&[][..], Vec::as_slice);
    machine.walk(&dot, nodes)?;
    Ok(machine.out)
}

/// How a list of nodes ended.
enum Flow {
    Next,
    Break,
    Continue,
}

type Evaluated<T> = Result<T, TemplateError>;

struct Machine<'t, 'd> {
    template: &'t Template,
    out: String,
    /// The template being rendered.
    name: &'t str,
    /// A stack: inner declarations hide outer ones of the same name.
    variables: Vec<(&'t str, Value<'d>)>,
    depth: usize,
    rounds: usize,
    /// Bytes that functions have made.
    made: usize,
}

impl<'t, 'd> Machine<'t, 'd> {
    fn fail<T>(&self, at: usize, node: &dyn Display, message: impl Into<String>) -> Evaluated<T> {
        let before = &self.template.source[..at];
        Err(TemplateError::Execute {
            line: 1 + before.matches('\n').count(),
            column: at - before.rfind('\n').map_or(0, |newline| newline + 1),
            name: self.name.to_owned(),
            context: node.to_string(),
            message: message.into(),
        })
    }

    /// Counts a round of a loop or a call of a template.
    fn spend(&mut self, at: usize, node: &dyn Display) -> Evaluated<()> {
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS || self.out.len() > MAX_OUTPUT {
            let message = format!(
                "exceeded maximum of {MAX_ROUNDS} rounds or of {MAX_OUTPUT} bytes of output"
            );
            return self.fail(at, node, message);
        }
        Ok(())
    }

    /// Renders `nodes`; variables they declare end with them.
    fn walk(&mut self, dot: &Value<'d>, nodes: &'t [Node]) -> Evaluated<Flow> {
        self.depth += 1;
        let variables = self.variables.len();
        let mut flow = Flow::Next;
        for node in nodes {
            flow = self.node(dot, node)?;
            if !matches!(flow, Flow::Next) {
                break;
            }
        }
        self.variables.truncate(variables);
        self.depth -= 1;
        Ok(flow)
    }

    fn node(&mut self, dot: &Value<'d>, node: &'t Node) -> Evaluated<Flow> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipe) => {
                let value = self.pipe(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.out.push_str(&printf::display(&value));
                }
            }
            Node::If(branch) => return self.branch(dot, branch, false),
            Node::With(branch) => return self.branch(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template { at, name, pipe } => {
                self.call_template(dot, *at, name, pipe.as_ref())?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn branch(&mut self, dot: &Value<'d>, branch: &'t Branch, moves_dot: bool) -> Evaluated<Flow> {
        let variables = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let flow = if value.is_true() {
            self.walk(if moves_dot { &value } else { dot }, &branch.body)
        } else {
            branch
                .otherwise
                .as_ref()
                .map_or(Ok(Flow::Next), |nodes| self.walk(dot, nodes))
        };
        self.variables.truncate(variables);
        flow
    }

    fn range(&mut self, dot: &Value<'d>, branch: &'t Branch) -> Evaluated<Flow> {
        let variables = self.variables.len();
        let pipe = &branch.pipe;
        let value = self.commands(dot, pipe)?;
        // With `:=` the loop has variables of its own, from here to its end; with `=` it sets those outside.
        if !pipe.assign {
            self.variables.extend(
                pipe.variables
                    .iter()
                    .map(|name| (name.as_str(), Value::Missing)),
            );
        }
        let last = pipe
            .commands
            .last()
            .map_or(&pipe.commands[0].first, |command| &command.first);
        let counter = |at: usize| Value::Int(i128::try_from(at).expect("a count fits in 127 bits"));
        let mut any = false;
        let mut round = |machine: &mut Self, key: Value<'d>, element: Value<'d>| {
            any = true;
            machine.spend(last.at, last)?;
            match pipe.variables.as_slice() {
                [] => {}
                [single] => machine.set(single, element.clone()),
                [first, second, ..] => {
                    machine.set(first, key);
                    machine.set(second, element.clone());
                }
            }
            Ok(matches!(machine.walk(&element, &branch.body)?, Flow::Break))
        };
        if let Some(elements) = value.elements() {
            for (at, element) in elements.into_iter().enumerate() {
                if round(self, counter(at), element)? {
                    break;
                }
            }
        } else if let Some(entries) = value.entries() {
            for (key, element) in entries {
                if round(self, Value::Text(Cow::Borrowed(key)), element)? {
                    break;
                }
            }
        } else if let Value::Int(count) = value {
            if pipe.variables.len() > 1 {
                let message = format!("can't use {count} to iterate over more than one variable");
                return self.fail(last.at, last, message);
            }
            for number in 0..count {
                if round(self, Value::Int(number), Value::Int(number))? {
                    break;
                }
            }
        } else if !matches!(value, Value::Missing | Value::Nil) {
            return self.fail(
                last.at,
                last,
                format!("range can't iterate over {}", printf::display(&value)),
            );
        }
        if !any && let Some(nodes) = &branch.otherwise {
            self.variables.truncate(variables);
            return self.walk(dot, nodes);
        }
        self.variables.truncate(variables);
        Ok(Flow::Next)
    }

    fn call_template(
        &mut self,
        dot: &Value<'d>,
        at: usize,
        name: &'t str,
        pipe: Option<&'t Pipe>,
    ) -> Evaluated<()> {
        let Some(nodes) = self.template.definitions.get(name) else {
            let message = format!("template {} not defined", quote(name));
            return self.fail(at, &template_call(name, pipe), message);
        };
        if self.depth >= MAX_DEPTH {
            let message = format!("exceeded maximum template depth ({MAX_DEPTH})");
            return self.fail(at, &template_call(name, pipe), message);
        }
        self.spend(at, &template_call(name, pipe))?;
        let value = pipe.map_or(Ok(Value::Missing), |pipe| self.pipe(dot, pipe))?;
        let caller = std::mem::replace(&mut self.name, name);
        let variables = std::mem::replace(&mut self.variables, vec![("$", value.clone())]);
        self.walk(&value, nodes)?;
        self.variables = variables;
        self.name = caller;
        Ok(())
    }

    fn set(&mut self, name: &str, value: Value<'d>) {
        // The parser has refused names that are not declared.
        if let Some((_, slot)) = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| *known == name)
        {
            *slot = value;
        }
    }

    /// Evaluates a pipe and declares or sets its variables.
    fn pipe(&mut self, dot: &Value<'d>, pipe: &'t Pipe) -> Evaluated<Value<'d>> {
        let value = self.commands(dot, pipe)?;
        for name in &pipe.variables {
            if pipe.assign {
                self.set(name, value.clone());
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn commands(&mut self, dot: &Value<'d>, pipe: &'t Pipe) -> Evaluated<Value<'d>> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?);
        }
        Ok(value.unwrap_or(Value::Missing))
    }

    /// One stage; `last` is the value of the stage before it and becomes the last argument.
    fn command(
        &mut self,
        dot: &Value<'d>,
        command: &'t Command,
        last: Option<Value<'d>>,
    ) -> Evaluated<Value<'d>> {
        let first = &command.first;
        if let ExprKind::Function(name) = &first.kind {
            return self.function(dot, name, command.at, command, &command.arguments, last);
        }
        if let (ExprKind::Field(fields), [argument], None) =
            (&first.kind, &command.arguments[..], &last)
            && let [method] = fields.as_slice()
            && method == "Label"
        {
            return self.label(dot, argument);
        }
        if !command.arguments.is_empty() || last.is_some() {
            let message = match &first.kind {
                ExprKind::Field(fields)
                | ExprKind::Chain { fields, .. }
                | ExprKind::Variable { fields, .. }
                    if !fields.is_empty() =>
                {
                    format!(
                        "{} is not a method but has arguments",
                        fields[fields.len() - 1]
                    )
                }
                _ => format!("can't give argument to non-function {first}"),
            };
            return self.fail(first.at, first, message);
        }
        match &first.kind {
            ExprKind::Nil => self.fail(first.at, first, "nil is not a command"),
            _ => self.operand(dot, first),
        }
    }

    /// `.Label "key"`: the one method of docker's list rows, on what they show as `k=v,k2=v2`.
    fn label(&mut self, dot: &Value<'d>, argument: &'t Expr) -> Evaluated<Value<'d>> {
        let Value::Text(key) = self.operand(dot, argument)? else {
            return self.fail(argument.at, argument, "expected string");
        };
        let labels = match dot {
            Value::Map(row) => row
                .get("Labels")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default(),
            _ => "",
        };
        let value = labels
            .split(',')
            .filter_map(|label| label.split_once('='))
            .find(|(known, _)| *known == key)
            .map_or("", |(_, value)| value);
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn operand(&mut self, dot: &Value<'d>, expr: &'t Expr) -> Evaluated<Value<'d>> {
        Ok(match &expr.kind {
            ExprKind::Dot => dot.clone(),
            ExprKind::Nil => Value::Missing,
            ExprKind::Bool(value) => Value::Bool(*value),
            ExprKind::Int { value, .. } => Value::Int(*value),
            ExprKind::Float { value, .. } => Value::Float(*value),
            ExprKind::Text { value, .. } => Value::Text(Cow::Owned(value.clone())),
            ExprKind::Field(fields) => self.fields(dot.clone(), fields, expr)?,
            ExprKind::Variable { name, fields } => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let Some((_, value)) = found else {
                    return self.fail(expr.at, expr, format!("undefined variable: {name}"));
                };
                self.fields(value.clone(), fields, expr)?
            }
            ExprKind::Chain { base, fields } => {
                let value = self.operand(dot, base)?;
                self.fields(value, fields, expr)?
            }
            ExprKind::Function(name) => self.function(dot, name, expr.at, expr, &[], None)?,
            ExprKind::Pipe(pipe) => self.pipe(dot, pipe)?,
        })
    }

    fn fields(&self, start: Value<'d>, fields: &[String], expr: &Expr) -> Evaluated<Value<'d>> {
        let mut value = start;
        for (depth, field) in fields.iter().enumerate() {
            // Go no longer knows the type of what a field of a map holds.
            let type_name = if depth == 0 {
                value.type_name()
            } else {
                "interface {}"
            };
            value = self.field(&value, type_name, field, expr)?;
        }
        Ok(value)
    }

    fn field(
        &self,
        value: &Value<'d>,
        type_name: &str,
        field: &str,
        expr: &Expr,
    ) -> Evaluated<Value<'d>> {
        let found = match value {
            Value::Missing if self.template.missing_key_error => {
                return self.fail(
                    expr.at,
                    expr,
                    format!("nil data; no entry for key {}", quote(field)),
                );
            }
            Value::Missing | Value::NilMap => None,
            Value::Map(map) => map.get(field),
            Value::Nil => {
                return self.fail(
                    expr.at,
                    expr,
                    format!("nil pointer evaluating interface {{}}.{field}"),
                );
            }
            _ => {
                return self.fail(
                    expr.at,
                    expr,
                    format!("can't evaluate field {field} in type {type_name}"),
                );
            }
        };
        match found {
            Some(json) => Ok(Value::field(field, json)),
            None if self.template.missing_key_error => self.fail(
                expr.at,
                expr,
                format!("map has no entry for key {}", quote(field)),
            ),
            None => Ok(Value::Missing),
        }
    }

    /// Calls `name`; errors of the call itself are reported at `at` as `node`.
    fn function(
        &mut self,
        dot: &Value<'d>,
        name: &str,
        at: usize,
        node: &dyn Display,
        arguments: &'t [Expr],
        last: Option<Value<'d>>,
    ) -> Evaluated<Value<'d>> {
        let Some(function) = functions::find(name) else {
            return self.fail(
                at,
                node,
                format!("{} is not a defined function", quote(name)),
            );
        };
        let given = arguments.len() + usize::from(last.is_some());
        let wanted = function.fixed.len();
        if function.rest.is_some() && given < wanted {
            let message = format!(
                "wrong number of args for {name}: want at least {wanted} got {}",
                arguments.len()
            );
            return self.fail(at, &name, message);
        }
        if function.rest.is_none() && given != wanted {
            return self.fail(
                at,
                &name,
                format!("wrong number of args for {name}: want {wanted} got {given}"),
            );
        }
        let stops_at = match name {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        };
        let mut values = Vec::with_capacity(given);
        for (position, argument) in arguments.iter().enumerate() {
            let value = self.argument(dot, argument, param(function, position))?;
            if stops_at == Some(value.is_true()) {
                return Ok(value);
            }
            values.push(value);
        }
        if let Some(value) = last {
            if let Err(message) = fits(&value, param(function, arguments.len())) {
                return self.fail(at, node, message);
            }
            values.push(value);
        }
        match (function.call)(&values) {
            Ok(value) => {
                if let Value::Text(Cow::Owned(text)) = &value {
                    self.made += text.len();
                }
                if self.made > MAX_TEXT {
                    let message = format!("exceeded maximum of {MAX_TEXT} bytes of text");
                    return self.fail(at, node, message);
                }
                Ok(value)
            }
            Err(message) => self.fail(at, node, format!("error calling {name}: {message}")),
        }
    }

    fn argument(&mut self, dot: &Value<'d>, expr: &'t Expr, param: Param) -> Evaluated<Value<'d>> {
        let value = self.operand(dot, expr)?;
        let Err(message) = fits(&value, param) else {
            return Ok(value);
        };
        let message = match &expr.kind {
            ExprKind::Nil => format!("cannot assign nil to {}", go_name(param)),
            ExprKind::Bool(_)
            | ExprKind::Int { .. }
            | ExprKind::Float { .. }
            | ExprKind::Text { .. } => match param {
                Param::Int => format!("expected integer; found {expr}"),
                Param::Texts => format!("can't handle {expr} for arg of type []string"),
                Param::Any | Param::Text => format!("expected string; found {expr}"),
            },
            _ => message,
        };
        self.fail(expr.at, expr, message)
    }
}

fn param(function: &Function, position: usize) -> Param {
    function
        .fixed
        .get(position)
        .copied()
        .or(function.rest)
        .unwrap_or(Param::Any)
}

fn go_name(param: Param) -> &'static str {
    match param {
        Param::Any => "interface {}",
        Param::Text => "string",
        Param::Int => "int",
        Param::Texts => "[]string",
    }
}

/// Whether `value` can be passed as `param`; the message says why not.
fn fits(value: &Value<'_>, param: Param) -> Result<(), String> {
    let fits = match (param, value) {
        (Param::Any, _)
        | (Param::Text, Value::Text(_))
        | (Param::Int, Value::Int(_))
        | (Param::Texts, Value::Texts(_) | Value::NilList) => true,
        (Param::Texts, Value::List(list)) => list.iter().all(serde_json::Value::is_string),
        (_, Value::Missing) => return Err(format!("invalid value; expected {}", go_name(param))),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(format!(
        "wrong type for value; expected {}; got {}",
        go_name(param),
        value.type_name()
    ))
}
