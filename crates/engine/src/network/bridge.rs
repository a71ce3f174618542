//! The bridge device and the host's settings that it needs.

use std::net::{IpAddr, Ipv4Addr};

use sys::netlink::{
    Prefix, addresses, bridge_create, default_route, link_configure, link_info, links,
    read_setting, write_setting,
};

use super::layout::Layout;
use super::subnet::{choose, is_free, lock, taken};
use super::{Network, NetworkError, ipam, layout};

/// What a device has without a default route to go by.
const USUAL_MTU: u32 = 1500;

impl Network {
    /// The layout to use from now on, and a bridge that has it. `keep`: containers have addresses of this layout.
    ///
    /// A bridge that is there is adopted with its addresses. A new one gets the configured subnet, else the remembered
    /// one while that is free, else a free one, which is remembered.
    pub(super) fn ensure_bridge(
        &self,
        known: Option<Layout>,
        keep: bool,
    ) -> Result<Layout, NetworkError> {
        let name = &self.names.bridge;
        let looked_up = |name: &str| {
            link_info(name).map_err(NetworkError::device(format!("look up bridge {name}")))
        };
        if let Some(link) = looked_up(name)? {
            if link.kind != "bridge" {
                return Err(NetworkError::NameTaken(name.clone()));
            }
            let layout = match known {
                Some(layout) => layout,
                None => self.adopt(link.index)?,
            };
            link_configure(name, &prefixes(&layout))
                .map_err(NetworkError::device(format!("configure bridge {name}")))?;
            Self::settings(name, &layout)?;
            return Ok(layout);
        }
        let held = lock()?;
        let layout = self.plan(known, keep)?;
        let layout = if keep {
            layout
        } else {
            layout.with_ipv6(&self.config.tag, ipv6_usable()?)
        };
        layout::write(&self.config.state_file, &layout)?;
        let mtu = self.mtu()?;
        bridge_create(
            name,
            Some(ipam::mac(layout.gateway)),
            mtu,
            &prefixes(&layout),
        )
        .map_err(NetworkError::device(format!("create bridge {name}")))?;
        drop(held);
        Self::settings(name, &layout)?;
        Ok(layout)
    }

    /// Which addresses a bridge should get that is not there; called under the host-wide lock.
    pub(super) fn plan(&self, known: Option<Layout>, keep: bool) -> Result<Layout, NetworkError> {
        if let (Some(layout), true) = (known, keep) {
            return Ok(layout);
        }
        if let Some(text) = &self.config.subnet {
            return layout::from_config(text);
        }
        let taken = taken(&self.names.bridge)?;
        match known {
            Some(layout) if is_free(layout.subnet(), &taken) => Ok(layout),
            _ => choose(&self.config.pools, &taken),
        }
    }

    /// The layout of a bridge whose addresses nobody remembers.
    fn adopt(&self, index: u32) -> Result<Layout, NetworkError> {
        let found: Vec<Prefix> = addresses()
            .map_err(NetworkError::device("list addresses"))?
            .into_iter()
            .filter(|address| address.index == index)
            .map(|address| address.prefix)
            .collect();
        let layout = match found.iter().copied().find_map(layout::around) {
            Some(layout) => layout,
            None => {
                let _held = lock()?;
                self.plan(None, false)?
            }
        };
        let on = layout.with_ipv6(&self.config.tag, true);
        let has_ipv6 = on
            .bridge_address6()
            .is_some_and(|prefix| found.contains(&prefix));
        let layout = layout.with_ipv6(&self.config.tag, has_ipv6);
        layout::write(&self.config.state_file, &layout)?;
        Ok(layout)
    }

