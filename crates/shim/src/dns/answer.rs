//! From a question to an answer, or to the decision that somebody else has it.
//!
//! Whatever bytes come in, the result is a decision: what cannot be read is told so, what is no question is not answered.
//! Names of containers have addresses for a few seconds only, for containers come and go.

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use shim_protocol::spec::Resolver;

use super::names::Names;

/// Seconds.
const TTL: u32 = 5;
/// What a client that says nothing takes in one datagram.
const PLAIN: usize = 512;
/// What is sent in one datagram at most.
const LARGEST: u16 = 4096;
const HEADER: usize = 12;

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Reply(Vec<u8>),
    /// Not ours to know: a name server elsewhere is asked with the same bytes.
    Forward,
    /// No question.
    Ignore,
}

/// `datagram`: the answer must fit in what the client takes at once; else it is cut and says so.
pub(crate) fn decide(
    packet: &[u8],
    datagram: bool,
    config: &Resolver,
    names: &mut Names,
) -> Decision {
    let Some(&flags) = packet.get(2).filter(|_| packet.len() >= HEADER) else {
        return Decision::Ignore;
    };
    // An answer to nothing that was asked.
    if flags & 0x80 != 0 {
        return Decision::Ignore;
    }
    let Ok(question) = Message::from_vec(packet) else {
        return code(packet, ResponseCode::FormErr);
    };
    if question.metadata.op_code != OpCode::Query {
        return code(packet, ResponseCode::NotImp);
    }
    let [query] = question.queries.as_slice() else {
        return code(packet, ResponseCode::FormErr);
    };
    let name = query.name().to_ascii().to_lowercase();
    let name = name.trim_end_matches('.');
    let local = (query.query_class() == DNSClass::IN)
        .then(|| local(name, query.name(), query.query_type(), config, names))
        .flatten();
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    reply.metadata = Metadata::response_from_request(&question.metadata);
    reply.metadata.recursion_available = true;
    reply.add_query(query.clone());
    let mut room = PLAIN;
    if question.edns.is_some() {
        let payload = question.max_payload().clamp(512, LARGEST);
        room = usize::from(payload);
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST);
        reply.set_edns(edns);
    }
    match local {
        Some(records) => {
            reply.add_answers(records);
        }
        None if !config.forward || config.upstream.is_empty() => {
            reply.metadata.response_code = ResponseCode::ServFail;
        }
        // The client asks again with its search domains.
        None if !config.forward_single
            && !name.contains('.')
            && matches!(query.query_type(), RecordType::A | RecordType::AAAA) =>
        {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        None => return Decision::Forward,
    }
    encode(&mut reply, datagram.then_some(room))
        .map_or_else(|| code(packet, ResponseCode::ServFail), Decision::Reply)
}

/// The records of a name that is known here; none of them when it has none of this type.
fn local(
    name: &str,
    owner: &Name,
    kind: RecordType,
    config: &Resolver,
    names: &mut Names,
) -> Option<Vec<Record>> {
    let record = |data| Record::from_rdata(owner.clone(), TTL, data);
    if kind == RecordType::PTR {
        let address = owner.parse_arpa_name().ok()?;
        let whole = address.prefix_len() == address.max_prefix_len();
        let called = names.reverse(config, address.addr()).filter(|_| whole)?;
        let mut labels = Name::from_labels(called.split('.').map(str::as_bytes)).ok()?;
        labels.set_fqdn(true);
        return Some(vec![record(RData::PTR(PTR(labels)))]);
    }
    let found = names.find(config, name)?;
    Some(match kind {
        RecordType::A => (found.v4.into_iter())
            .map(|address| record(RData::A(A(address))))
            .collect(),
        RecordType::AAAA => (found.v6.into_iter())
            .map(|address| record(RData::AAAA(AAAA(address))))
            .collect(),
        _ => Vec::new(),
    })
}

/// Leaves records out until it fits.
fn encode(reply: &mut Message, room: Option<usize>) -> Option<Vec<u8>> {
    loop {
        let bytes = reply.to_vec().ok()?;
        let fits = room.is_none_or(|room| bytes.len() <= room);
        if fits || reply.answers.is_empty() {
            return Some(bytes);
        }
        reply.metadata.truncation = true;
        let keep = reply.answers.len() - reply.answers.len().div_ceil(8);
        reply.answers.truncate(keep);
    }
}

/// The answer that the server failed, to a packet that has at least a header.
pub(crate) fn failure(packet: &[u8]) -> Option<Vec<u8>> {
    match code(packet, ResponseCode::ServFail) {
        Decision::Reply(bytes) => Some(bytes),
        Decision::Forward | Decision::Ignore => None,
    }
}

/// An answer without records: the header, and the question if it can be read.
fn code(packet: &[u8], code: ResponseCode) -> Decision {
    let Some(id) = packet.first_chunk::<2>() else {
        return Decision::Ignore;
    };
    let mut reply = Message::new(
        u16::from_be_bytes(*id),
        MessageType::Response,
        OpCode::Query,
    );
    if let Ok(question) = Message::from_vec(packet) {
        reply.metadata = Metadata::response_from_request(&question.metadata);
        reply.add_queries(question.queries.into_iter().take(1));
    }
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.to_vec().map_or(Decision::Ignore, Decision::Reply)
}

