//! What a Dockerfile says, instruction by instruction, before any variable is replaced.
//!
//! Strings are as written, quotes and `$NAME` included, unless a field says otherwise: whoever executes them expands them with
//! the arguments and environment of that moment.

/// Lines of the file, the first is 1, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lines {
    pub first: usize,
    pub last: usize,
}

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dockerfile {
    /// The character that escapes: a backslash, or a backtick if the `escape` directive says so.
    pub escape: char,
    /// `ARG` before the first `FROM`: visible to `FROM` lines only, and to an `ARG` that names it again.
    pub arguments: Vec<Instruction>,
    pub stages: Vec<Stage>,
    /// What is legal and probably wrong, one sentence each.
    pub warnings: Vec<Warning>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub lines: Lines,
    pub text: String,
}

/// From one `FROM` to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `AS name`, in lower case.
    pub name: Option<String>,
    pub image: String,
    pub platform: Option<String>,
    pub lines: Lines,
    /// The `FROM` line as written, joined.
    pub text: String,
    pub instructions: Vec<Instruction>,
}

/// One instruction and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    pub lines: Lines,
    /// As written, continuation lines joined, heredocs left out: what messages, `history` and errors show.
    pub text: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Add(Copy),
    Copy(Copy),
    /// Names with their default, in order.
    Arg(Vec<(String, Option<String>)>),
    Cmd(Command),
    Entrypoint(Command),
    Env(Vec<(String, String)>),
    Expose(Vec<String>),
    Healthcheck(Healthcheck),
    Label(Vec<(String, String)>),
    Maintainer(String),
    /// An instruction for the images that build upon this one; its text is what is stored.
    Onbuild(Box<Instruction>),
    Run(Run),
    Shell(Vec<String>),
    Stopsignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// The two forms of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// For the shell of the moment.
    Shell(String),
    /// A JSON array: words as they are, nothing expanded.
    Exec(Vec<String>),
}

/// A text that follows its instruction (`<<NAME`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    pub name: String,
    /// Leading tabs are gone already where `<<-` asked for it.
    pub content: String,
    /// Variables in it are replaced: the name was not quoted.
    pub expand: bool,
    /// File descriptor of `3<<NAME`; 0 otherwise.
    pub descriptor: u32,
}

/// `ADD` and `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copy {
    pub sources: Vec<Source>,
    pub destination: String,
    /// A stage by name or number, or an image.
    pub from: Option<String>,
    pub chown: Option<String>,
    pub chmod: Option<String>,
    pub checksum: Option<String>,
    pub exclude: Vec<String>,
    pub link: bool,
    pub parents: bool,
    pub keep_git_dir: bool,
    /// `ADD --unpack`; without it, local archives are unpacked and remote ones are not.
    pub unpack: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(String),
    Heredoc(Heredoc),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    None,
    /// Durations as written (`30s`), parsed and found good.
    Check {
        command: Command,
        interval: Option<String>,
        timeout: Option<String>,
        start_period: Option<String>,
        start_interval: Option<String>,
        retries: Option<u32>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub command: Command,
    /// With a shell command: one whose whole line is `<<NAME` is a script (run by its `#!` line, or by the shell); others are
    /// redirections for the shell, to be given back to it.
    pub heredocs: Vec<Heredoc>,
    pub mounts: Vec<Mount>,
    /// `default`, `none`, `host`.
    pub network: Option<String>,
    /// `sandbox`, `insecure`.
    pub security: Option<String>,
}

/// `RUN --mount`; empty strings where a key was not given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    pub kind: MountKind,
    pub target: String,
    pub source: String,
    pub from: String,
    pub id: String,
    /// `env=` of secrets.
    pub env: Option<String>,
    /// Only where it was said: the default differs by kind.
    pub read_only: Option<bool>,
    pub required: bool,
    /// `shared`, `private`, `locked`.
    pub sharing: Option<String>,
    /// Bytes, as written.
    pub size: Option<String>,
    pub uid: Option<String>,
    pub gid: Option<String>,
    pub mode: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountKind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}
