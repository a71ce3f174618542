//! The interface: made while the container is set up, gone with it.

use std::time::Duration;

use shim_protocol::spec::Interface;
use sys::netlink;

use crate::Case;
use crate::fixture::{Fixture, read_until};

pub(crate) const CASES: &[Case] = &[
    ("interface_on_a_bridge", interface_on_a_bridge),
    ("failed_interface", failed_interface),
];

fn interface() -> Interface {
    Interface {
        bridge: "testbr0".to_owned(),
        host_name: "testveth0".to_owned(),
        name: "eth0".to_owned(),
        mac: "02:42:0a:63:00:02".to_owned(),
        address: "10.99.0.2/24".to_owned(),
        gateway: Some("10.99.0.1".to_owned()),
        address6: None,
        gateway6: None,
        mtu: 1400,
        isolated: false,
    }
}

/// A network of its own for this case's process, with a bridge.
fn bridge() {
    sys::namespace::new_host().unwrap();
    netlink::bridge_create("testbr0", None, 1500, &["10.99.0.1/24".parse().unwrap()]).unwrap();
}

fn interface_on_a_bridge() {
    bridge();
    let mut fixture = Fixture::shell(
        "ip -4 addr show eth0 | grep -o 'inet [0-9./]*'; cat /sys/class/net/eth0/mtu /sys/class/net/eth0/address; \
         ip route; ping -c1 -W5 10.99.0.1 >/dev/null && echo reached; echo running; sleep 1000",
    );
    fixture.spec.network.interface = Some(interface());
    let (running, mut output) = fixture.start();
    let said = read_until(&mut output, "running");
    let expected = "inet 10.99.0.2/24\n1400\n02:42:0a:63:00:02\n\
        default via 10.99.0.1 dev eth0 \n10.99.0.0/24 dev eth0 scope link  src 10.99.0.2 \nreached\n";
    assert!(said.starts_with(expected), "{said}");
    assert!(netlink::link_exists("testveth0").unwrap());
    fixture.end(&running);
    let begin = std::time::Instant::now();
    while netlink::link_exists("testveth0").unwrap() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "the interface goes with its namespace"
        );
    }
}

fn failed_interface() {
    bridge();
    let mut fixture = Fixture::new();
    let mut broken = interface();
    broken.bridge = "nobridge".to_owned();
    fixture.spec.network.interface = Some(broken);
    let error = fixture.run().unwrap_err();
    assert_eq!(error.step, "network");
    assert!(
        error
            .message
            .starts_with("cannot connect the container to network nobridge: "),
        "{error:?}"
    );
    // The container's own error is told, not that its namespace is gone.
    fixture.spec.network.interface = Some(interface());
    fixture.spec.root.lowers = vec!["77/fs".into()];
    assert_eq!(fixture.run().unwrap_err().step, "root");
}
