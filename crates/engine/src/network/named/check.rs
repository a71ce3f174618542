//! What a request for a network must not say, in Docker's words, and what it is given.

use std::net::IpAddr;

use sys::netlink::Prefix;

use super::{Ipam, NetworkRequest, Pool, is_predefined};
use crate::network::NetworkError;
use crate::truth::truth;

/// Options of the bridge driver, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) bridge: Option<String>,
    pub(super) isolated: bool,
    pub(super) masquerade: bool,
    pub(super) host_binding: Option<String>,
    pub(super) mtu: Option<u32>,
}

/// The longest name that a device may have.
const DEVICE: usize = 15;

/// The request's driver and options, or the first contradiction.
pub(super) fn request(request: &NetworkRequest) -> Result<Options, NetworkError> {
    let refused = |text: &str| Err(NetworkError::Request(text.to_owned()));
    let name = request.name.as_str();
    if is_predefined(name) && name != "default" {
        return Err(NetworkError::Predefined(name.to_owned()));
    }
    if name.trim().is_empty() {
        return refused("invalid name: name is empty");
    }
    // Docker takes any name; these would mean something else, or nothing, in a path or a command line.
    let strange = |letter: char| letter.is_control() || letter == '/';
    if name.starts_with("container:") || name == "default" || name.contains(strange) {
        return Err(NetworkError::Request(format!(
            "invalid network name \"{name}\""
        )));
    }
    match request.driver.as_str() {
        "" | "bridge" => {}
        "overlay" => return Err(NetworkError::Refused(NO_SWARM.to_owned())),
        "host" | "null" => {
            return Err(NetworkError::Refused(format!(
                "only one instance of \"{}\" network is allowed",
                request.driver
            )));
        }
        other => return Err(NetworkError::NoDriver(other.to_owned())),
    }
    if matches!(request.scope.as_str(), "swarm" | "global") {
        return Err(NetworkError::Refused(NO_SWARM.to_owned()));
    }
    if request.ingress {
        return refused("Ingress network can only be global scope network");
    }
    if request.config_only
        || request
            .config_from
            .as_ref()
            .is_some_and(|from| !from.network.is_empty())
    {
        return refused("configuration-only networks are not supported");
    }
    if request.enable_ipv4 == Some(false) {
        return refused("networks without IPv4 are not supported");
    }
    if let Some(ipam) = &request.ipam {
        addresses(ipam, request.enable_ipv6 == Some(true))?;
    }
    options(request)
}

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

fn options(request: &NetworkRequest) -> Result<Options, NetworkError> {
    let mut read = Options {
        masquerade: true,
        ..Options::default()
    };
    let flag = |key: &str, value: &str| {
        truth(value).ok_or_else(|| {
            NetworkError::Request(format!("invalid value for option {key}: {value}"))
        })
    };
    for (key, value) in request.options.iter().flatten() {
        match key.as_str() {
            "com.docker.network.bridge.name" => {
                let valid = (1..=DEVICE).contains(&value.len())
                    && value
                        .bytes()
                        .all(|byte| byte.is_ascii_graphic() && byte != b'/')
                    && !matches!(value.as_str(), "." | "..");
                if !valid {
                    return Err(NetworkError::Request(format!(
                        "invalid bridge name \"{value}\": it must be 1 to {DEVICE} characters long and without blanks and slashes"
                    )));
                }
                read.bridge = Some(value.clone());
            }
            "com.docker.network.bridge.enable_icc" => read.isolated = !flag(key, value)?,
            "com.docker.network.bridge.enable_ip_masquerade" => {
                read.masquerade = flag(key, value)?;
            }
            "com.docker.network.bridge.host_binding_ipv4" => {
                let valid = value.parse::<std::net::Ipv4Addr>().is_ok();
                if !valid {
                    return Err(NetworkError::Request(format!(
                        "invalid value for option {key}: {value}"
                    )));
                }
                read.host_binding = Some(value.clone());
            }
            "com.docker.network.driver.mtu" => {
                let mtu = value.parse().ok().filter(|mtu| (68..=65535).contains(mtu));
                read.mtu = Some(mtu.ok_or_else(|| {
                    NetworkError::Request(format!("invalid value for option {key}: {value}"))
                })?);
            }
            // Kept and shown, as Docker does with what its driver does not know.
            _ => {}
        }
    }
    Ok(read)
}

/// All that is wrong with the subnets, a line each.
fn addresses(ipam: &Ipam, ipv6: bool) -> Result<(), NetworkError> {
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(NetworkError::NoDriver(ipam.driver.clone()));
    }
    let mut errors: Vec<String> = Vec::new();
    let mut families = [0, 0];
    for pool in ipam.config.iter().flatten() {
        let Ok(subnet) = pool.subnet.parse::<Prefix>() else {
            errors.push(format!(
                "invalid subnet {}: invalid CIDR block notation",
                pool.subnet
            ));
            continue;
        };
        families[usize::from(subnet.address.is_ipv6())] += 1;
        if subnet.address.is_ipv6() && !ipv6 {
            continue;
        }
        check_pool(pool, subnet, &mut errors);
    }
    if !errors.is_empty() {
        return Err(NetworkError::Request(format!(
            "invalid network config:\n{}",
            errors.join("\n")
        )));
    }
    if families.iter().any(|count| *count > 1) {
        return Err(NetworkError::Refused(
            "bridge driver doesn't support multiple subnets".to_owned(),
        ));
    }
    Ok(())
}

