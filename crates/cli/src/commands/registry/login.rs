//! `login`: the engine asks the registry, the client keeps what was right.

use std::io::{self, BufRead as _, Read as _, Write as _};

use clap::Args as ClapArgs;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::failure::{Failure, Outcome};
use crate::http::Client;
use crate::logins::{Login, Logins, server_of};
use crate::terminal;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Password
    #[arg(short, long, value_name = "string")]
    password: Option<String>,
    /// Take the password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Username
    #[arg(short, long, value_name = "string")]
    username: Option<String>,
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.password.is_some() {
            eprintln!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            if self.password_stdin {
                return Err(Failure::new(
                    "--password and --password-stdin are mutually exclusive",
                ));
            }
        }
        if self.password_stdin && self.username.as_deref().is_none_or(str::is_empty) {
            return Err(Failure::new(
                "the --password-stdin option requires --username to be set",
            ));
        }
        let server = server_of(self.server.as_deref());
        let mut logins = Logins::load()?;
        if self.username.is_none() && self.password.is_none() {
            let known = logins.get(&server)?;
            if !known.is_empty() {
                println!("Authenticating with existing credentials...");
                match authenticate(client, known) {
                    Ok(login) => return keep(&mut logins, &login),
                    Err(failure) => {
                        eprintln!("Login did not succeed, error: {failure}");
                    }
                }
            }
        }
        let login = Login {
            username: self.username(&server)?,
            password: self.password()?,
            server,
            identity_token: String::new(),
        };
        let login = authenticate(client, login)?;
        keep(&mut logins, &login)
    }

    fn username(&self, server: &str) -> Outcome<String> {
        let asked = match &self.username {
            Some(name) => name.clone(),
            None => {
                interactive()?;
                if server == crate::parse::reference::HUB {
                    println!("Log in with your Docker ID or email address.");
                }
                ask("Username: ")?
            }
        };
        let asked = asked.trim().to_owned();
        if asked.is_empty() {
            return Err(Failure::new("Error: Non-null Username Required"));
        }
        Ok(asked)
    }

    fn password(&self) -> Outcome<String> {
        let password = if self.password_stdin {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        } else if let Some(password) = &self.password {
            password.clone()
        } else {
            interactive()?;
            hidden("Password: ")?
        };
        if password.is_empty() {
            return Err(Failure::new("Error: Password Required"));
        }
        Ok(password)
    }
}

/// The login with what the registry gave in exchange for the password.
fn authenticate(client: &Client, login: Login) -> Outcome<Login> {
    let answer = client.post("/auth", &login.json())?;
    Ok(match answer["IdentityToken"].as_str() {
        Some(token) if !token.is_empty() => Login {
            password: String::new(),
            identity_token: token.to_owned(),
            ..login
        },
        _ => login,
    })
}

fn keep(logins: &mut Logins, login: &Login) -> Outcome<i32> {
    let readable = logins.store(login)?;
    if readable && !login.password.is_empty() {
        eprintln!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/go/credential-store/\n",
            logins.path().display()
        );
    }
    println!("Login Succeeded");
    Ok(0)
}

fn interactive() -> Outcome<()> {
    if terminal::stdin_is_terminal() {
        Ok(())
    } else {
        Err(Failure::new(
            "Error: Cannot perform an interactive login from a non TTY device",
        ))
    }
}

fn ask(prompt: &str) -> Outcome<String> {
    print!("{prompt}");
    io::stdout().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// As [`ask`], without showing what is typed.
pub(crate) fn hidden(prompt: &str) -> Outcome<String> {
    let before = tcgetattr(io::stdin()).map_err(io::Error::from)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &silent).map_err(io::Error::from)?;
    let answer = ask(prompt);
    tcsetattr(io::stdin(), OptionalActions::Now, &before).map_err(io::Error::from)?;
    println!();
    answer
}
