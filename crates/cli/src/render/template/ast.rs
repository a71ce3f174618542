//! The parsed template, and how its nodes are written back in error messages.

use super::quote::quote;
use std::fmt;

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template {
        at: usize,
        name: String,
        pipe: Option<Pipe>,
    },
    Break,
    Continue,
}

#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Option<Vec<Node>>,
}

/// `$x := a | b | c`.
#[derive(Debug, Clone)]
pub(super) struct Pipe {
    pub(super) variables: Vec<String>,
    /// `=` instead of `:=`.
    pub(super) assign: bool,
    /// Never empty.
    pub(super) commands: Vec<Command>,
}

/// One stage of a pipe: operand and arguments.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) first: Expr,
    pub(super) arguments: Vec<Expr>,
}

#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub(super) at: usize,
    pub(super) kind: ExprKind,
}

#[derive(Debug, Clone)]
pub(super) enum ExprKind {
    Dot,
    Nil,
    Bool(bool),
    Int {
        value: i128,
        written: String,
    },
    Float {
        value: f64,
        written: String,
    },
    Text {
        value: String,
        written: String,
    },
    /// `.A.B`, relative to dot.
    Field(Vec<String>),
    /// `$x.A.B`; the name has its `$`.
    Variable {
        name: String,
        fields: Vec<String>,
    },
    /// `(pipe).A.B`, `function.A`.
    Chain {
        base: Box<Expr>,
        fields: Vec<String>,
    },
    Function(String),
    Pipe(Box<Pipe>),
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assign { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (at, command) in self.commands.iter().enumerate() {
            if at > 0 {
                f.write_str(" | ")?;
            }
            command.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {argument}"))
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dotted = |f: &mut fmt::Formatter<'_>, fields: &[String]| {
            fields.iter().try_for_each(|field| write!(f, ".{field}"))
        };
        match &self.kind {
            ExprKind::Dot => f.write_str("."),
            ExprKind::Nil => f.write_str("nil"),
            ExprKind::Bool(value) => value.fmt(f),
            ExprKind::Int { written, .. }
            | ExprKind::Float { written, .. }
            | ExprKind::Text { written, .. } => f.write_str(written),
            ExprKind::Field(fields) => dotted(f, fields),
            ExprKind::Variable { name, fields } => {
                f.write_str(name)?;
                dotted(f, fields)
            }
            ExprKind::Chain { base, fields } => {
                base.fmt(f)?;
                dotted(f, fields)
            }
            ExprKind::Function(name) => f.write_str(name),
            ExprKind::Pipe(pipe) => write!(f, "({pipe})"),
        }
    }
}

/// `{{template "name" pipe}}`, for messages.
pub(super) fn template_call(name: &str, pipe: Option<&Pipe>) -> String {
    match pipe {
        Some(pipe) => format!("{{{{template {} {pipe}}}}}", quote(name)),
        None => format!("{{{{template {}}}}}", quote(name)),
    }
}
