//! Users, capabilities, filters, hidden and protected paths, devices, limits of single processes.

use shim_protocol::spec::{Device, Rlimit, Seccomp};

use crate::Case;
use crate::fixture::{Fixture, read_until};

pub(crate) const CASES: &[Case] = &[
    ("users", users),
    ("capabilities", capabilities),
    ("default_filter", default_filter),
    ("own_filter", own_filter),
    ("hidden_and_protected_paths", hidden_and_protected_paths),
    ("devices_and_dev", devices_and_dev),
    ("resource_limits", resource_limits),
    ("privileged", privileged),
    ("sysctls_and_oom_score", sysctls_and_oom_score),
];

fn said(fixture: &Fixture) -> String {
    fixture.run().unwrap().output
}

fn users() {
    let mut fixture = Fixture::shell(
        "id -u; id -g; id -G; echo $HOME; echo x > /dev/stdout; echo y > /dev/stderr",
    );
    for (user, groups, expected) in [
        ("", &[][..], "0\n0\n0\n/root\nx\ny\n"),
        ("app", &[], "1000\n1000\n1000 2000\n/home/app\nx\ny\n"),
        (
            "app:0",
            &["extra", "77"],
            "1000\n0\n0 77 2000\n/home/app\nx\ny\n",
        ),
        ("4242", &[], "4242\n0\n0\n/\nx\ny\n"),
    ] {
        fixture.spec.process.user = user.to_owned();
        fixture.spec.process.additional_groups = groups.iter().map(ToString::to_string).collect();
        assert_eq!(said(&fixture), expected, "{user}");
    }
    fixture.spec.process.env.push("HOME=/elsewhere".to_owned());
    assert!(said(&fixture).contains("/elsewhere\n"));
    // A user database that is no plain file must not block the start.
    std::fs::remove_file(fixture.image("etc/passwd")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fixture.image("etc/passwd"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o644),
        0,
    )
    .unwrap();
    fixture.spec.process.user = "app".to_owned();
    assert!(
        fixture
            .run()
            .unwrap_err()
            .message
            .starts_with("unable to find user app")
    );
}

fn capabilities() {
    let mut fixture =
        Fixture::shell("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr '\\n' ' '");
    let sets = |inherited, effective, bounding, extra: &str| {
        format!(
            "CapInh:\t{inherited:016x} CapPrm:\t{effective:016x} CapEff:\t{effective:016x} CapBnd:\t{bounding:016x} CapAmb:\t{:016x} {extra}",
            0
        )
    };
    let default: u64 = 0xa804_25fb;
    assert_eq!(
        said(&fixture),
        sets(0u64, default, default, "NoNewPrivs:\t0 Seccomp:\t2 ")
    );
    fixture.spec.process.user = "app".to_owned();
    assert_eq!(
        said(&fixture),
        sets(0, 0, default, "NoNewPrivs:\t0 Seccomp:\t2 ")
    );
    fixture.spec.process.no_new_privileges = true;
    fixture.spec.process.user = String::new();
    fixture.spec.process.capabilities = vec!["CAP_CHOWN".to_owned()];
    assert_eq!(said(&fixture), sets(0, 1, 1, "NoNewPrivs:\t1 Seccomp:\t2 "));
    fixture.spec.process.seccomp = Seccomp::Unconfined;
    fixture.spec.process.capabilities = vec![];
    assert_eq!(said(&fixture), sets(0, 0, 0, "NoNewPrivs:\t1 Seccomp:\t0 "));
    fixture.spec.process.capabilities = vec!["CAP_FLY".to_owned()];
    assert_eq!(
        fixture.run().unwrap_err().message,
        "invalid capability: \"CAP_FLY\""
    );
}

fn default_filter() {
    let mut fixture =
        Fixture::shell("unshare -U true; unshare -m true; mount -t tmpfs none /tmp; echo end");
    let text = said(&fixture);
    assert_eq!(text.matches("Operation not permitted").count(), 2, "{text}");
    assert!(
        text.contains("permission denied") && text.ends_with("end\n"),
        "{text}"
    );
    fixture
        .spec
        .process
        .capabilities
        .push("CAP_SYS_ADMIN".to_owned());
    fixture.script("unshare -m true && mount -t tmpfs none /tmp && echo worked");
    assert_eq!(said(&fixture), "worked\n");
}

