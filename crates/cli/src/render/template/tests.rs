//! What Docker's client prints for templates that its users write.
//!
//! The expectations of the two tables were printed by Docker's own client, version 28.2.

use super::{Template, TemplateError};
use serde_json::{Value, json};

fn container() -> Value {
    json!({
        "Id": "4f0e5c6b7a8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7081",
        "Created": "2026-03-01T10:20:30.123456789Z",
        "Path": "nginx",
        "Args": [
            "-g",
            "daemon off;"
        ],
        "State": {
            "Status": "running",
            "Running": true,
            "Paused": false,
            "Pid": 4242,
            "ExitCode": 0,
            "Error": "",
            "StartedAt": "2026-03-01T10:20:31Z"
        },
        "Image": "sha256:aa",
        "Name": "/web",
        "RestartCount": 0,
        "Driver": "overlay2",
        "HostConfig": {
            "Binds": null,
            "NetworkMode": "bridge",
            "PortBindings": {
                "80/tcp": [
                    {
                        "HostIp": "",
                        "HostPort": "8080"
                    }
                ]
            },
            "RestartPolicy": {
                "Name": "always",
                "MaximumRetryCount": 0
            },
            "CapAdd": null,
            "Memory": 268435456,
            "NanoCpus": 0,
            "ExtraHosts": null
        },
        "Mounts": [
            {
                "Type": "volume",
                "Name": "data",
                "Source": "/var/lib/docker/volumes/data/_data",
                "Destination": "/data",
                "Driver": "local",
                "Mode": "z",
                "RW": true,
                "Propagation": ""
            },
            {
                "Type": "bind",
                "Source": "/etc/localtime",
                "Destination": "/etc/localtime",
                "Mode": "ro",
                "RW": false,
                "Propagation": "rprivate"
            }
        ],
        "Config": {
            "Hostname": "4f0e5c6b7a8d",
            "Tty": false,
            "Env": [
                "PATH=/usr/bin:/bin",
                "A=1<2&3"
            ],
            "Cmd": [
                "nginx",
                "-g"
            ],
            "Image": "nginx:1.27",
            "Volumes": {
                "/data": {}
            },
            "WorkingDir": "",
            "Entrypoint": null,
            "OnBuild": null,
            "Labels": {
                "com.docker.compose.project": "shop",
                "com.docker.compose.service": "web",
                "team": "core"
            },
            "ExposedPorts": {
                "80/tcp": {},
                "443/tcp": {}
            }
        },
        "NetworkSettings": {
            "Ports": {
                "443/tcp": null,
                "80/tcp": [
                    {
                        "HostIp": "0.0.0.0",
                        "HostPort": "8080"
                    },
                    {
                        "HostIp": "::",
                        "HostPort": "8080"
                    }
                ]
            },
            "IPAddress": "172.17.0.2",
            "Networks": {
                "bridge": {
                    "IPAddress": "172.17.0.2",
                    "Gateway": "172.17.0.1",
                    "MacAddress": "02:42:ac:11:00:02",
                    "Aliases": null
                },
                "shop_net": {
                    "IPAddress": "172.20.0.5",
                    "Gateway": "172.20.0.1",
                    "MacAddress": "02:42:ac:14:00:05",
                    "Aliases": [
                        "web",
                        "api"
                    ]
                }
            }
        }
    })
}

