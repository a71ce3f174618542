//! The wire form of every message, byte for byte: shims of older releases speak it, so a change here is a new version.

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use shim_protocol::messages::{Notice, Request, Response};
    use shim_protocol::spec::{
        Device, HealthCheck, IdMap, IdRange, Interface, LogConfig, Mount, MountKind, Namespaces,
        Network, NetworkNs, NsMode, Process, Propagation, PublishedPort, ReadonlyRecursion,
        Resources, RestartPolicy, Rlimit, RootFs, Seccomp,
    };
    use shim_protocol::{
        AttachSpec, ExecSpec, ExitRecord, HealthRecord, HealthStatus, ProbeRecord, RunSpec,
        StartError, StateRecord, VERSION, frame,
    };

    /// `message` has exactly this form, and this form is read as `message`.
    fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        message: &T,
        json: &str,
    ) {
        let json = json.replace("\n", "").replace("  ", "");
        let bytes = frame::encode(message).unwrap();
        let (header, body) = bytes.split_at(frame::HEADER);
        assert_eq!(std::str::from_utf8(body).unwrap(), json);
        assert_eq!(header, u32::try_from(json.len()).unwrap().to_le_bytes());
        let (read, used) = frame::decode::<T>(&bytes).unwrap().unwrap();
        assert_eq!((&read, used), (message, bytes.len()));
    }

    fn process() -> Process {
        Process {
            args: vec!["sh".into(), "-c".into(), "true".into()],
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            user: "1000:1000".into(),
            additional_groups: vec!["audio".into()],
            tty: true,
            console_size: Some((24, 80)),
            capabilities: vec!["CAP_CHOWN".into()],
            no_new_privileges: true,
            seccomp: Seccomp::Default,
            rlimits: vec![Rlimit {
                name: "nofile".into(),
                soft: 1,
                hard: 2,
                required: true,
            }],
            apparmor_profile: None,
        }
    }

    const PROCESS: &str = r#"{"args":["sh","-c","true"],"env":["PATH=/bin"],"cwd":"/",
        "user":"1000:1000","additional_groups":["audio"],"tty":true,"console_size":[24,80],
        "capabilities":["CAP_CHOWN"],"no_new_privileges":true,"seccomp":"default",
        "rlimits":[{"name":"nofile","soft":1,"hard":2,"required":true}],"apparmor_profile":null}"#;

    fn mounts() -> Vec<Mount> {
        let bind = MountKind::Bind {
            source: "/data".into(),
            subpath: Some("sub".into()),
            recursive: true,
            propagation: Propagation::Rprivate,
            readonly_recursion: ReadonlyRecursion::IfPossible,
            create_source: false,
            create_as_owner: false,
            idmap: None,
            exclude: Vec::new(),
        };
        let tmpfs = MountKind::Tmpfs {
            options: vec!["size=64m".into()],
        };
        let image = MountKind::Image {
            lowers: vec!["1/fs".into()],
            subpath: None,
        };
        [
            ("/data", true, bind),
            ("/tmp", false, tmpfs),
            ("/model", true, image),
            ("/proc", false, MountKind::Proc),
        ]
        .map(|(target, readonly, kind)| Mount {
            target: target.into(),
            readonly,
            kind,
        })
        .into()
    }

    const MOUNTS: &str = r#"[{"target":"/data","readonly":true,"kind":{"type":"bind",
        "source":"/data","subpath":"sub","recursive":true,"propagation":"rprivate",
        "readonly_recursion":"if_possible","create_source":false}},
        {"target":"/tmp","readonly":false,"kind":{"type":"tmpfs","options":["size=64m"]}},
        {"target":"/model","readonly":true,"kind":{"type":"image","lowers":["1/fs"],
        "subpath":null}},{"target":"/proc","readonly":false,"kind":{"type":"proc"}}]"#;

    fn mapped() -> Mount {
        Mount {
            target: "/w".into(),
            readonly: false,
            kind: MountKind::Bind {
                source: "/s".into(),
                subpath: None,
                recursive: true,
                propagation: Propagation::Rprivate,
                readonly_recursion: ReadonlyRecursion::IfPossible,
                create_source: true,
                create_as_owner: true,
                idmap: Some(IdMap::Ranges {
                    uids: vec![IdRange {
                        source: 1000,
                        target: 0,
                        count: 1,
                    }],
                    gids: Vec::new(),
                }),
                exclude: vec!["a/b".into()],
            },
        }
    }

    fn network() -> Network {
        Network {
            interface: Some(Interface {
                bridge: "orlop0".into(),
                host_name: "veth1".into(),
                name: "eth0".into(),
                mac: "02:42:ac:11:00:02".into(),
                address: "172.17.0.2/16".into(),
                gateway: Some("172.17.0.1".into()),
                address6: None,
                gateway6: None,
                mtu: 1500,
                isolated: false,
            }),
            more: Vec::new(),
            resolver: None,
            ports: vec![PublishedPort {
                protocol: "tcp".into(),
                host_ip: "0.0.0.0".into(),
                host_port: 8080,
                container_ip: "172.17.0.2".into(),
                container_port: 80,
            }],
        }
    }

    const NETWORK: &str = r#"{"interface":{"bridge":"orlop0","host_name":"veth1","name":"eth0",
        "mac":"02:42:ac:11:00:02","address":"172.17.0.2/16","gateway":"172.17.0.1",
        "address6":null,"gateway6":null,"mtu":1500},"ports":[{"protocol":"tcp",
        "host_ip":"0.0.0.0","host_port":8080,"container_ip":"172.17.0.2",
        "container_port":80}]}"#;

    fn resources() -> Resources {
        Resources {
            memory: Some(1 << 20),
            ..Resources::default()
        }
    }

    const RESOURCES: &str = r#"{"memory":1048576,"memory_reservation":null,"memory_swap":null,
        "memory_swappiness":null,"oom_kill_disable":false,"nano_cpus":null,"cpu_shares":null,
        "cpu_period":null,"cpu_quota":null,"cpuset_cpus":null,"cpuset_mems":null,
        "pids_limit":null,"blkio_weight":null,"blkio_read_bps":[],"blkio_write_bps":[],
        "blkio_read_iops":[],"blkio_write_iops":[]}"#;

    fn spec() -> RunSpec {
        RunSpec {
            id: "ab".into(),
            tag: "cd".into(),
            run_dir: "/run/x".into(),
            root: RootFs {
                layers_dir: "/layers".into(),
                lowers: vec!["2/fs".into(), "1/fs".into()],
                upper: "/upper".into(),
                work: "/work".into(),
                readonly: false,
                propagation: Propagation::Rslave,
            },
            mounts: mounts(),
            process: process(),
            namespaces: Namespaces {
                network: NetworkNs::Private,
                pid: NsMode::Private,
                ipc: NsMode::Join(7),
                uts: NsMode::Host,
                cgroup: NsMode::Private,
            },
            hostname: "h".into(),
            domainname: String::new(),
            sysctls: vec![("net.ipv4.ip_forward".into(), "1".into())],
            oom_score_adj: Some(-5),
            resources: resources(),
            devices: vec![Device {
                source: "/dev/fuse".into(),
                target: "/dev/fuse".into(),
                access: "rwm".into(),
            }],
            device_rules: vec!["c 1:3 rwm".into()],
            privileged: false,
            masked_paths: vec!["/proc/kcore".into()],
            readonly_paths: vec!["/proc/sys".into()],
            network: network(),
            log: LogConfig {
                path: Some("/log".into()),
                max_size: Some(10),
                max_file: 2,
                compress: false,
                attrs: vec![("tag".into(), "x".into())],
            },
            restart: RestartPolicy::OnFailure { max_retries: 3 },
            health: None,
            stop_signal: 15,
            init: true,
            open_stdin: true,
            stdin_once: true,
            wake: vec!["orlop".into(), "serve".into()],
            engine_socket: "/run/e".into(),
        }
    }

    fn spec_json() -> String {
        [
            r#"{"id":"ab","tag":"cd","run_dir":"/run/x","root":{"layers_dir":"/layers","#,
            r#""lowers":["2/fs","1/fs"],"upper":"/upper","work":"/work","readonly":false,"#,
            r#""propagation":"rslave"},"mounts":"#,
            MOUNTS,
            r#","process":"#,
            PROCESS,
            r#","namespaces":{"network":"private","pid":"private","ipc":{"join":7},"#,
            r#""uts":"host","cgroup":"private"},"hostname":"h","domainname":"","#,
            r#""sysctls":[["net.ipv4.ip_forward","1"]],"oom_score_adj":-5,"resources":"#,
            RESOURCES,
            r#","devices":[{"source":"/dev/fuse","target":"/dev/fuse","access":"rwm"}],"#,
            r#""device_rules":["c 1:3 rwm"],"privileged":false,"#,
            r#""masked_paths":["/proc/kcore"],"readonly_paths":["/proc/sys"],"network":"#,
            NETWORK,
            r#","log":{"path":"/log","max_size":10,"max_file":2,"compress":false,"#,
            r#""attrs":[["tag","x"]]},"restart":{"on_failure":{"max_retries":3}},"#,
            r#""stop_signal":15,"init":true,"open_stdin":true,"stdin_once":true,"#,
            r#""wake":["orlop","serve"],"engine_socket":"/run/e"}"#,
        ]
        .concat()
    }

    fn exit() -> ExitRecord {
        ExitRecord {
            code: 137,
            oom_killed: true,
            finished_at: "2024-03-01T12:00:00.5Z".into(),
            restart_count: 1,
            error: String::new(),
        }
    }

    const EXIT: &str = r#"{"code":137,"oom_killed":true,"finished_at":"2024-03-01T12:00:00.5Z",
        "restart_count":1,"error":""}"#;

    fn state() -> StateRecord {
        StateRecord {
            version: VERSION,
            pid: 10,
            pid_start: 20,
            shim_pid: 9,
            started_at: "2024-03-01T11:00:00Z".into(),
            restart_count: 1,
            paused: false,
            restarting: false,
            last_exit: Some(exit()),
            health: None,
        }
    }

    fn state_json() -> String {
        [
            r#"{"version":1,"pid":10,"pid_start":20,"shim_pid":9,"#,
            r#""started_at":"2024-03-01T11:00:00Z","restart_count":1,"paused":false,"#,
            r#""restarting":false,"last_exit":"#,
            EXIT,
            "}",
        ]
        .concat()
    }

    fn probe() -> ProbeRecord {
        ProbeRecord {
            start: "2024-03-01T11:00:00Z".into(),
            end: "2024-03-01T11:00:01Z".into(),
            exit_code: 1,
            output: "no".into(),
        }
    }

    const PROBE: &str = r#"{"start":"2024-03-01T11:00:00Z","end":"2024-03-01T11:00:01Z","exit_code":1,"output":"no"}"#;

    fn failure() -> StartError {
        StartError {
            step: "exec".into(),
            message: "not found".into(),
            code: 127,
        }
    }

    const FAILURE: &str = r#"{"step":"exec","message":"not found","code":127}"#;

    #[test]
    fn requests() {
        let attach = AttachSpec {
            stdout: true,
            ..AttachSpec::default()
        };
        let start = Request::Start {
            version: 1,
            spec: Box::new(spec()),
            attach: vec![attach],
        };
        golden(
            &start,
            &[
                r#"{"request":"start","version":1,"spec":"#,
                &spec_json(),
                r#","attach":[{"stdin":false,"stdout":true,"stderr":false,"#,
                r#""detach_keys":null}]}"#,
            ]
            .concat(),
        );
        let exec = ExecSpec {
            exec: "ef".into(),
            process: process(),
            privileged: false,
            stdin: true,
            stdout: true,
            stderr: false,
            detach: false,
            detach_keys: Some(vec![16, 17]),
        };
        golden(
            &Request::Exec {
                spec: Box::new(exec),
            },
            &[
                r#"{"request":"exec","spec":{"exec":"ef","process":"#,
                PROCESS,
                r#","privileged":false,"stdin":true,"stdout":true,"stderr":false,"#,
                r#""detach":false,"detach_keys":[16,17]}}"#,
            ]
            .concat(),
        );
        let update = Request::Update {
            resources: Box::new(resources()),
            restart: Some(RestartPolicy::UnlessStopped),
        };
        golden(
            &update,
            &[
                r#"{"request":"update","resources":"#,
                RESOURCES,
                r#","restart":"unless_stopped"}"#,
            ]
            .concat(),
        );
        let attach = Request::Attach {
            stdin: true,
            stdout: true,
            stderr: true,
            detach_keys: Some(vec![16]),
        };
        let exec = || "ef".to_owned();
        for (request, json) in [
            (Request::Watch, r#"{"request":"watch"}"#),
            (
                attach,
                r#"{"request":"attach","stdin":true,"stdout":true,"stderr":true,
                    "detach_keys":[16]}"#,
            ),
            (
                Request::Kill {
                    signal: 15,
                    stop: true,
                },
                r#"{"request":"kill","signal":15,"stop":true}"#,
            ),
            (
                Request::KillAll { signal: 9 },
                r#"{"request":"kill_all","signal":9}"#,
            ),
            (Request::Pause { unwell: false }, r#"{"request":"pause"}"#),
            (
                Request::Pause { unwell: true },
                r#"{"request":"pause","unwell":true}"#,
            ),
            (Request::Hold, r#"{"request":"hold"}"#),
            (Request::Unpause, r#"{"request":"unpause"}"#),
            (
                Request::Resize {
                    rows: 24,
                    columns: 80,
                },
                r#"{"request":"resize","rows":24,"columns":80}"#,
            ),
            (
                Request::ExecResize {
                    exec: exec(),
                    rows: 24,
                    columns: 80,
                },
                r#"{"request":"exec_resize","exec":"ef","rows":24,"columns":80}"#,
            ),
            (
                Request::ExecWait { exec: exec() },
                r#"{"request":"exec_wait","exec":"ef"}"#,
            ),
            (Request::ReopenLog, r#"{"request":"reopen_log"}"#),
            (
                Request::Mount {
                    mount: Box::new(mapped()),
                    keep: true,
                },
                r#"{"request":"mount","mount":{"target":"/w","readonly":false,"kind":{"type":"bind","source":"/s",
                "subpath":null,"recursive":true,"propagation":"rprivate","readonly_recursion":"if_possible",
                "create_source":true,"create_as_owner":true,"idmap":{"ranges":{
                "uids":[{"source":1000,"target":0,"count":1}],"gids":[]}},"exclude":["a/b"]}},"keep":true}"#,
            ),
            (
                Request::Unmount {
                    target: "/w".into(),
                    lazy: false,
                },
                r#"{"request":"unmount","target":"/w","lazy":false}"#,
            ),
        ] {
            golden(&request, json);
        }
    }

    #[test]
    fn responses() {
        for (response, json) in [
            (
                Response::Started { state: state() },
                format!(r#"{{"response":"started","state":{}}}"#, state_json()),
            ),
            (
                Response::StartFailed { error: failure() },
                format!(r#"{{"response":"start_failed","error":{FAILURE}}}"#),
            ),
            (
                Response::State { state: state() },
                format!(r#"{{"response":"state","state":{}}}"#, state_json()),
            ),
            (Response::Ok, r#"{"response":"ok"}"#.into()),
            (
                Response::ExecStarted { pid: 5 },
                r#"{"response":"exec_started","pid":5}"#.into(),
            ),
            (
                Response::ExecExited { code: 7 },
                r#"{"response":"exec_exited","code":7}"#.into(),
            ),
            (
                Response::Thawed { microseconds: 9 },
                r#"{"response":"thawed","microseconds":9}"#.into(),
            ),
            (
                Response::Refused {
                    reason: "no".into(),
                },
                r#"{"response":"refused","reason":"no"}"#.into(),
            ),
        ] {
            golden(&response, &json);
        }
    }

    #[test]
    fn health() {
        golden(
            &HealthCheck {
                process: process(),
                interval: 1,
                timeout: 2,
                start_period: 3,
                start_interval: 4,
                retries: 5,
            },
            &[
                r#"{"process":"#,
                PROCESS,
                r#","interval":1,"timeout":2,"start_period":3,"start_interval":4,"retries":5}"#,
            ]
            .concat(),
        );
        golden(
            &HealthRecord {
                status: HealthStatus::Starting,
                failing_streak: 1,
                log: vec![probe()],
            },
            &[
                r#"{"status":"starting","failing_streak":1,"log":["#,
                PROBE,
                "]}",
            ]
            .concat(),
        );
    }

    #[test]
    fn notices() {
        for (notice, json) in [
            (
                Notice::Exited {
                    exit: exit(),
                    restarting: true,
                },
                format!(r#"{{"notice":"exited","exit":{EXIT},"restarting":true}}"#),
            ),
            (
                Notice::Restarted { state: state() },
                format!(r#"{{"notice":"restarted","state":{}}}"#, state_json()),
            ),
            (
                Notice::RestartFailed {
                    error: failure(),
                    restarting: false,
                },
                format!(r#"{{"notice":"restart_failed","error":{FAILURE},"restarting":false}}"#),
            ),
            (Notice::Oom, r#"{"notice":"oom"}"#.into()),
            (
                Notice::ExecExited {
                    exec: "ef".into(),
                    code: 7,
                },
                r#"{"notice":"exec_exited","exec":"ef","code":7}"#.into(),
            ),
            (Notice::Paused, r#"{"notice":"paused"}"#.into()),
            (Notice::Unpaused, r#"{"notice":"unpaused"}"#.into()),
            (
                Notice::Detached { exec: None },
                r#"{"notice":"detached","exec":null}"#.into(),
            ),
            (
                Notice::Probing { exec: "ef".into() },
                r#"{"notice":"probing","exec":"ef"}"#.into(),
            ),
            (
                Notice::Probed {
                    exec: "ef".into(),
                    code: Some(1),
                    status: HealthStatus::Unhealthy,
                    failing_streak: 3,
                    probe: probe(),
                },
                [
                    r#"{"notice":"probed","exec":"ef","code":1,"status":"unhealthy","#,
                    r#""failing_streak":3,"probe":"#,
                    PROBE,
                    "}",
                ]
                .concat(),
            ),
        ] {
            golden(&notice, &json);
        }
    }

    /// Fields of later releases are ignored, optional fields of earlier ones may be missing.
    #[test]
    fn other_versions_are_understood() {
        let json = r#"{"response":"state","shape":1,"state":{"version":9,"pid":0,"pid_start":0,
            "shim_pid":1,"started_at":"","restart_count":0,"paused":false,"restarting":true,
            "mood":"fine"}}"#;
        let Response::State { state } = serde_json::from_str(json).unwrap() else {
            panic!("not a state");
        };
        assert_eq!(
            (state.version, state.restarting, state.last_exit),
            (9, true, None)
        );

        let without_attach = format!(
            r#"{{"request":"start","version":1,"spec":{}}}"#,
            spec_json().replace(r#""init":true"#, r#""init":true,"later":{}"#)
        );
        let Request::Start {
            spec: read, attach, ..
        } = serde_json::from_str(&without_attach).unwrap()
        else {
            panic!("not a start");
        };
        assert_eq!((*read, attach), (spec(), Vec::new()));

        let later = serde_json::from_str::<Notice>(r#"{"notice":"levitated","height":3}"#).unwrap();
        assert_eq!(later, Notice::Later);

        let json = r#"{"request":"attach","stdin":false,"stdout":true,"stderr":true,"x":[]}"#;
        let expected = Request::Attach {
            stdin: false,
            stdout: true,
            stderr: true,
            detach_keys: None,
        };
        assert_eq!(serde_json::from_str::<Request>(json).unwrap(), expected);

        let error = serde_json::from_str::<Request>(r#"{"request":"levitate"}"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown variant `levitate`"),
            "{error}"
        );
    }
}
