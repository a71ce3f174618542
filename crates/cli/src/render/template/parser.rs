//! From tokens to nodes, with Go's checks: functions exist, variables are declared, blocks are closed.
//!
//! Nesting of blocks and parentheses is limited to [`MAX_DEPTH`], so that neither this parser nor the
//! evaluation of what it returns can exhaust the stack.

use super::TemplateError;
use super::ast::{Branch, Command, Expr, ExprKind, Node, Pipe};
use super::functions;
use super::lexer::{Kind, Token, tokens};
use super::quote::{quote, unquote};
use std::collections::BTreeMap;

/// Deepest nesting of blocks plus parentheses.
pub(super) const MAX_DEPTH: usize = 100;

/// The main template (under the empty name) and those it defines.
pub(super) fn parse(source: &str) -> Result<BTreeMap<String, Vec<Node>>, TemplateError> {
    let mut parser = Parser {
        tokens: tokens(source),
        next: 0,
        variables: vec!["$".to_owned()],
        ranges: 0,
        depth: 0,
        action_line: 0,
        definitions: BTreeMap::new(),
    };
    let main = parser.main()?;
    parser.define(String::new(), main)?;
    Ok(parser.definitions)
}

/// What ended a list of nodes.
#[derive(PartialEq)]
enum Stop {
    End,
    Else,
}

enum Item {
    Node(Node),
    Stop(Stop),
}

#[derive(Clone, Copy)]
enum Control {
    If,
    With,
    Range,
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    variables: Vec<String>,
    ranges: usize,
    depth: usize,
    /// Line of the left delimiter of the action being parsed; 0 outside.
    action_line: usize,
    definitions: BTreeMap<String, Vec<Node>>,
}

type Parsed<T> = Result<T, TemplateError>;

