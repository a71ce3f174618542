//! Any bytes between an engine and a shim: frames and stream headers, whole and in portions, with the same result.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shim_protocol::frame::{self, decode, encode};
use shim_protocol::stdio::Demultiplexer;
use shim_protocol::{Notice, Request, Response};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    match first % 4 {
        0 => round_trip::<Request>(rest),
        1 => round_trip::<Response>(rest),
        2 => round_trip::<Notice>(rest),
        _ => portions(rest, usize::from(first / 4) + 1),
    }
});

fn round_trip<T>(bytes: &[u8])
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let received = frame::receive::<T>(&mut &bytes[..]);
    match decode::<T>(bytes) {
        Ok(Some((message, length))) => {
            assert!(length <= bytes.len());
            assert_eq!(received.ok().as_ref(), Some(&message));
            let again = encode(&message).expect("what came in a frame fits into one");
            let (same, _) = decode::<T>(&again)
                .expect("our own frame")
                .expect("a whole frame");
            assert_eq!(same, message);
        }
        Ok(None) | Err(_) => assert!(received.is_err()),
    }
}

fn portions(bytes: &[u8], size: usize) {
    let collect = |portions: &mut dyn Iterator<Item = &[u8]>| {
        let mut demultiplexer = Demultiplexer::default();
        let mut streams = [Vec::new(), Vec::new(), Vec::new()];
        let mut good = true;
        for portion in portions {
            let fed = demultiplexer.feed(portion, |stream, piece| {
                streams[stream as usize].extend_from_slice(piece);
            });
            if fed.is_err() {
                good = false;
                break;
            }
        }
        (streams, good, good && demultiplexer.at_boundary())
    };
    assert_eq!(
        collect(&mut std::iter::once(bytes)),
        collect(&mut bytes.chunks(size))
    );
}
