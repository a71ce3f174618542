//! Firewall rules over NETLINK_NETFILTER, in the network namespace of the calling thread. No `nft` is spawned.
//!
//! A [`Netfilter`] is one socket, to be kept: closing such a socket waits until the kernel has freed what was deleted
//! shortly before, 10 to 30 ms. Changes are collected in a [`Batch`], which the kernel carries out as a whole or not at all. Rules are written with
//! [`Rule`], one method for each condition, in the same shape as `nft` and `iptables-nft` write theirs, so that both can
//! print what they find. Reading asks the kernel each time.

mod batch;
mod flow;
mod list;
mod rule;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::netlink::socket::{NetlinkSocket, Refusal};

pub use batch::{BaseChain, Batch, Hook, MapElement, MapSpec, Place};
pub use list::{ChainInfo, RuleInfo};
pub use rule::{Natted, PortMapKey, Rule};

/// The firewall of the network namespace that the calling thread was in when this was opened.
#[derive(Debug)]
pub struct Netfilter {
    socket: Mutex<NetlinkSocket>,
}

impl Netfilter {
    /// # Errors
    /// [`NftablesError::Unavailable`]
    pub fn open() -> Result<Self, NftablesError> {
        let socket = NetlinkSocket::netfilter().map_err(NftablesError::Unavailable)?;
        Ok(Self {
            socket: Mutex::new(socket),
        })
    }

    /// Answers to an exchange that was given up are passed over by their sequence number.
    fn socket(&self) -> MutexGuard<'_, NetlinkSocket> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Protocol family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Ip,
    Ip6,
}

impl Family {
    /// `NFPROTO_*`
    const fn number(self) -> u8 {
        match self {
            Self::Ip => 2,
            Self::Ip6 => 10,
        }
    }

    /// As `nft` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }
}

/// Why the kernel's firewall could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum NftablesError {
    /// The kernel refused a step; nothing of its batch took effect.
    #[error("firewall refused to {step}{}", explained(.explanation.as_deref()))]
    Refused {
        step: String,
        /// The kernel's own words, when it has some.
        explanation: Option<String>,
        #[source]
        source: io::Error,
    },
    /// The kernel has no nftables, or this process may not use it.
    #[error("firewall is not available")]
    Unavailable(#[source] io::Error),
}

fn explained(explanation: Option<&str>) -> String {
    explanation.map_or_else(String::new, |text| format!(" ({text})"))
}

impl NftablesError {
    fn refused(refusal: Refusal, step: impl Into<String>) -> Self {
        Self::Refused {
            step: step.into(),
            explanation: refusal.explanation,
            source: refusal.error,
        }
    }

    fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } | Self::Unavailable(source) => source.raw_os_error(),
        }
    }

    /// What the step was about does not exist.
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(Errno::NOENT.raw_os_error())
    }

    /// What the step would add exists already, with another content.
    pub fn is_conflict(&self) -> bool {
        [Errno::EXIST, Errno::BUSY]
            .iter()
            .any(|errno| self.errno() == Some(errno.raw_os_error()))
    }
}

const SUBSYSTEM: u16 = 10;

/// Numbers of messages and attributes, from `linux/netfilter/nf_tables.h`.
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const GET_ELEMENT: u16 = 13;
const DELETE_ELEMENT: u16 = 14;

const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_ID: u16 = 10;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS_LIST: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
/// Type of a comment in a rule's user data.
const COMMENT: u8 = 0;
const POLICY_DROP: u32 = 0;
const POLICY_ACCEPT: u32 = 1;

/// `struct nfgenmsg`.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

const fn kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}