/// Code of an answer; `None` for what is too short to have one.
pub(crate) fn code_of(packet: &[u8]) -> Option<u8> {
    packet.get(3).map(|flags| flags & 0x0f)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::op::Query;
    use shim_protocol::spec::{Member, ResolverNetwork, Upstream};

    use super::*;

    struct Known {
        directory: std::path::PathBuf,
        config: Resolver,
        names: Names,
    }

    impl Drop for Known {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.directory).unwrap();
        }
    }

    fn known(test: &str, members: u8) -> Known {
        let directory =
            std::env::temp_dir().join(format!("orlop-answer-{test}-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("n")).unwrap();
        for number in 1..=members {
            let member = Member {
                names: vec![format!("c{number}"), "all".to_owned()],
                address: Ipv4Addr::new(10, 0, 0, number).to_string(),
                address6: (number == 1).then(|| "fd00::1".to_owned()),
            };
            std::fs::write(
                directory.join("n").join(format!("{number:064}")),
                serde_json::to_vec(&member).unwrap(),
            )
            .unwrap();
        }
        let config = Resolver {
            names: directory.clone(),
            networks: vec![ResolverNetwork {
                id: "n".to_owned(),
                name: "net".to_owned(),
                links: Vec::new(),
            }],
            upstream: vec![Upstream {
                address: "192.0.2.1".to_owned(),
                from_host: true,
            }],
            forward: true,
            forward_single: true,
        };
        Known {
            directory,
            config,
            names: Names::default(),
        }
    }

    fn question(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    impl Known {
        fn ask(&mut self, name: &str, kind: RecordType) -> Decision {
            decide(&question(name, kind), true, &self.config, &mut self.names)
        }

        fn reply(&mut self, name: &str, kind: RecordType) -> Message {
            let Decision::Reply(bytes) = self.ask(name, kind) else {
                panic!("{name} is not answered");
            };
            let reply = Message::from_vec(&bytes).unwrap();
            assert_eq!(reply.metadata.id, 7);
            reply
        }
    }

    #[test]
    fn neighbours_are_known_and_nobody_else() {
        let mut known = known("known", 2);
        let reply = known.reply("C1.", RecordType::A);
        assert_eq!(
            reply.answers[0].data,
            RData::A(A(Ipv4Addr::new(10, 0, 0, 1)))
        );
        assert_eq!(known.reply("c1.net.", RecordType::AAAA).answers.len(), 1);
        // A name without an address of this kind exists all the same.
        for kind in [RecordType::AAAA, RecordType::MX, RecordType::TXT] {
            let reply = known.reply("c2.", kind);
            assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
            assert!(reply.answers.is_empty());
        }
        let reply = known.reply("2.0.0.10.in-addr.arpa.", RecordType::PTR);
        assert_eq!(reply.answers[0].data.to_string(), "c2.net.");
        for name in ["example.com.", "c3.", "9.0.0.10.in-addr.arpa."] {
            let kind = if name.ends_with("arpa.") {
                RecordType::PTR
            } else {
                RecordType::A
            };
            assert_eq!(known.ask(name, kind), Decision::Forward, "{name}");
        }
        known.config.forward_single = false;
        let reply = known.reply("c3.", RecordType::A);
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
        known.config.forward = false;
        let reply = known.reply("example.com.", RecordType::A);
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    }

    #[test]
    fn many_addresses_fit_or_say_so() {
        let mut known = known("many", 200);
        let reply = known.reply("all.", RecordType::A);
        assert!(reply.metadata.truncation && !reply.answers.is_empty());
        let packet = question("all.", RecordType::A);
        let Decision::Reply(bytes) = decide(&packet, false, &known.config, &mut known.names) else {
            panic!("not answered");
        };
        let reply = Message::from_vec(&bytes).unwrap();
        assert_eq!(reply.answers.len(), 200);
        assert!(!reply.metadata.truncation);
    }

    /// Any bytes, and any change of a good question, end in a decision, and answers can be read.
    #[test]
    fn whatever_comes_in_is_decided() {
        let mut known = known("fuzz", 3);
        let seeds = [
            question("c1.net.", RecordType::A),
            question("1.0.0.10.in-addr.arpa.", RecordType::PTR),
            question("a.b.c.d.e.f.example.com.", RecordType::ANY),
            vec![0; 12],
            vec![0xc0; 64],
            [question("x.", RecordType::A), vec![0xff; 40]].concat(),
        ];
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 16).unwrap() % below.max(1)
        };
        for round in 0..30_000 {
            let mut packet = seeds[round % seeds.len()].clone();
            for _ in 0..next(6) {
                match next(4) {
                    0 => packet.truncate(next(packet.len() + 1)),
                    1 => packet.push(u8::try_from(next(256)).unwrap()),
                    2 if !packet.is_empty() => {
                        let at = next(packet.len());
                        packet[at] = u8::try_from(next(256)).unwrap();
                    }
                    // Compression that points anywhere, itself included.
                    _ if packet.len() > 14 => {
                        let at = 12 + next(packet.len() - 13);
                        packet[at] = 0xc0;
                        packet[at + 1] = u8::try_from(at).unwrap_or(12);
                    }
                    _ => {}
                }
            }
            let datagram = round % 2 == 0;
            if let Decision::Reply(bytes) =
                decide(&packet, datagram, &known.config, &mut known.names)
            {
                Message::from_vec(&bytes).unwrap();
                assert_eq!(bytes[..2], packet[..2]);
                assert!(bytes[2] & 0x80 != 0 && bytes.len() <= 4096);
            }
        }
    }
}
