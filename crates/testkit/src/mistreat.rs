//! A proxy that does to a server what networks do.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Treatment {
    #[default]
    Pass,
    /// Whatever is asked, the answer is 500.
    Fail,
    Reset,
    /// Nobody ever answers.
    Hang,
    /// Answers end in the middle.
    Cut,
}

/// Stands before a server until the program ends.
#[derive(Debug)]
pub struct Mistreat {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    treatment: Treatment,
    /// How many connections more are mistreated.
    left: usize,
    open: Vec<TcpStream>,
}

impl State {
    /// How the next connection is treated.
    fn next(&mut self) -> Treatment {
        let Some(left) = self.left.checked_sub(1) else {
            return Treatment::Pass;
        };
        self.left = left;
        self.treatment
    }
}

impl Mistreat {
    /// Before the server on a port of this host.
    #[must_use]
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
        };
        let state = Arc::clone(&proxy.state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = lock(&state);
                state.open.extend(client.try_clone());
                let treatment = state.next();
                drop(state);
                std::thread::spawn(move || treat(client, port, treatment));
            }
        });
        proxy
    }

    /// From now on, for so many connections; those that are open end.
    pub fn treat(&self, treatment: Treatment, connections: usize) {
        let mut state = lock(&self.state);
        (state.treatment, state.left) = (treatment, connections);
        for open in state.open.drain(..) {
            open.shutdown(Shutdown::Both).ok();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn treat(mut client: TcpStream, port: u16, treatment: Treatment) {
    match treatment {
        Treatment::Reset => {}
        Treatment::Hang => {
            // Until the client gives up.
            std::io::copy(&mut client, &mut std::io::sink()).ok();
        }
        Treatment::Fail => {
            let mut request = [0; 4096];
            // Whatever comes first is ignored.
            if client.read(&mut request).is_err() {
                return;
            }
            client
                .write_all(
                    b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops",
                )
                .ok();
            client.shutdown(Shutdown::Write).ok();
            std::io::copy(&mut client, &mut std::io::sink()).ok();
        }
        Treatment::Pass | Treatment::Cut => {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                return;
            };
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let up = std::thread::spawn(move || {
                std::io::copy(&mut from, &mut to).ok();
                to.shutdown(Shutdown::Write).ok();
            });
            let limit = if treatment == Treatment::Cut {
                100
            } else {
                u64::MAX
            };
            std::io::copy(&mut (&server).take(limit), &mut client).ok();
            client.shutdown(Shutdown::Both).ok();
            server.shutdown(Shutdown::Both).ok();
            up.join().ok();
        }
    }
}