impl<'a> Parser<'a> {
    fn peek(&self) -> &Token<'a> {
        // The last token is Eof or Error and is never stepped over.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len());
        token
    }

    fn back(&mut self) {
        self.next = self.next.saturating_sub(1);
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    fn take_visible(&mut self) -> Token<'a> {
        self.skip_space();
        self.take()
    }

    fn peek_visible(&mut self) -> Kind {
        self.skip_space();
        self.peek().kind
    }

    fn fail<T>(&self, message: impl Into<String>) -> Parsed<T> {
        let last = self.next.saturating_sub(1).min(self.tokens.len() - 1);
        Err(TemplateError::Parse {
            line: self.tokens[last].line,
            message: message.into(),
        })
    }

    fn unexpected<T>(&self, token: &Token<'_>, context: &str) -> Parsed<T> {
        let message = if token.kind == Kind::Error {
            match self.action_line {
                line if line == 0 || line == token.line => token.text.to_string(),
                line if token.text.ends_with(" action") => {
                    format!("{} started at :{line}", token.text)
                }
                line => format!("{} in action started at :{line}", token.text),
            }
        } else {
            format!("unexpected {} in {context}", shown(token))
        };
        Err(TemplateError::Parse {
            line: token.line,
            message,
        })
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token<'a>> {
        let token = self.take_visible();
        if token.kind == kind {
            Ok(token)
        } else {
            self.unexpected(&token, context)
        }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return self.fail("max expression depth exceeded");
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn define(&mut self, name: String, nodes: Vec<Node>) -> Parsed<()> {
        let empty = |nodes: &[Node]| {
            nodes
                .iter()
                .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
        };
        match self.definitions.get(&name) {
            Some(old) if !empty(old) && !empty(&nodes) => self.fail(format!(
                "template: multiple definition of template {}",
                quote(&name)
            )),
            Some(old) if !empty(old) => Ok(()),
            _ => {
                self.definitions.insert(name, nodes);
                Ok(())
            }
        }
    }

    fn main(&mut self) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::LeftDelim {
                let start = self.next;
                let line = self.take().line;
                if self.take_visible().kind == Kind::Define {
                    self.action_line = line;
                    self.definition()?;
                    continue;
                }
                self.next = start;
            }
            match self.item()? {
                Item::Node(node) => nodes.push(node),
                Item::Stop(Stop::End) => return self.fail("unexpected {{end}}"),
                Item::Stop(Stop::Else) => return self.fail("unexpected {{else}}"),
            }
        }
        Ok(nodes)
    }

    fn definition(&mut self) -> Parsed<()> {
        let context = "define clause";
        let token = self.take_visible();
        let name = self.template_name(&token, context)?;
        self.expect(Kind::RightDelim, context)?;
        let nodes = self.apart(context)?;
        self.define(name, nodes)
    }

    /// The body of a definition: it sees no variables and no loop from outside.
    fn apart(&mut self, context: &str) -> Parsed<Vec<Node>> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, stop) = self.deeper(Self::list)?;
        self.variables = variables;
        self.ranges = ranges;
        if stop == Stop::End {
            Ok(nodes)
        } else {
            self.fail(format!("unexpected {{{{else}}}} in {context}"))
        }
    }

    /// Nodes up to `{{end}}` or `{{else`.
    fn list(&mut self) -> Parsed<(Vec<Node>, Stop)> {
        let mut nodes = Vec::new();
        while self.peek_visible() != Kind::Eof {
            match self.item()? {
                Item::Node(node) => nodes.push(node),
                Item::Stop(stop) => return Ok((nodes, stop)),
            }
        }
        self.take();
        self.fail("unexpected EOF")
    }

    fn item(&mut self) -> Parsed<Item> {
        let token = self.take_visible();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.text.into_owned()))),
            Kind::LeftDelim => {
                self.action_line = token.line;
                let item = self.action();
                self.action_line = 0;
                item
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Item> {
        let token = self.take_visible();
        let node = match token.kind {
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Item::Stop(Stop::End));
            }
            Kind::Else => {
                // `else if` and `else with` leave the second word to whoever owns the block.
                if !matches!(self.peek_visible(), Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Item::Stop(Stop::Else));
            }
            Kind::If => self.deeper(|parser| parser.control(Control::If))?,
            Kind::With => self.deeper(|parser| parser.control(Control::With))?,
            Kind::Range => self.deeper(|parser| parser.control(Control::Range))?,
            Kind::Break | Kind::Continue => {
                let word = token.text.clone();
                let closing = self.take_visible();
                if closing.kind != Kind::RightDelim {
                    return self.unexpected(&closing, &format!("{{{{{word}}}}}"));
                }
                if self.ranges == 0 {
                    return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                if token.kind == Kind::Break {
                    Node::Break
                } else {
                    Node::Continue
                }
            }
            Kind::Template => {
                let context = "template clause";
                let token = self.take_visible();
                let name = self.template_name(&token, context)?;
                let mut pipe = None;
                if self.take_visible().kind != Kind::RightDelim {
                    self.back();
                    pipe = Some(self.pipe(context, Kind::RightDelim)?);
                }
                Node::Template {
                    at: token.at,
                    name,
                    pipe,
                }
            }
            Kind::Block => {
                let context = "block clause";
                let token = self.take_visible();
                let name = self.template_name(&token, context)?;
                let pipe = Some(self.pipe(context, Kind::RightDelim)?);
                let nodes = self.apart(context)?;
                self.define(name.clone(), nodes)?;
                Node::Template {
                    at: token.at,
                    name,
                    pipe,
                }
            }
            _ => {
                self.back();
                Node::Action(self.pipe("command", Kind::RightDelim)?)
            }
        };
        Ok(Item::Node(node))
    }

    fn template_name(&mut self, token: &Token<'_>, context: &str) -> Parsed<String> {
        match token.kind {
            Kind::Str | Kind::RawStr => self.unquoted(token),
            _ => self.unexpected(token, context),
        }
    }

    fn unquoted(&self, token: &Token<'_>) -> Parsed<String> {
        unquote(&token.text).map_or_else(|| self.fail("invalid syntax"), Ok)
    }

    fn control(&mut self, control: Control) -> Parsed<Node> {
        let variables = self.variables.len();
        let context = match control {
            Control::If => "if",
            Control::With => "with",
            Control::Range => "range",
        };
        let pipe = self.pipe(context, Kind::RightDelim)?;
        let looping = usize::from(matches!(control, Control::Range));
        self.ranges += looping;
        let (body, stop) = self.list()?;
        self.ranges -= looping;
        let otherwise = match (stop, control, self.peek().kind) {
            (Stop::End, ..) => None,
            // One `{{end}}` closes the whole chain.
            (Stop::Else, Control::If, Kind::If) => Some(vec![self.chained(Control::If)?]),
            (Stop::Else, Control::With, Kind::With) => Some(vec![self.chained(Control::With)?]),
            (Stop::Else, _, Kind::If | Kind::With) => {
                let token = self.take();
                return self.unexpected(&token, "else");
            }
            (Stop::Else, ..) => {
                let (nodes, stop) = self.list()?;
                if stop == Stop::Else {
                    return self.fail("expected end; found {{else}}");
                }
                Some(nodes)
            }
        };
        self.variables.truncate(variables);
        let branch = Branch {
            pipe,
            body,
            otherwise,
        };
        Ok(match control {
            Control::If => Node::If(branch),
            Control::With => Node::With(branch),
            Control::Range => Node::Range(branch),
        })
    }

    fn chained(&mut self, control: Control) -> Parsed<Node> {
        self.take();
        self.deeper(|parser| parser.control(control))
    }

    fn pipe(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let mut pipe = Pipe {
            variables: Vec::new(),
            assign: false,
            commands: Vec::new(),
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.take_visible();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::Char
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawStr
                | Kind::Str
                | Kind::Variable
                | Kind::LeftParen => {
                    self.back();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        if pipe.commands.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (stage, command) in pipe.commands.iter().enumerate().skip(1) {
            if matches!(
                command.first.kind,
                ExprKind::Bool(_)
                    | ExprKind::Dot
                    | ExprKind::Nil
                    | ExprKind::Int { .. }
                    | ExprKind::Float { .. }
                    | ExprKind::Text { .. }
            ) {
                return self.fail(format!(
                    "non executable command in pipeline stage {}",
                    stage + 1
                ));
            }
        }
        Ok(pipe)
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        while self.peek_visible() == Kind::Variable {
            let start = self.next;
            let name = self.take().text.into_owned();
            let token = self.take_visible();
            match token.kind {
                Kind::Assign | Kind::Declare => {
                    pipe.assign = token.kind == Kind::Assign;
                    pipe.variables.push(name);
                    if pipe.assign {
                        for name in &pipe.variables {
                            if !self.variables.contains(name) {
                                return self.fail(format!("undefined variable {}", quote(name)));
                            }
                        }
                    } else {
                        self.variables.extend(pipe.variables.iter().cloned());
                    }
                    return Ok(());
                }
                Kind::Other if token.text == "," => {
                    pipe.variables.push(name);
                    if context != "range" || pipe.variables.len() > 1 {
                        return self.fail(format!("too many declarations in {context}"));
                    }
                    if self.peek_visible() != Kind::Variable {
                        return self.fail("range can only initialize variables");
                    }
                }
                _ => {
                    if !pipe.variables.is_empty() {
                        return self.fail("range can only initialize variables");
                    }
                    self.next = start;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        self.skip_space();
        let at = self.peek().at;
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            operands.extend(self.operand()?);
            let token = self.take();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.back(),
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        let mut operands = operands.into_iter();
        match operands.next() {
            Some(first) => Ok(Command {
                at,
                first,
                arguments: operands.collect(),
            }),
            None => self.fail("empty command"),
        }
    }

    /// A term with the fields behind it; `None` where the command ends.
    fn operand(&mut self) -> Parsed<Option<Expr>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let at = self.peek().at;
        let mut more = Vec::new();
        while self.peek().kind == Kind::Field {
            more.push(self.take().text[1..].to_owned());
        }
        let kind = match term.kind {
            ExprKind::Field(mut fields) => {
                fields.append(&mut more);
                ExprKind::Field(fields)
            }
            ExprKind::Variable { name, .. } => ExprKind::Variable { name, fields: more },
            ExprKind::Function(_) | ExprKind::Pipe(_) => ExprKind::Chain {
                base: Box::new(term),
                fields: more,
            },
            _ => {
                return self.fail(format!(
                    "unexpected . after term {}",
                    quote(&term.to_string())
                ));
            }
        };
        Ok(Some(Expr { at, kind }))
    }

    fn term(&mut self) -> Parsed<Option<Expr>> {
        let token = self.take_visible();
        let kind = match token.kind {
            Kind::Identifier => {
                if functions::find(&token.text).is_none() {
                    return self.fail(format!("function {} not defined", quote(&token.text)));
                }
                ExprKind::Function(token.text.into_owned())
            }
            Kind::Dot => ExprKind::Dot,
            Kind::Nil => ExprKind::Nil,
            Kind::Variable => {
                if !self.variables.iter().any(|name| *name == token.text) {
                    return self.fail(format!("undefined variable {}", quote(&token.text)));
                }
                ExprKind::Variable {
                    name: token.text.into_owned(),
                    fields: Vec::new(),
                }
            }
            Kind::Field => ExprKind::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => ExprKind::Bool(token.text == "true"),
            Kind::Char | Kind::Number => match number(&token) {
                Ok(kind) => kind,
                Err(message) => return self.fail(message),
            },
            Kind::LeftParen => {
                let pipe =
                    self.deeper(|parser| parser.pipe("parenthesized pipeline", Kind::RightParen))?;
                ExprKind::Pipe(Box::new(pipe))
            }
            Kind::Str | Kind::RawStr => {
                let value = self.unquoted(&token)?;
                ExprKind::Text {
                    value,
                    written: token.text.into_owned(),
                }
            }
            _ => {
                self.back();
                return Ok(None);
            }
        };
        Ok(Some(Expr { at: token.at, kind }))
    }
}

/// A token as it appears in messages.
fn shown(token: &Token<'_>) -> String {
    match token.kind {
        Kind::Eof => "EOF".to_owned(),
        Kind::Dot
        | Kind::Nil
        | Kind::Block
        | Kind::Break
        | Kind::Continue
        | Kind::Define
        | Kind::Else
        | Kind::End
        | Kind::If
        | Kind::Range
        | Kind::Template
        | Kind::With => format!("<{}>", token.text),
        _ if token.text.len() > 10 => {
            format!(
                "{}...",
                quote(&token.text.chars().take(10).collect::<String>())
            )
        }
        _ => quote(&token.text),
    }
}

fn number(token: &Token<'_>) -> Result<ExprKind, String> {
    let written = token.text.to_string();
    if token.kind == Kind::Char {
        let text = unquote(&written).unwrap_or_default();
        let mut chars = text.chars();
        return match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(ExprKind::Int {
                value: u32::from(c).into(),
                written,
            }),
            _ => Err(format!("malformed character constant: {written}")),
        };
    }
    let plain = written.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1
            && lower.starts_with('0')
            && lower.bytes().all(|b| b.is_ascii_digit()) =>
        {
            (8, &lower[1..])
        }
        _ => (10, lower.as_str()),
    };
    if !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)) {
        let value = i128::from_str_radix(digits, radix)
            .ok()
            .map(|value| if negative { -value } else { value });
        return match value.filter(|value| i64::try_from(*value).is_ok()) {
            Some(value) => Ok(ExprKind::Int { value, written }),
            None => Err(format!("integer overflow: {}", quote(&written))),
        };
    }
    match plain.parse::<f64>() {
        Ok(value) if radix == 10 && value.is_finite() => Ok(ExprKind::Float { value, written }),
        _ => Err(format!("illegal number syntax: {}", quote(&written))),
    }
}
