//! Carries the datagrams of one published UDP port to the container and the answers back.
//!
//! Each client has a socket of its own towards the container, so that answers find the way; it is forgotten when
//! nothing moved for a while. Runs in a child of its own, which ends when no client is left: the shim goes on waiting
//! for the next datagram.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A client that is silent for so long is forgotten.
const IDLE: Duration = Duration::from_secs(90);

/// More clients than this push out the one that was silent longest.
const CLIENTS: usize = 512;

struct Flow {
    socket: UdpSocket,
    used: Instant,
}

/// Serves until all clients are idle. The result is the child's exit code.
pub(crate) fn serve(socket: BorrowedFd<'_>, target: SocketAddr) -> i32 {
    let Ok(server) = socket.try_clone_to_owned().map(UdpSocket::from) else {
        return 1;
    };
    let mut flows: BTreeMap<SocketAddr, Flow> = BTreeMap::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut begun = false;
    while !begun || !flows.is_empty() {
        begun = true;
        receive(&server, target, &mut flows, &mut buffer);
        for (client, flow) in &mut flows {
            while let Ok(count) = flow.socket.recv(&mut buffer) {
                flow.used = Instant::now();
                // A datagram that cannot be sent is a lost datagram.
                server.send_to(&buffer[..count], client).unwrap_or_default();
            }
        }
        flows.retain(|_, flow| flow.used.elapsed() < IDLE);
        if wait(&server, &flows).is_err() {
            return 1;
        }
    }
    0
}

fn receive(
    server: &UdpSocket,
    target: SocketAddr,
    flows: &mut BTreeMap<SocketAddr, Flow>,
    buffer: &mut [u8],
) {
    while let Ok((count, client)) = server.recv_from(buffer) {
        if !flows.contains_key(&client) {
            if flows.len() >= CLIENTS {
                let oldest = flows
                    .iter()
                    .min_by_key(|(_, flow)| flow.used)
                    .map(|(key, _)| *key);
                oldest.and_then(|key| flows.remove(&key));
            }
            let Some(socket) = connect(target) else {
                continue;
            };
            flows.insert(
                client,
                Flow {
                    socket,
                    used: Instant::now(),
                },
            );
        }
        if let Some(flow) = flows.get_mut(&client) {
            flow.used = Instant::now();
            // As above: lost, as datagrams may be.
            flow.socket.send(&buffer[..count]).unwrap_or_default();
        }
    }
}

fn connect(target: SocketAddr) -> Option<UdpSocket> {
    let local: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).ok()?;
    socket.connect(target).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

fn wait(server: &UdpSocket, flows: &BTreeMap<SocketAddr, Flow>) -> Result<(), Errno> {
    let sockets = flows.values().map(|flow| &flow.socket).chain([server]);
    let mut fds: Vec<PollFd<'_>> = sockets
        .map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN))
        .collect();
    let seconds = i64::try_from(IDLE.as_secs()).unwrap_or(i64::MAX);
    match poll(
        &mut fds,
        Some(&Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        }),
    ) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn answers_find_their_clients() {
        let container = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = container.local_addr().unwrap();
        let host = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = host.local_addr().unwrap();
        host.set_nonblocking(true).unwrap();
        let clients: Vec<UdpSocket> = (0..3u8)
            .map(|number| {
                let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                client.send_to(&[number], address).unwrap();
                client
                    .set_read_timeout(Some(Duration::from_secs(10)))
                    .unwrap();
                client
            })
            .collect();
        // The server ends only when idle: it is left to the end of the test process.
        thread::spawn(move || serve(host.as_fd(), target));
        for _ in 0..3 {
            let mut byte = [0];
            let (_, flow) = container.recv_from(&mut byte).unwrap();
            container.send_to(&[byte[0] + 10], flow).unwrap();
        }
        for (client, number) in clients.iter().zip(0u8..) {
            let mut byte = [0];
            client.recv_from(&mut byte).unwrap();
            assert_eq!(byte, [number + 10]);
        }
    }
}
