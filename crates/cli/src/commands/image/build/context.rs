//! The build context as a stream: a directory packed while it is sent, or standard input as it is.
//!
//! What `.dockerignore` leaves out is not sent. A Dockerfile from elsewhere goes along under a name that the engine knows to be
//! no part of the context.

use std::fs::File;
use std::io::{self, Cursor, Read, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use archive::{Choice, FileWriter, PackOptions};
use dockerfile::ignore::Ignore;

use crate::failure::{Failure, Outcome};

/// Bytes that packing may be ahead of sending.
const PIPE: usize = 1 << 20;
const DOCKERFILE: &str = "Dockerfile";

/// A tar stream, and where in it the Dockerfile is.
pub(super) struct Context {
    reader: Box<dyn Read>,
    dockerfile: String,
}

impl Context {
    pub(super) fn dockerfile(&self) -> &str {
        &self.dockerfile
    }
}

impl Read for Context {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// `path` is a directory, or `-`; `file` a Dockerfile in it or elsewhere, or `-`.
pub(super) fn open(path: &str, file: Option<&str>) -> Outcome<Context> {
    if path == "-" {
        return from_stdin(file);
    }
    let remote = [
        "http://",
        "https://",
        "git://",
        "ssh://",
        "git@",
        "github.com/",
    ];
    if remote.iter().any(|scheme| path.starts_with(scheme)) {
        return Err(Failure::new(format!(
            "building from {path} is not supported: clone or download it, and build from the directory"
        )));
    }
    let root = PathBuf::from(path);
    let is_directory = std::fs::metadata(&root)
        .map_err(|_| {
            Failure::new(format!(
                "unable to prepare context: path \"{path}\" not found"
            ))
        })?
        .is_dir();
    if !is_directory {
        return Err(Failure::new(format!(
            "unable to prepare context: context must be a directory: {path}"
        )));
    }
    let named = match file {
        Some("-") => Named::Foreign(read_stdin()?, None),
        Some(file) => named(&root, Path::new(file))?,
        None => Named::Own(default(&root)),
    };
    let ignore = ignore_of(&root, &named)?;
    Ok(pack(root, named, ignore))
}

/// Where the Dockerfile is.
enum Named {
    /// In the context.
    Own(PathBuf),
    /// Its text, and where it was found.
    Foreign(Vec<u8>, Option<PathBuf>),
}

fn default(root: &Path) -> PathBuf {
    let lower = PathBuf::from("dockerfile");
    if !root.join(DOCKERFILE).exists() && root.join(&lower).exists() {
        lower
    } else {
        DOCKERFILE.into()
    }
}

fn named(root: &Path, file: &Path) -> Outcome<Named> {
    let not_found = || {
        Failure::new(format!(
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path: {}: no such file or directory",
            file.display()
        ))
    };
    // As typed, or as docker also takes it, from the context's directory.
    let found = if file.exists() {
        file.to_owned()
    } else {
        root.join(file)
    };
    let real = found.canonicalize().map_err(|_| not_found())?;
    let base = root.canonicalize()?;
    // The name within the context, not that of what a link leads to.
    let own = found
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .canonicalize()?;
    match (own.strip_prefix(&base), found.file_name()) {
        (Ok(below), Some(name)) if real.starts_with(&base) => Ok(Named::Own(below.join(name))),
        _ => {
            let text =
                std::fs::read(&real).map_err(|error| Failure::file("open", &found, &error))?;
            Ok(Named::Foreign(text, Some(found)))
        }
    }
}

/// `<Dockerfile>.dockerignore`, else that of the context.
fn ignore_of(root: &Path, named: &Named) -> Outcome<Ignore> {
    let beside = match named {
        Named::Own(path) => Some(root.join(path)),
        Named::Foreign(_, path) => path.clone(),
    };
    let own = beside.map(|path| {
        let mut name = path.into_os_string();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    let path = own
        .filter(|path| path.exists())
        .unwrap_or_else(|| root.join(".dockerignore"));
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ignore::default()),
        Err(error) => return Err(Failure::file("open", &path, &error)),
    };
    Ignore::parse(&text).map_err(|error| {
        Failure::new(format!(
            "error checking context: {}: {error}",
            path.display()
        ))
    })
}

fn from_stdin(file: Option<&str>) -> Outcome<Context> {
    if file == Some("-") {
        return Err(Failure::new(
            "invalid argument: can't use stdin for both build context and dockerfile",
        ));
    }
    if crate::terminal::stdin_is_terminal() {
        return Err(Failure::new(
            "requested build from stdin, but stdin is empty",
        ));
    }
    let mut beginning = Vec::new();
    io::stdin()
        .lock()
        .take(1 << 10)
        .read_to_end(&mut beginning)?;
    if archive::is_tar(beginning.as_slice()) || is_compressed(&beginning) {
        return Ok(Context {
            reader: Box::new(Cursor::new(beginning).chain(io::stdin())),
            dockerfile: file.unwrap_or(DOCKERFILE).to_owned(),
        });
    }
    beginning.extend(read_stdin()?);
    let mut bytes = Vec::new();
    let mut writer = FileWriter::new(&mut bytes);
    writer.file(DOCKERFILE, &beginning)?;
    writer.finish()?;
    Ok(Context {
        reader: Box::new(Cursor::new(bytes)),
        dockerfile: DOCKERFILE.to_owned(),
    })
}

/// Too little of a compressed stream shows no archive.
fn is_compressed(beginning: &[u8]) -> bool {
    let magics: [&[u8]; 4] = [
        &[0x1f, 0x8b, 8],
        &[0x28, 0xb5, 0x2f, 0xfd],
        b"BZh",
        &[0xfd, b'7', b'z', b'X', b'Z', 0],
    ];
    magics.iter().any(|magic| beginning.starts_with(magic))
}

fn read_stdin() -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Packs in a thread; the reader learns at the end whether all went well.
struct Packing {
    pipe: File,
    outcome: Receiver<io::Result<()>>,
    done: bool,
}

impl Read for Packing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.pipe.read(buffer)?;
        if count == 0 && !buffer.is_empty() && !self.done {
            self.done = true;
            let outcome = self.outcome.recv();
            outcome.unwrap_or_else(|_| Err(io::Error::other("packing ended unexpectedly")))?;
        }
        Ok(count)
    }
}