fn check_pool(pool: &Pool, subnet: Prefix, errors: &mut Vec<String>) {
    let family = if subnet.address.is_ipv4() {
        "IPv4"
    } else {
        "IPv6"
    };
    let masked = |prefix: Prefix| Prefix {
        address: prefix.network(),
        length: prefix.length,
    };
    if masked(subnet) != subnet {
        errors.push(format!(
            "invalid subnet {subnet}: it should be {}",
            masked(subnet)
        ));
    }
    if subnet.address.is_ipv4() && !(8..=29).contains(&subnet.length) {
        errors.push(format!(
            "invalid subnet {subnet}: its prefix length must be between 8 and 29"
        ));
    }
    if subnet.address.is_ipv6() && !(16..=120).contains(&subnet.length) {
        errors.push(format!(
            "invalid subnet {subnet}: its prefix length must be between 16 and 120"
        ));
    }
    if !pool.ip_range.is_empty() {
        check_range(&pool.ip_range, subnet, family, errors);
    }
    let auxiliary = pool.auxiliary.iter();
    let named = auxiliary.map(|(name, address)| (format!("auxiliary address {name}"), address));
    let gateway = Some((format!("gateway {}", pool.gateway), &pool.gateway));
    for (what, address) in gateway.into_iter().chain(named) {
        if address.is_empty() {
            continue;
        }
        let why = match address.parse::<IpAddr>() {
            Err(_) => "invalid address".to_owned(),
            Ok(found) if found.is_ipv4() != subnet.address.is_ipv4() => {
                format!("parent subnet is an {family} block")
            }
            Ok(found) if !subnet.contains(found) => {
                format!("parent subnet {subnet} doesn't contain this address")
            }
            Ok(_) => continue,
        };
        errors.push(format!("invalid {what}: {why}"));
    }
}

fn check_range(text: &str, subnet: Prefix, family: &str, errors: &mut Vec<String>) {
    let Ok(range) = text.parse::<Prefix>() else {
        errors.push(format!(
            "invalid ip-range {text}: invalid CIDR block notation"
        ));
        return;
    };
    if range.address.is_ipv4() != subnet.address.is_ipv4() {
        errors.push(format!(
            "invalid ip-range {text}: parent subnet is an {family} block"
        ));
        return;
    }
    if range.length < subnet.length {
        errors.push(format!(
            "invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    if range.network() != range.address {
        errors.push(format!(
            "invalid ip-range {range}: it should be {}/{}",
            range.network(),
            range.length
        ));
    }
    if !subnet.overlaps(&range) {
        errors.push(format!(
            "invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(subnet: &str, range: &str, gateway: &str) -> NetworkRequest {
        NetworkRequest {
            name: "n".to_owned(),
            ipam: Some(Ipam {
                config: Some(vec![Pool {
                    subnet: subnet.to_owned(),
                    ip_range: range.to_owned(),
                    gateway: gateway.to_owned(),
                    ..Pool::default()
                }]),
                ..Ipam::default()
            }),
            ..NetworkRequest::default()
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_dockers_words() {
        let table = [
            (with("10.0.0.0/24", "", ""), None),
            (with("10.0.0.0/24", "10.0.0.128/25", "10.0.0.200"), None),
            (
                with("10.0.0.1/24", "", ""),
                Some(
                    "invalid network config:\ninvalid subnet 10.0.0.1/24: it should be 10.0.0.0/24",
                ),
            ),
            (
                with("", "", ""),
                Some("invalid network config:\ninvalid subnet : invalid CIDR block notation"),
            ),
            (
                with("10.0.0.0/24", "10.1.0.0/25", "10.2.0.1"),
                Some(
                    "invalid network config:\n\
                     invalid ip-range 10.1.0.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range\n\
                     invalid gateway 10.2.0.1: parent subnet 10.0.0.0/24 doesn't contain this address",
                ),
            ),
            (
                NetworkRequest {
                    driver: "foo".to_owned(),
                    name: "n".to_owned(),
                    ..NetworkRequest::default()
                },
                Some("could not find plugin foo in v1 plugin registry: plugin \"foo\" not found"),
            ),
            (
                NetworkRequest {
                    name: "host".to_owned(),
                    ..NetworkRequest::default()
                },
                Some("operation is not permitted on predefined host network "),
            ),
        ];
        for (wanted, expected) in table {
            let said = request(&wanted).err().map(|error| error.to_string());
            assert_eq!(said.as_deref(), expected, "{wanted:?}");
        }
    }

    #[test]
    fn options_of_the_bridge_driver() {
        let mut wanted = with("10.0.0.0/24", "", "");
        let set = |wanted: &mut NetworkRequest, key: &str, value: &str| {
            wanted
                .options
                .get_or_insert_default()
                .insert(format!("com.docker.network.{key}"), value.to_owned());
        };
        set(&mut wanted, "bridge.enable_icc", "false");
        set(&mut wanted, "driver.mtu", "1400");
        set(&mut wanted, "bridge.name", "mine0");
        let read = request(&wanted).unwrap();
        assert!(read.isolated && read.masquerade);
        assert_eq!(
            (read.mtu, read.bridge.as_deref()),
            (Some(1400), Some("mine0"))
        );
        for (key, value) in [
            ("driver.mtu", "x"),
            ("bridge.name", "much-too-long-name"),
            ("bridge.enable_icc", "maybe"),
            ("bridge.host_binding_ipv4", "::1"),
        ] {
            let mut wrong = with("10.0.0.0/24", "", "");
            set(&mut wrong, key, value);
            assert!(request(&wrong).is_err(), "{key}");
        }
    }
}
