//! A line between a lockkeeper and its server, which can be cut: nothing passes then, and nobody is told.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Connections to a port of this machine.
pub(crate) struct Link {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    is_over: bool,
    /// The ports from which the server is connected to.
    ports: Vec<u16>,
}

impl Shared {
    /// Returns at once, or when the line is whole again.
    fn pass(&self) {
        let state = self.state.lock().unwrap();
        let _whole = self.changed.wait_while(state, |state| state.is_cut);
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut buffer).unwrap_or_default();
            self.pass();
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                let _ = to.shutdown(Shutdown::Write); // it may have ended
                let _ = from.shutdown(Shutdown::Read);
                return;
            }
        }
    }
}

impl Link {
    /// A whole line to a server on this machine.
    pub(crate) fn to(server: u16) -> Link {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let link = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                link.pass();
                let client = client.unwrap();
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
                let mut state = link.state.lock().unwrap();
                if state.is_over {
                    return;
                }
                state.ports.push(server.local_addr().unwrap().port());
                drop(state);
                let (back, forth) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (one, other) = (Arc::clone(&link), Arc::clone(&link));
                thread::spawn(move || one.carry(client, forth));
                thread::spawn(move || other.carry(server, back));
            }
        });
        Link { port, shared }
    }

    /// Where it begins.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From where the server is connected to.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.shared.state.lock().unwrap().ports.clone()
    }

    /// Cuts the line, or makes it whole: what was on its way arrives then.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.shared.state.lock().unwrap().is_cut = is_cut;
        self.shared.changed.notify_all();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().is_over = true;
        self.cut(false);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)); // so that it looks
    }
}
