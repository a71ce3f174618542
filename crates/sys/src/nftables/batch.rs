//! Changes to the firewall that take effect together or not at all.

use crate::netlink::message::{ACK, APPEND, CREATE, Message};

use super::{
    CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, CHAIN_TYPE, COMMENT, DATA_VALUE,
    DELETE_ELEMENT, DELETE_RULE, DELETE_TABLE, ELEMENT_DATA, ELEMENT_KEY, ELEMENTS_LIST,
    ELEMENTS_SET, ELEMENTS_TABLE, Family, HOOK_NUMBER, HOOK_PRIORITY, LIST_ELEMENT, NEW_CHAIN,
    NEW_ELEMENT, NEW_RULE, NEW_SET, NEW_TABLE, Netfilter, NftablesError, POLICY_ACCEPT,
    POLICY_DROP, RULE_CHAIN, RULE_EXPRESSIONS, RULE_HANDLE, RULE_TABLE, RULE_USERDATA, Rule,
    SET_DATA_LENGTH, SET_DATA_TYPE, SET_FLAGS, SET_ID, SET_KEY_LENGTH, SET_KEY_TYPE, SET_NAME,
    SET_TABLE, SUBSYSTEM, TABLE_NAME, header, kind,
};

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFT_SET_MAP`
const IS_MAP: u32 = 8;
/// An attribute's length has sixteen bits.
const ELEMENTS_AT_ONCE: usize = 512;
/// Longest comment with its zero.
const COMMENT_MAX: usize = 128;

/// Where in a packet's way a base chain sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Prerouting,
    Forward,
    Output,
    Postrouting,
}

impl Hook {
    const fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }
}

/// A chain that the kernel calls.
#[derive(Debug, Clone, Copy)]
pub struct BaseChain<'a> {
    pub name: &'a str,
    /// `nat` or `filter`.
    pub kind: &'a str,
    pub hook: Hook,
    /// Lower runs earlier: raw -300, destination nat -100, filter 0, source nat 100.
    pub priority: i32,
    /// What happens to packets that no rule decides: accepted unless true.
    pub drop: bool,
}

/// A map from fixed-size keys to fixed-size values. The types are `nft`'s numbers; the kernel only keeps them.
#[derive(Debug, Clone, Copy)]
pub struct MapSpec<'a> {
    pub name: &'a str,
    pub key_type: u32,
    pub key_length: u32,
    pub value_type: u32,
    pub value_length: u32,
}

/// Key and value of one element of a map, as long as the map's.
pub type MapElement = (Vec<u8>, Vec<u8>);

/// Which end of a chain a rule is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    First,
    Last,
}

/// Changes in the order in which they are to happen.
#[derive(Debug)]
pub struct Batch {
    messages: Vec<Message>,
    /// What each message does, for errors.
    steps: Vec<String>,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    pub fn new() -> Self {
        let mut begin = Message::new(BATCH_BEGIN, 0);
        begin.fixed(&header(0, SUBSYSTEM));
        Self {
            messages: vec![begin],
            steps: vec!["carry out the changes".to_owned()],
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.messages.len() == 1
    }

    fn step(&mut self, message: u16, flags: u16, family: Family, name: String) -> &mut Message {
        let mut new = Message::new(kind(message), flags | ACK);
        new.fixed(&header(family.number(), 0));
        self.messages.push(new);
        self.steps.push(name);
        self.messages.last_mut().expect("pushed above")
    }

    /// Makes a table; an existing one stays as it is.
    pub fn add_table(&mut self, family: Family, table: &str) {
        let step = format!("add table {} {table}", family.name());
        self.step(NEW_TABLE, CREATE, family, step)
            .put_str(TABLE_NAME, table);
    }

    /// Deletes a table with everything in it. It must exist.
    pub fn delete_table(&mut self, family: Family, table: &str) {
        let step = format!("delete table {} {table}", family.name());
        self.step(DELETE_TABLE, 0, family, step)
            .put_str(TABLE_NAME, table);
    }

    /// Makes a base chain; an existing one of the same kind stays as it is.
    pub fn add_chain(&mut self, family: Family, table: &str, chain: &BaseChain<'_>) {
        let step = format!("add chain {} {table} {}", family.name(), chain.name);
        let policy = if chain.drop {
            POLICY_DROP
        } else {
            POLICY_ACCEPT
        };
        self.step(NEW_CHAIN, CREATE, family, step)
            .put_str(CHAIN_TABLE, table)
            .put_str(CHAIN_NAME, chain.name)
            .nest(CHAIN_HOOK, |hook| {
                hook.put_be32(HOOK_NUMBER, chain.hook.number())
                    .put(HOOK_PRIORITY, &chain.priority.to_be_bytes());
            })
            .put_be32(CHAIN_POLICY, policy)
            .put_str(CHAIN_TYPE, chain.kind);
    }

    /// Makes a map; an existing one of the same types stays as it is.
    pub fn add_map(&mut self, family: Family, table: &str, map: &MapSpec<'_>) {
        let id = u32::try_from(self.messages.len()).expect("batches are short");
        let step = format!("add map {} {table} {}", family.name(), map.name);
        self.step(NEW_SET, CREATE, family, step)
            .put_str(SET_TABLE, table)
            .put_str(SET_NAME, map.name)
            .put_be32(SET_FLAGS, IS_MAP)
            .put_be32(SET_KEY_TYPE, map.key_type)
            .put_be32(SET_KEY_LENGTH, map.key_length)
            .put_be32(SET_DATA_TYPE, map.value_type)
            .put_be32(SET_DATA_LENGTH, map.value_length)
            .put_be32(SET_ID, id);
    }

    /// Adds a rule with a comment of at most 127 bytes, by which it can be found again.
    pub fn add_rule(
        &mut self,
        family: Family,
        table: &str,
        chain: &str,
        place: Place,
        rule: &Rule,
        comment: &str,
    ) {
        let flags = match place {
            Place::First => CREATE,
            Place::Last => CREATE | APPEND,
        };
        let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
        debug_assert!(usize::from(length) <= COMMENT_MAX, "comment is too long");
        let mut userdata = vec![COMMENT, length];
        userdata.extend_from_slice(comment.as_bytes());
        userdata.push(0);
        let step = format!("add rule to {} {table} {chain}", family.name());
        self.step(NEW_RULE, flags, family, step)
            .put_str(RULE_TABLE, table)
            .put_str(RULE_CHAIN, chain)
            .nest(RULE_EXPRESSIONS, |list| {
                list.fixed(rule.bytes());
            })
            .put(RULE_USERDATA, &userdata);
    }

    /// Deletes a rule by the handle that [`Netfilter::rules`] returned.
    pub fn delete_rule(&mut self, family: Family, table: &str, chain: &str, handle: u64) {
        let step = format!("delete rule {handle} of {} {table} {chain}", family.name());
        self.step(DELETE_RULE, 0, family, step)
            .put_str(RULE_TABLE, table)
            .put_str(RULE_CHAIN, chain)
            .put(RULE_HANDLE, &handle.to_be_bytes());
    }

    /// Adds elements to a map. A key that exists with another value makes the batch fail.
    pub fn add_elements(
        &mut self,
        family: Family,
        table: &str,
        map: &str,
        elements: &[MapElement],
    ) {
        for some in elements.chunks(ELEMENTS_AT_ONCE) {
            let step = format!("add elements to {} {table} {map}", family.name());
            let message = self.step(NEW_ELEMENT, CREATE, family, step);
            put_elements(message, table, map, some);
        }
    }

    /// Deletes elements of a map; all must exist. Values are not looked at.
    pub fn delete_elements(
        &mut self,
        family: Family,
        table: &str,
        map: &str,
        elements: &[MapElement],
    ) {
        for some in elements.chunks(ELEMENTS_AT_ONCE) {
            let step = format!("delete elements of {} {table} {map}", family.name());
            let message = self.step(DELETE_ELEMENT, 0, family, step);
            put_elements(message, table, map, some);
        }
    }

    /// Carries out all changes in one go. An empty batch does nothing.
    ///
    /// # Errors
    /// The first step that was refused; then none took effect.
    pub fn commit(mut self, netfilter: &Netfilter) -> Result<(), NftablesError> {
        if self.is_empty() {
            return Ok(());
        }
        let mut end = Message::new(BATCH_END, 0);
        end.fixed(&header(0, SUBSYSTEM));
        self.messages.push(end);
        netfilter
            .socket()
            .transact(&mut self.messages)
            .map_err(|refusal| {
                let step = self.steps.get(refusal.index).unwrap_or(&self.steps[0]);
                let step = step.clone();
                NftablesError::refused(refusal, step)
            })
    }
}

fn put_elements(message: &mut Message, table: &str, map: &str, elements: &[MapElement]) {
    message
        .put_str(ELEMENTS_TABLE, table)
        .put_str(ELEMENTS_SET, map)
        .nest(ELEMENTS_LIST, |list| {
            for (key, value) in elements {
                list.nest(LIST_ELEMENT, |element| {
                    element.nest(ELEMENT_KEY, |inner| {
                        inner.put(DATA_VALUE, key);
                    });
                    element.nest(ELEMENT_DATA, |inner| {
                        inner.put(DATA_VALUE, value);
                    });
                });
            }
        });
}