    /// A bridge of this name with these addresses is there and up. `chosen`: its subnet was chosen because it was free, and
    /// must still be.
    ///
    /// The lock of all engines is always taken after the state, never before.
    pub(super) fn make_bridge(
        &self,
        name: &str,
        layout: &Layout,
        mtu: Option<u32>,
        chosen: bool,
    ) -> Result<(), NetworkError> {
        let link =
            link_info(name).map_err(NetworkError::device(format!("look up bridge {name}")))?;
        match link {
            Some(link) if link.kind != "bridge" => {
                return Err(NetworkError::NameTaken(name.to_owned()));
            }
            Some(_) => link_configure(name, &prefixes(layout))
                .map_err(NetworkError::device(format!("configure bridge {name}")))?,
            None => {
                let mtu = match mtu {
                    Some(mtu) => mtu,
                    None => self.mtu()?,
                };
                let mac = Some(ipam::mac(layout.gateway));
                let _held = lock()?;
                if chosen && !is_free(layout.subnet(), &taken(name)?) {
                    return Err(NetworkError::SubnetTaken(layout.subnet().to_string()));
                }
                bridge_create(name, mac, mtu, &prefixes(layout))
                    .map_err(NetworkError::device(format!("create bridge {name}")))?;
            }
        }
        Self::settings(name, layout)
    }

    /// The configured MTU, else that of the device that the default route leaves by.
    pub(super) fn mtu(&self) -> Result<u32, NetworkError> {
        if let Some(mtu) = self.config.mtu {
            return Ok(mtu);
        }
        let route = default_route(false).map_err(NetworkError::device("list routes"))?;
        let Some(device) = route.and_then(|route| route.device) else {
            return Ok(USUAL_MTU);
        };
        let links = links().map_err(NetworkError::device("list network devices"))?;
        let link = links.iter().find(|link| link.index == device);
        Ok(link.map_or(USUAL_MTU, |link| link.mtu))
    }

    /// Settings of the kernel without which the rules have no effect.
    fn settings(bridge: &str, layout: &Layout) -> Result<(), NetworkError> {
        set("net/ipv4/ip_forward", "1")?;
        // Connections from the host's loopback to published ports leave through the bridge.
        set(&format!("net/ipv4/conf/{bridge}/route_localnet"), "1")?;
        if layout.gateway6.is_some() {
            forward_ipv6()?;
        }
        Ok(())
    }
}

fn prefixes(layout: &Layout) -> Vec<Prefix> {
    let both = [Some(layout.bridge_address()), layout.bridge_address6()];
    both.into_iter().flatten().collect()
}

fn set(name: &str, value: &'static str) -> Result<(), NetworkError> {
    write_setting(name, value).map_err(|source| NetworkError::Setting {
        name: name.replace('/', "."),
        value,
        source,
    })
}

fn setting(name: &str) -> Result<Option<String>, NetworkError> {
    read_setting(name).map_err(NetworkError::device(format!("read {name}")))
}

/// Whether containers should have IPv6: the kernel has it, nobody turned it off, and the host has a way out.
pub(super) fn ipv6_usable() -> Result<bool, NetworkError> {
    for scope in ["all", "default"] {
        let disabled = setting(&format!("net/ipv6/conf/{scope}/disable_ipv6"))?;
        if disabled.as_deref() != Some("0") {
            return Ok(false);
        }
    }
    let route = default_route(true).map_err(NetworkError::device("list routes"))?;
    Ok(route.is_some_and(|route| route.gateway.is_some() || route.device.is_some()))
}

/// Turns on IPv6 forwarding. A forwarding host ignores router advertisements unless told otherwise: devices that
/// listened to them go on listening, or the host would lose its own default route.
fn forward_ipv6() -> Result<(), NetworkError> {
    const ALL: &str = "net/ipv6/conf/all/forwarding";
    if setting(ALL)?.as_deref() == Some("1") {
        return Ok(());
    }
    for link in links().map_err(NetworkError::device("list network devices"))? {
        let name = format!("net/ipv6/conf/{}/accept_ra", link.name);
        if setting(&name)?.as_deref() == Some("1") {
            set(&name, "2")?;
        }
    }
    set(ALL, "1")
}

/// Text of an address for [`shim_protocol::spec::Interface`].
pub(super) fn with_length(address: Ipv4Addr, length: u8) -> String {
    Prefix {
        address: IpAddr::V4(address),
        length,
    }
    .to_string()
}