/// Template, output.
const OUTPUTS: &[(&str, &str)] = &[
    ("{{.Name}}", "/web"),
    (
        "{{.Id}}",
        "4f0e5c6b7a8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7081",
    ),
    ("{{slice .Id 0 12}}", "4f0e5c6b7a8d"),
    (r#"{{.Id | printf "%.12s"}}"#, "4f0e5c6b7a8d"),
    (r#"{{printf "%.12s" .Id}}"#, "4f0e5c6b7a8d"),
    ("{{truncate .Id 12}}", "4f0e5c6b7a8d"),
    ("{{.State.Status}}", "running"),
    (
        "{{.State.Running}} {{.State.Pid}} {{.State.ExitCode}}",
        "true 4242 0",
    ),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    (
        r#"{{if eq .State.Status "running"}}1{{else if eq .State.Status "exited"}}2{{else}}3{{end}}"#,
        "1",
    ),
    (
        "{{if and .State.Running (not .State.Paused)}}ok{{end}}",
        "ok",
    ),
    (
        "{{if or (eq .State.ExitCode 1) (gt .State.Pid 4000)}}busy{{end}}",
        "busy",
    ),
    (
        "{{ne .State.ExitCode 0}} {{lt .State.Pid 5000}} {{ge .HostConfig.Memory 268435456}} {{le 2 1}}",
        "false true true false",
    ),
    (
        "{{.NetworkSettings.Networks.bridge.IPAddress}}",
        "172.17.0.2",
    ),
    ("{{.NetworkSettings.IPAddress}}", "172.17.0.2"),
    (
        "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}",
        "172.17.0.2 172.20.0.5 ",
    ),
    (
        "{{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}};{{end}}",
        "bridge=172.17.0.2;shop_net=172.20.0.5;",
    ),
    (
        "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}",
        "bridgeshop_net",
    ),
    (
        r#"{{with index .NetworkSettings.Networks "shop_net"}}{{.Gateway}}{{end}}"#,
        "172.20.0.1",
    ),
    (
        r#"{{(index .NetworkSettings.Networks "shop_net").Aliases}}"#,
        "[web api]",
    ),
    (
        r#"{{join (index .NetworkSettings.Networks "shop_net").Aliases ","}}"#,
        "web,api",
    ),
    (
        r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#,
        "8080",
    ),
    (
        "{{range $p, $conf := .NetworkSettings.Ports}}{{$p}} -> {{if $conf}}{{(index $conf 0).HostPort}}{{else}}-{{end}} {{end}}",
        "443/tcp -> - 80/tcp -> 8080 ",
    ),
    (
        "{{range $p, $c := .NetworkSettings.Ports}}{{range $c}}{{.HostIp}}:{{.HostPort}}->{{$p}} {{end}}{{end}}",
        "0.0.0.0:8080->80/tcp :::8080->80/tcp ",
    ),
    (
        r#"{{index .NetworkSettings.Ports "443/tcp"}}"#,
        "<no value>",
    ),
    (
        "{{range $port, $_ := .Config.ExposedPorts}}{{$port}} {{end}}",
        "443/tcp 80/tcp ",
    ),
    ("{{.Config.Env}}", "[PATH=/usr/bin:/bin A=1<2&3]"),
    (
        "{{range .Config.Env}}{{println .}}{{end}}",
        "PATH=/usr/bin:/bin\nA=1<2&3\n",
    ),
    (
        r#"{{range $i, $e := .Config.Env}}{{$i}}:{{$e}}{{"\n"}}{{end}}"#,
        "0:PATH=/usr/bin:/bin\n1:A=1<2&3\n",
    ),
    (
        r#"{{range .Config.Env}}{{$p := split . "="}}{{index $p 0}} {{end}}"#,
        "PATH A ",
    ),
    (r#"{{join .Config.Cmd " "}}"#, "nginx -g"),
    (
        r#"{{join .Config.Env "\n"}}"#,
        "PATH=/usr/bin:/bin\nA=1<2&3",
    ),
    (
        "{{json .Config.Env}}",
        r#"["PATH=/usr/bin:/bin","A=1<2&3"]"#,
    ),
    ("{{json .Config.Cmd}}", r#"["nginx","-g"]"#),
    (
        "{{json .State.Running}} {{json .Name}} {{json .RestartCount}} {{json .HostConfig.Binds}}",
        r#"true "/web" 0 null"#,
    ),
    (
        "{{json .Config.Labels}}",
        r#"{"com.docker.compose.project":"shop","com.docker.compose.service":"web","team":"core"}"#,
    ),
    (
        "{{.Config.Labels}}",
        "map[com.docker.compose.project:shop com.docker.compose.service:web team:core]",
    ),
    (
        r#"{{index .Config.Labels "com.docker.compose.project"}}"#,
        "shop",
    ),
    (r#"{{index .Config.Labels "absent"}}"#, ""),
    (
        r#"{{with index .Config.Labels "absent"}}has{{else}}has not{{end}}"#,
        "has not",
    ),
    ("{{.Config.Labels.team}}", "core"),
    ("{{.Config.Labels.absent}}", "<no value>"),
    (
        r#"{{range $k, $v := .Config.Labels}}{{printf "%s=%q\n" $k $v}}{{end}}"#,
        "com.docker.compose.project=\"shop\"\ncom.docker.compose.service=\"web\"\nteam=\"core\"\n",
    ),
    (
        r#"{{range $k, $v := .Config.Labels}}{{if ne $k "team"}}{{continue}}{{end}}{{$v}}{{end}}"#,
        "core",
    ),
    (
        "{{len .Config.Labels}} {{len .Mounts}} {{len .Name}} {{len .HostConfig.Binds}}",
        "3 2 4 0",
    ),
    (
        "{{.HostConfig.Binds}} {{.HostConfig.CapAdd}} {{.Config.Entrypoint}}",
        "[] [] []",
    ),
    (
        "{{range .HostConfig.Binds}}{{.}}{{else}}no binds{{end}}",
        "no binds",
    ),
    ("{{if .HostConfig.Binds}}binds{{end}}", ""),
    (
        "{{range .Mounts}}{{.Type}} {{.Source}} -> {{.Destination}}{{if not .RW}} (ro){{end}}; {{end}}",
        "volume /var/lib/docker/volumes/data/_data -> /data; bind /etc/localtime -> /etc/localtime (ro); ",
    ),
    (
        r#"{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}}{{break}}{{end}}{{end}}"#,
        "data",
    ),
    (
        r#"{{range .Mounts}}{{if eq .Destination "/data"}}{{.Source}}{{end}}{{end}}"#,
        "/var/lib/docker/volumes/data/_data",
    ),
    ("{{(index .Mounts 1).Source}}", "/etc/localtime"),
    (
        "{{range $i, $m := .Mounts}}{{if $i}},{{end}}{{$m.Destination}}{{end}}",
        "/data,/etc/localtime",
    ),
    ("{{.HostConfig.RestartPolicy.Name}}", "always"),
    (
        "{{with .HostConfig.RestartPolicy}}{{.Name}}:{{.MaximumRetryCount}}{{end}}",
        "always:0",
    ),
    (
        "{{$n := .Name}}{{range .Mounts}}{{$n}} {{.Type}} {{end}}",
        "/web volume /web bind ",
    ),
    (
        "{{range .Mounts}}{{$.Name}}:{{.Type}} {{end}}",
        "/web:volume /web:bind ",
    ),
    (
        r#"{{$found := false}}{{range .Mounts}}{{if eq .Type "bind"}}{{$found = true}}{{end}}{{end}}{{$found}}"#,
        "true",
    ),
    (
        r#"{{slice .Name 1}} {{upper .Driver}} {{title .Driver}} {{lower "ABC"}}"#,
        "web OVERLAY2 Overlay2 abc",
    ),
    (r#"{{.Name | upper | printf "%-8s|"}}"#, "/WEB    |"),
    (r#"{{pad .Name 2 1}}|{{pad "" 2 1}}|"#, "  /web ||"),
    (
        r#"{{printf "%s has %d restarts, %v, %t" .Name .RestartCount .State.Running .State.Paused}}"#,
        "/web has 0 restarts, true, false",
    ),
    (
        r#"{{printf "%5d|%-5d|%05d|%x|%q" .State.Pid .State.Pid .State.Pid .State.Pid .Name}}"#,
        r#" 4242|4242 |04242|1092|"/web""#,
    ),
    (
        r#"{{printf "%d" .Name}} {{printf "%s" .State.Pid}} {{printf "%s"}} {{printf "x" 1}}"#,
        "%!d(string=/web) %!s(int=4242) %!s(MISSING) x%!(EXTRA int=1)",
    ),
    (
        r#"{{print .State.Pid .RestartCount}} {{print "a" "b"}} {{println .Name .State.Pid}}"#,
        "4242 0 ab /web 4242\n",
    ),
    (
        r#"{{html "<a href='x'>"}} {{urlquery "a b/c"}} {{js "it's"}}"#,
        r#"&lt;a href=&#39;x&#39;&gt; a+b%2Fc it\'s"#,
    ),
    ("{{- .Name -}}   x   {{- /* comment */ -}}   y", "/webxy"),
    (
        r#"{{define "row"}}[{{.Type}}]{{end}}{{range .Mounts}}{{template "row" .}}{{end}}"#,
        "[volume][bind]",
    ),
    (r#"{{block "b" .State}}{{.Status}}{{end}}"#, "running"),
    (
        r#"{{"raw"}} {{`back\n`}} {{'a'}} {{1.5}} {{1e3}} {{0x1F}} {{true}}"#,
        r#"raw back\n 97 1.5 1000 31 true"#,
    ),
    (
        r#"{{eq .Driver "aufs" "overlay2"}} {{and 1 0}} {{or "" "x"}} {{not true}}"#,
        "true 0 x false",
    ),
    (
        r#"{{1.0}} {{1.5e3}} {{1e6}} {{0x10}} {{0b11}} {{0o17}} {{017}} {{1_000}} {{'\n'}}"#,
        "1 1500 1e+06 16 3 15 15 1000 10",
    ),
    (
        r#"{{printf "%g %g %g %v" 100000.0 1000000.0 21000000.0 0.00001}}"#,
        "100000 1e+06 2.1e+07 1e-05",
    ),
    (
        r#"{{printf "%.3g %.10g %.2g %.1g" 1234.5678 1234.5678 100.0 0.00012}}"#,
        "1.23e+03 1234.5678 1e+02 0.0001",
    ),
    (
        r#"{{printf "%6.2f|%-8.2f|%08.2f|%+.1f" 3.14159 2.5 -2.5 1.0}}"#,
        "  3.14|2.50    |-0002.50|+1.0",
    ),
    (
        r#"{{len (printf "%.99999f" 1.5)}} {{len (printf "%.99999e" 1.5)}} {{printf "%.99999g" 1.5}}"#,
        "100001 100005 1.5",
    ),
    (
        r#"{{printf "%*d|%-*d|%.*f" 5 42 5 42 2 1.5}}"#,
        "   42|42   |1.50",
    ),
    (
        r#"{{printf "%[2]s %[1]s" "a" "b"}} {{printf "%[3]s" "a"}}"#,
        "b a %!s(BADINDEX)",
    ),
    (
        r#"{{printf "%T %T %T %T %T" 1 1.5 "a" true nil}}"#,
        "int float64 string bool <nil>",
    ),
    (
        r#"{{printf "%!"}} {{printf "%-"}} {{printf "%5"}} {{printf "%d%%" 5}}"#,
        "%!!(MISSING) %!(NOVERB) %!(NOVERB) 5%",
    ),
    (
        "{{range 3}}{{.}}{{end}} {{range $i := 3}}{{$i}}{{end}}",
        "012 012",
    ),
    (
        "{{with .State.Nope}}a{{else with .Name}}b{{.}}{{else}}c{{end}}",
        "b/web",
    ),
    (
        "{{$x := 1}}{{if true}}{{$x = 5}}{{$x := 6}}{{end}}{{$x}}",
        "5",
    ),
    (
        r#"{{slice "hello" 1 3}} {{slice .Args 1}}"#,
        "el [daemon off;]",
    ),
    (
        r#"{{print .Nope}} {{printf "%v" .Nope}} {{json .Nope}}"#,
        "<nil> <nil> null",
    ),
    (
        r#"{{title "foo-bar baz_qux o'neil"}}"#,
        "Foo-Bar Baz_qux O'Neil",
    ),
    ("a  {{- .Name -}}  b", "a/webb"),
];

/// Template, error; with keys that must exist, as `docker inspect` asks.
const ERRORS: &[(&str, &str)] = &[
    (
        "{{.State.Nope}}",
        r#"template: :1:8: executing "" at <.State.Nope>: map has no entry for key "Nope""#,
    ),
    (
        "{{.Nope}}",
        r#"template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope""#,
    ),
    (
        "{{.NetworkSettings.Nope.X}}",
        r#"template: :1:18: executing "" at <.NetworkSettings.Nope.X>: map has no entry for key "Nope""#,
    ),
    (
        "{{index .Mounts 9}}",
        r#"template: :1:2: executing "" at <index .Mounts 9>: error calling index: index out of range: 9"#,
    ),
    (
        "{{.Name.Foo}}",
        r#"template: :1:7: executing "" at <.Name.Foo>: can't evaluate field Foo in type interface {}"#,
    ),
    (
        r#"{{join .Name ","}}"#,
        r#"template: :1:7: executing "" at <.Name>: wrong type for value; expected []string; got string"#,
    ),
    ("{{.Name", "template: :1: unclosed action"),
    ("{{.Name}", "template: :1: bad character U+007D '}'"),
    (
        "{{nofunc .Name}}",
        r#"template: :1: function "nofunc" not defined"#,
    ),
    ("{{if .Name}}", "template: :1: unexpected EOF"),
    ("{{end}}", "template: :1: unexpected {{end}}"),
    ("{{.Foo-Bar}}", "template: :1: bad character U+002D '-'"),
    ("{{$x}}", r#"template: :1: undefined variable "$x""#),
    (
        "{{range .Name}}{{end}}",
        r#"template: :1:8: executing "" at <.Name>: range can't iterate over /web"#,
    ),
    (
        r#"{{template "none"}}"#,
        r#"template: :1:11: executing "" at <{{template "none"}}>: template "none" not defined"#,
    ),
    (
        "{{eq .Name 1}}",
        r#"template: :1:2: executing "" at <eq .Name 1>: error calling eq: incompatible types for comparison"#,
    ),
    (
        r#"{{"x" | .Name}}"#,
        r#"template: :1:8: executing "" at <.Name>: Name is not a method but has arguments"#,
    ),
    (
        "{{.State.Running.X}}",
        r#"template: :1:8: executing "" at <.State.Running.X>: can't evaluate field X in type interface {}"#,
    ),
];

fn render(template: &str, data: &Value, strict: bool) -> Result<String, TemplateError> {
    let template = Template::parse(template)?;
    if strict {
        template.with_missing_key_error()
    } else {
        template
    }
    .render(data)
}

#[test]
fn prints_what_docker_prints() {
    let data = container();
    for (template, expected) in OUTPUTS {
        let printed = render(template, &data, false);
        assert_eq!(printed.as_deref(), Ok(*expected), "{template}");
    }
}

#[test]
fn fails_as_docker_fails() {
    let data = container();
    for (template, expected) in ERRORS {
        let error = render(template, &data, true).map_err(|error| error.to_string());
        assert_eq!(error, Err((*expected).to_owned()), "{template}");
    }
}

#[test]
fn json_keeps_the_order_of_keys() {
    let data = json!({"z": 1, "a": {"y": [1, 2.5, null], "b": "<&>\u{2028}"}});
    let printed = render("{{json .}} {{json .a}}", &data, false);
    let a = r#"{"y":[1,2.5,null],"b":"<&>\u2028"}"#;
    assert_eq!(printed, Ok(format!(r#"{{"z":1,"a":{a}}} {a}"#)));
}

#[test]
fn null_fields_print_as_the_nil_of_their_type() {
    let data = json!({"Binds": null, "Labels": null, "Health": null, "Other": {"Binds": null, "X": null},
            "Sets": {"81/tcp": {}, "80/tcp": {}}});
    for (template, expected) in [
        (
            "{{.Binds}} {{.Labels}} {{.Health}} {{.Other}}",
            "[] map[] <nil> map[Binds:[] X:<nil>]",
        ),
        ("{{.Sets}}", "map[80/tcp:{} 81/tcp:{}]"),
        (
            "{{len .Binds}} {{len .Labels}} {{json .Binds}} {{json .Labels}}",
            "0 0 null null",
        ),
        (
            "{{range .Labels}}x{{else}}none{{end}}{{if .Health}}x{{else}} none{{end}}",
            "none none",
        ),
        (
            "[{{.Labels.a}}] [{{index .Labels `a`}}] {{join .Binds `,`}}",
            "[<no value>] [] ",
        ),
    ] {
        assert_eq!(
            render(template, &data, false).as_deref(),
            Ok(expected),
            "{template}"
        );
    }
    let error = render("{{.Health.Status}}", &data, false).map_err(|error| error.to_string());
    let expected = r#"template: :1:9: executing "" at <.Health.Status>: nil pointer evaluating interface {}.Status"#;
    assert_eq!(error, Err(expected.to_owned()));
}

#[test]
fn nesting_and_recursion_are_bounded() {
    let parens = format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(matches!(
        Template::parse(&parens),
        Err(TemplateError::Parse { .. })
    ));
    let blocks = format!("{}{}", "{{if 1}}".repeat(5000), "{{end}}".repeat(5000));
    assert!(matches!(
        Template::parse(&blocks),
        Err(TemplateError::Parse { .. })
    ));
    let chain = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(5000));
    assert!(matches!(
        Template::parse(&chain),
        Err(TemplateError::Parse { .. })
    ));
    let endless = r#"{{define "a"}}{{if true}}{{template "a"}}{{end}}{{end}}{{template "a"}}"#;
    let error = render(endless, &Value::Null, false).map_err(|error| error.to_string());
    let expected = "exceeded maximum template depth";
    assert!(
        error.as_ref().is_err_and(|error| error.contains(expected)),
        "{error:?}"
    );
    // Without the limit, twice as much work for each of the 99 letters.
    let doubling = r#"{{define "a"}}{{if .}}{{template "a" slice . 1}}{{template "a" slice . 1}}{{end}}{{end}}{{template "a" printf "%99d" 1}}"#;
    for text in [doubling, "{{range 1000000000}}{{end}}"] {
        let error = render(text, &Value::Null, false).map_err(|error| error.to_string());
        let expected = "exceeded maximum of 1000000 rounds";
        assert!(
            error.as_ref().is_err_and(|error| error.contains(expected)),
            "{error:?}"
        );
    }
}

/// Each call quotes what the call before it has quoted.
#[test]
fn texts_that_double_are_bounded() {
    let text = r#"{{define "a"}}{{template "a" json .}}{{end}}{{template "a" json "\""}}"#;
    let error = render(text, &Value::Null, false).map_err(|error| error.to_string());
    assert!(
        error
            .as_ref()
            .is_err_and(|error| error.contains("bytes of text")),
        "{error:?}"
    );
}

/// Broken templates end in an error or in some output, never in a panic.
#[test]
fn mangled_templates_do_no_harm() {
    let data = container();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    let scraps = [
        "{{", "}}", "{{-", "-}}", "(", ")", "|", ".", "$", "$x", " := ", "=", "\"", "`", "'", "\\",
        "/*", "*/", "é", "\n", "range ", "end", "else", "if ", "with ", "nil", "0x", "1e9", "-",
        "printf ", "%[1]*", "%", "index ", "slice ", ",",
    ];
    let sources: Vec<&str> = OUTPUTS
        .iter()
        .chain(ERRORS)
        .map(|(template, _)| *template)
        .collect();
    for _ in 0..20_000 {
        let mut template: Vec<char> = sources[random(sources.len())].chars().collect();
        for _ in 0..=random(4) {
            let at = random(template.len() + 1);
            match random(3) {
                0 => {
                    template.splice(at..at, scraps[random(scraps.len())].chars());
                }
                1 => {
                    template.drain(at..(at + random(4)).min(template.len()));
                }
                _ => {
                    let other: Vec<char> = sources[random(sources.len())].chars().collect();
                    let from = random(other.len() + 1);
                    template.splice(at..at, other[from..].iter().copied());
                }
            }
        }
        let template: String = template.into_iter().collect();
        // Counting to a billion is what such a template asks for; it is not a defect.
        if !template.contains("range 1e9") {
            drop(render(&template, &data, random(2) == 0));
        }
    }
}
