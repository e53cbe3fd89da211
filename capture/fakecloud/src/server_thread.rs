//! A world that is served by a thread of its own, for programs that do something else meanwhile.
#![expect(
    clippy::disallowed_types,
    reason = "the listener is made by whoever knows where, and handed on as it is"
)]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use crate::server::{Shared, serve_shared};

/// The thread; it ends with this value.
#[derive(Debug)]
pub struct ServerThread {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ServerThread {
    /// Serves a world that others use too. The listener is one of the namespace in which it was made.
    ///
    /// # Errors
    /// When the host gives no runtime or thread.
    pub fn start(listener: TcpListener, world: Shared) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("cloud".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(async {
                // Whoever calls finds nobody if it fails, and says so.
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    _ = serve_shared(listener, world) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            // It has ended already if nobody listens.
            stop.send(()).ok();
            thread.join().ok();
        }
    }
}
