//! Traffic counters of the network devices that a process sees.

use std::fs;
use std::io;

/// What went through one device since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// Counters of all devices but loopback in the network namespace of process `pid`.
pub fn interface_counters(pid: i32) -> io::Result<Vec<InterfaceCounters>> {
    Ok(parse(&fs::read_to_string(format!("/proc/{pid}/net/dev"))?))
}

fn parse(text: &str) -> Vec<InterfaceCounters> {
    let lines = text.lines().filter_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers
            .split_ascii_whitespace()
            .map_while(|number| number.parse().ok())
            .collect();
        let counter = |at: usize| numbers.get(at).copied();
        Some(InterfaceCounters {
            name: name.trim().to_owned(),
            rx_bytes: counter(0)?,
            rx_packets: counter(1)?,
            rx_errors: counter(2)?,
            rx_dropped: counter(3)?,
            tx_bytes: counter(8)?,
            tx_packets: counter(9)?,
            tx_errors: counter(10)?,
            tx_dropped: counter(11)?,
        })
    });
    lines.filter(|device| device.name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_proc_net_dev() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:    9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  eth0:1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n";
        let parsed = parse(text);
        assert_eq!(parsed.len(), 1);
        assert_eq!(
            parsed[0],
            InterfaceCounters {
                name: "eth0".to_owned(),
                rx_bytes: 1,
                rx_packets: 2,
                rx_errors: 3,
                rx_dropped: 4,
                tx_bytes: 5,
                tx_packets: 6,
                tx_errors: 7,
                tx_dropped: 8,
            }
        );
    }
}
