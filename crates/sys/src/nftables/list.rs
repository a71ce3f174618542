//! What the kernel's firewall holds at this moment.

use crate::netlink::message::{DUMP, Message, as_be32, as_be64, as_string, attribute, attributes};
use crate::netlink::socket::Answer;

use super::{
    CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, COMMENT, DATA_VALUE, ELEMENT_DATA,
    ELEMENT_KEY, ELEMENTS_LIST, ELEMENTS_SET, ELEMENTS_TABLE, Family, GET_CHAIN, GET_ELEMENT,
    GET_RULE, GET_TABLE, LIST_ELEMENT, MapElement, Netfilter, NftablesError, POLICY_DROP,
    RULE_CHAIN, RULE_HANDLE, RULE_TABLE, RULE_USERDATA, TABLE_NAME, header, kind,
};

const HEADER: usize = 4;

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainInfo {
    /// The kernel calls it (it is a base chain).
    pub hooked: bool,
    /// Packets that no rule decides are dropped.
    pub drops: bool,
}

/// A rule, as far as it can be recognised again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    pub chain: String,
    pub handle: u64,
    pub comment: Option<String>,
}

fn request(message: u16, flags: u16, family: Family) -> Message {
    let mut request = Message::new(kind(message), flags);
    request.fixed(&header(family.number(), 0));
    request
}

impl Netfilter {
    /// Everything a dump yields; empty when what it asks about does not exist.
    fn dump(&self, request: Message, step: String) -> Result<Vec<Answer>, NftablesError> {
        match self.socket().dump(request) {
            Ok(answers) => Ok(answers),
            Err(refusal) => {
                let error = NftablesError::refused(refusal, step);
                if error.is_not_found() {
                    Ok(Vec::new())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// The answer to one question; `None` when what it asks about does not exist.
    fn ask(&self, request: Message, step: String) -> Result<Option<Answer>, NftablesError> {
        match self.socket().ask(request) {
            Ok(answer) => Ok(Some(answer)),
            Err(refusal) => {
                let error = NftablesError::refused(refusal, step);
                if error.is_not_found() {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Names of the tables of a family.
    pub fn tables(&self, family: Family) -> Result<Vec<String>, NftablesError> {
        let answers = self.dump(
            request(GET_TABLE, DUMP, family),
            format!("list {} tables", family.name()),
        )?;
        let names = answers
            .iter()
            .filter_map(|answer| attribute(answer.body.get(HEADER..)?, TABLE_NAME).map(as_string));
        Ok(names.collect())
    }

    /// One chain; `None` when it or its table does not exist.
    pub fn chain(
        &self,
        family: Family,
        table: &str,
        name: &str,
    ) -> Result<Option<ChainInfo>, NftablesError> {
        let mut message = request(GET_CHAIN, 0, family);
        message
            .put_str(CHAIN_TABLE, table)
            .put_str(CHAIN_NAME, name);
        let answer = self.ask(
            message,
            format!("look up chain {} {table} {name}", family.name()),
        )?;
        Ok(answer.map(|answer| {
            let body = answer.body.get(HEADER..).unwrap_or_default();
            ChainInfo {
                hooked: attribute(body, CHAIN_HOOK).is_some(),
                drops: attribute(body, CHAIN_POLICY).and_then(as_be32) == Some(POLICY_DROP),
            }
        }))
    }

    /// The rules of a table, or of one of its chains, in order. Empty when there is no such table.
    pub fn rules(
        &self,
        family: Family,
        table: &str,
        chain: Option<&str>,
    ) -> Result<Vec<RuleInfo>, NftablesError> {
        let mut message = request(GET_RULE, DUMP, family);
        message.put_str(RULE_TABLE, table);
        if let Some(chain) = chain {
            message.put_str(RULE_CHAIN, chain);
        }
        let answers = self.dump(message, format!("list rules of {} {table}", family.name()))?;
        let rules = answers.iter().filter_map(|answer| {
            let body = answer.body.get(HEADER..)?;
            // Old kernels pass over the filter.
            let in_table = attribute(body, RULE_TABLE).map(as_string)?;
            let in_chain = attribute(body, RULE_CHAIN).map(as_string)?;
            if in_table != table || chain.is_some_and(|chain| chain != in_chain) {
                return None;
            }
            Some(RuleInfo {
                chain: in_chain,
                handle: attribute(body, RULE_HANDLE).and_then(as_be64)?,
                comment: attribute(body, RULE_USERDATA).and_then(comment),
            })
        });
        Ok(rules.collect())
    }

    /// Keys and values of a map. Empty when there is no such map.
    pub fn elements(
        &self,
        family: Family,
        table: &str,
        map: &str,
    ) -> Result<Vec<MapElement>, NftablesError> {
        let mut message = request(GET_ELEMENT, DUMP, family);
        message
            .put_str(ELEMENTS_TABLE, table)
            .put_str(ELEMENTS_SET, map);
        let step = format!("list elements of {} {table} {map}", family.name());
        let mut found = Vec::new();
        for answer in self.dump(message, step)? {
            let body = answer.body.get(HEADER..).unwrap_or_default();
            let list = attribute(body, ELEMENTS_LIST).unwrap_or_default();
            for (_, element) in attributes(list).filter(|(kind, _)| *kind == LIST_ELEMENT) {
                let value = |kind| Some(attribute(attribute(element, kind)?, DATA_VALUE)?.to_vec());
                if let (Some(key), Some(value)) = (value(ELEMENT_KEY), value(ELEMENT_DATA)) {
                    found.push((key, value));
                }
            }
        }
        Ok(found)
    }
}

/// The comment in a rule's user data: a list of type, length and that many bytes.
fn comment(mut userdata: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = userdata {
        let (value, after) = rest.split_at_checked(usize::from(*length))?;
        if *kind == COMMENT {
            return Some(as_string(value));
        }
        userdata = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_in_user_data() {
        assert_eq!(comment(&[0, 3, b'a', b'b', 0]).as_deref(), Some("ab"));
        assert_eq!(
            comment(&[7, 1, 9, 0, 2, b'x', 0]).as_deref(),
            Some("x"),
            "after another entry"
        );
        assert_eq!(comment(&[0, 9, b'a']), None, "cut short");
        assert_eq!(comment(&[]), None);
    }
}