fn own_filter() {
    let mut fixture = Fixture::shell("mkdir /made; echo end");
    fixture.spec.process.seccomp = Seccomp::Profile(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":30}]}"#
            .to_owned(),
    );
    let text = said(&fixture);
    assert!(
        text.contains("Read-only file system") && text.ends_with("end\n"),
        "{text}"
    );
    fixture.spec.process.seccomp = Seccomp::Profile("{".to_owned());
    let error = fixture.run().unwrap_err();
    assert_eq!(error.step, "seccomp");
    assert!(
        error.message.starts_with("decoding seccomp profile failed"),
        "{error:?}"
    );
}

fn hidden_and_protected_paths() {
    let mut fixture = Fixture::shell(
        "cat /proc/keys /proc/timer_list /proc/interrupts | wc -c; ls /sys/firmware | wc -l; touch /sys/firmware/x; \
         echo 1 > /proc/sys/kernel/printk; echo 1 > /proc/irq/0/x; \
         mount | grep -E ' on /proc/(sys|bus) ' | grep -c ro,; touch /sys/x; mkdir /sys/fs/cgroup/x",
    );
    let text = said(&fixture);
    assert!(text.starts_with("0\n0\n"), "{text}");
    assert!(text.matches("Read-only file system").count() >= 4, "{text}");
    assert!(text.contains("\n2\n"), "{text}");
    fixture.spec.masked_paths = vec![
        "/etc/passwd".to_owned(),
        "/nothing".to_owned(),
        "/etc/link".to_owned(),
    ];
    std::os::unix::fs::symlink("/home", fixture.image("etc/link")).unwrap();
    fixture.spec.readonly_paths = vec!["/srv".to_owned()];
    fixture.script("wc -c < /etc/passwd; ls /home | wc -l; touch /srv/www/x");
    let text = said(&fixture);
    assert!(
        text.starts_with("0\n0\n") && text.contains("Read-only file system"),
        "{text}"
    );
}

fn devices_and_dev() {
    let mut fixture = Fixture::shell(
        "cd /dev; ls | tr '\\n' ' '; stat -c '%a %t:%T' null tty; for l in fd ptmx stdout; do readlink $l; done; \
         head -c3 zero | wc -c; echo x > null; mknod /tmp/sda b 8 0 && cat /tmp/sda; \
         mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg; ls -l /dev/fuse-like | cut -c1; head -c1 /dev/sub/zz | wc -c",
    );
    fixture.spec.devices = vec![
        Device {
            source: "/dev/zero".into(),
            target: "/dev/sub/zz".to_owned(),
            access: "rwm".to_owned(),
        },
        Device {
            source: "/dev/null".into(),
            target: "/dev/fuse-like".to_owned(),
            access: "r".to_owned(),
        },
    ];
    let text = said(&fixture);
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "fd full fuse-like mqueue null ptmx pts random shm stderr stdin stdout sub tty urandom zero 666 1:3"
    );
    assert!(
        text.contains("666 5:0\n/proc/self/fd\npts/ptmx\n/proc/self/fd/1\n3\n"),
        "{text}"
    );
    let refused = text.matches("Operation not permitted").count();
    assert_eq!(refused, 2, "{text}");
    assert!(text.ends_with("c\n1\n"), "{text}");
    fixture.spec.devices[0].source = "/dev/nope".into();
    let error = fixture.run().unwrap_err();
    assert_eq!(
        error.message,
        "error gathering device information while adding custom device \"/dev/nope\": no such file or directory"
    );
    fixture.spec.devices.clear();
    fixture.spec.device_rules = vec!["c 1:11 rw".to_owned()];
    fixture.script("mknod /tmp/kmsg2 c 1 11 && dd if=/tmp/kmsg2 of=/dev/null bs=8192 count=1 2>&1 | tail -1 | cut -c1-5");
    let text = said(&fixture);
    assert!(!text.contains("not permitted"), "{text}");
    fixture.spec.device_rules = vec!["x 1:11 rw".to_owned()];
    let error = fixture.run().unwrap_err();
    assert_eq!(
        error.message,
        "invalid device cgroup rule format: 'x 1:11 rw'"
    );
}