fn pack(root: PathBuf, named: Named, ignore: Ignore) -> Context {
    let foreign = format!(".dockerfile.{:016x}", std::process::id());
    let dockerfile = match &named {
        Named::Own(path) => path.to_string_lossy().into_owned(),
        Named::Foreign(..) => foreign.clone(),
    };
    let (sender, outcome) = channel();
    let reader: Box<dyn Read> = match rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) {
        Err(error) => Box::new(Failing(Some(error.into()))),
        Ok((ours, theirs)) => {
            // Only faster: a smaller pipe does the same.
            rustix::pipe::fcntl_setpipe_size(&theirs, PIPE).unwrap_or_default();
            thread::spawn(move || {
                let packed = write(&root, &named, &foreign, &ignore, &theirs);
                // A reader that left needs no word.
                drop(sender.send(packed));
                drop(theirs);
            });
            Box::new(Packing {
                pipe: File::from(ours),
                outcome,
                done: false,
            })
        }
    };
    Context { reader, dockerfile }
}

/// An error, once.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

fn write(
    root: &Path,
    named: &Named,
    foreign: &str,
    ignore: &Ignore,
    pipe: &OwnedFd,
) -> io::Result<()> {
    let mut out = File::from(pipe.try_clone()?);
    let mut always = vec![PathBuf::from(".dockerignore")];
    match named {
        Named::Own(path) => {
            let mut list = path.clone().into_os_string();
            list.push(".dockerignore");
            always.extend([path.clone(), list.into()]);
        }
        Named::Foreign(text, _) => {
            let mut file = FileWriter::new(&mut out);
            file.file(foreign, text)?;
            file.leave_open()?;
        }
    }
    let choose = |path: &Path| -> Choice {
        if ignore.is_empty() || always.iter().any(|one| one == path) {
            return Choice::Take;
        }
        let text = path.to_string_lossy();
        if !ignore.excludes(&text) {
            return Choice::Take;
        }
        let leads = always.iter().any(|one| one.starts_with(path));
        if leads || ignore.may_contain_exception(&text) {
            Choice::Look
        } else {
            Choice::Leave
        }
    };
    let options = PackOptions {
        choose: Some(&choose),
        as_root: true,
        ..PackOptions::default()
    };
    let opened = File::open(root)?;
    archive::pack(opened.as_fd(), &mut out, &options).map_err(io::Error::other)?;
    out.flush()
}