fn resource_limits() {
    let mut fixture = Fixture::shell("ulimit -n; ulimit -Hn; ulimit -c");
    let limit = |name: &str, soft, hard, required| Rlimit {
        name: name.to_owned(),
        soft,
        hard,
        required,
    };
    fixture.spec.process.rlimits = vec![
        limit("nofile", 50, 60, true),
        limit("core", 0, 0, true),
        limit("memlock", u64::MAX, u64::MAX, false),
        limit("nproc", u64::MAX, u64::MAX, false),
    ];
    assert_eq!(said(&fixture), "50\n60\n0\n");
    fixture.spec.process.rlimits = vec![limit("nofile", u64::MAX, u64::MAX, false)];
    // Limits of files cannot be infinite: that is an error even where they may be raised.
    let present = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .maximum
        .unwrap();
    fixture.spec.process.rlimits = vec![limit("nofile", present + 1, present + 1, true)];
    if let Err(error) = fixture.run() {
        let expected = format!(
            "error setting rlimit nofile: the hard limit {} is above this host's {present}, which may not be raised: operation not permitted",
            present + 1
        );
        assert_eq!(error.message, expected);
    }
    fixture.spec.process.rlimits[0].required = false;
    assert_eq!(fixture.run().unwrap().code, 0);
    fixture.spec.process.rlimits = vec![limit("wings", 1, 1, true)];
    assert_eq!(
        fixture.run().unwrap_err().message,
        "invalid ulimit type: wings"
    );
}

fn privileged() {
    let mut fixture = Fixture::shell(
        "grep CapEff /proc/self/status; ls /dev/loop-control && head -c1 /dev/kmsg > /dev/null; \
         mount -t tmpfs none /tmp && touch /proc/sys/kernel/hostname && mkdir /sys/fs/cgroup/*/x 2>/dev/null; \
         rmdir /sys/fs/cgroup/*/x; echo end",
    );
    let spec = &mut fixture.spec;
    spec.privileged = true;
    spec.process.seccomp = Seccomp::Unconfined;
    spec.process.capabilities = sys::capability::names()
        .iter()
        .map(ToString::to_string)
        .collect();
    spec.masked_paths.clear();
    spec.readonly_paths.clear();
    for mount in &mut spec.mounts {
        mount.readonly = false;
    }
    let text = said(&fixture);
    let own = sys::capability::permitted().unwrap();
    assert!(text.contains(&format!("CapEff:\t{own:016x}\n")), "{text}");
    assert!(
        text.contains("/dev/loop-control\n") && text.ends_with("end\n"),
        "{text}"
    );
    assert!(
        !text.contains("not permitted") && !text.contains("denied"),
        "{text}"
    );
}

fn sysctls_and_oom_score() {
    let mut fixture = Fixture::shell(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax /proc/self/oom_score_adj; echo running; sleep 1000",
    );
    fixture.spec.sysctls = vec![
        (
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "77".to_owned(),
        ),
        ("kernel.msgmax".to_owned(), "4242".to_owned()),
    ];
    fixture.spec.oom_score_adj = Some(500);
    let (running, mut output) = fixture.start();
    assert_eq!(
        read_until(&mut output, "running"),
        "77\n4242\n500\nrunning\n"
    );
    fixture.end(&running);
    // Lowering it may be forbidden here; that is no reason to fail.
    fixture.spec.oom_score_adj = Some(-900);
    fixture.script("true");
    assert_eq!(fixture.run().unwrap().code, 0);
    fixture.spec.sysctls = vec![("net.nope".to_owned(), "1".to_owned())];
    let error = fixture.run().unwrap_err();
    assert_eq!(
        error.message,
        "cannot set sysctl net.nope=1: no such file or directory"
    );
}
