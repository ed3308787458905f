//! The worker threads, and what the control thread tells them.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;

use crate::http::connection::{self, Drain};
use crate::listener::{Listener, accept};
use crate::observe::access_log::Log;
use crate::pipeline::Pipeline;
use crate::worker::{Parts, Worker};

/// What a worker is told.
enum Order {
    /// Accept on this socket until the listener stops.
    Accept(Arc<Listener>, std::net::TcpListener),
    /// Go on with another access log.
    Log(Option<Log>),
    /// Let connections end, at most this long, then end.
    Drain(Duration),
}

/// All workers.
pub struct Workers {
    orders: Vec<mpsc::UnboundedSender<Order>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a thread for each of `parts`.
    pub fn start(parts: Vec<Parts>) -> io::Result<Workers> {
        let mut workers = Workers { orders: Vec::new(), threads: Vec::new() };
        for parts in parts {
            let (orders, received) = mpsc::unbounded_channel();
            // A runtime that runs local tasks stays on its thread, so whether there is one is told from there.
            let (told, started) = std::sync::mpsc::sync_channel(1);
            let thread =
                std::thread::Builder::new().name(format!("worker-{}", parts.index)).spawn(move || {
                    match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                        Ok(runtime) => {
                            let _ = told.send(Ok(()));
                            runtime.block_on(work(parts, received));
                        }
                        Err(error) => drop(told.send(Err(error))),
                    }
                })?;
            started.recv().map_err(io::Error::other)??;
            workers.orders.push(orders);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.orders.len()
    }

    /// Gives each worker one of a listener's sockets.
    pub fn accept(&self, listener: &Arc<Listener>, sockets: Vec<std::net::TcpListener>) {
        for (orders, socket) in self.orders.iter().zip(sockets) {
            let _ = orders.send(Order::Accept(listener.clone(), socket));
        }
    }

    /// Gives each worker another access log.
    pub fn replace_logs(&self, mut log: impl FnMut() -> Option<Log>) {
        for orders in &self.orders {
            let _ = orders.send(Order::Log(log()));
        }
    }

    /// Tells all to let their connections end.
    pub fn drain(&self, patience: Duration) {
        for orders in &self.orders {
            let _ = orders.send(Order::Drain(patience));
        }
    }

    /// Whether all threads have ended.
    pub fn ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

async fn work(parts: Parts, mut orders: mpsc::UnboundedReceiver<Order>) {
    let worker = Rc::new(Worker::new(parts));
    let pipeline = Rc::new(Pipeline::new(worker.clone()));
    let drain = Drain::new();
    keep_flushed(worker.log());
    let patience = loop {
        match orders.recv().await {
            Some(Order::Accept(listener, socket)) => {
                tokio::task::spawn_local(accept_all(
                    listener,
                    socket,
                    worker.clone(),
                    pipeline.clone(),
                    drain.clone(),
                ));
            }
            Some(Order::Log(log)) => {
                worker.replace_log(log);
                keep_flushed(worker.log());
            }
            Some(Order::Drain(patience)) => break patience,
            // Whoever gave the orders is gone: the process is ending.
            None => break Duration::ZERO,
        }
    };
    drain.begin();
    if tokio::time::timeout(patience, drain.emptied()).await.is_err() {
        tracing::warn!(
            connections = drain.open(),
            "connections were still open when the time to drain was over"
        );
    }
    worker.replace_log(None);
}

fn keep_flushed(log: Option<Rc<Log>>) {
    if let Some(log) = log {
        tokio::task::spawn_local(async move { log.keep_flushed().await });
    }
}

async fn accept_all(
    listener: Arc<Listener>,
    socket: std::net::TcpListener,
    worker: Rc<Worker>,
    pipeline: Rc<Pipeline>,
    drain: Drain,
) {
    let address = listener.address();
    let refusals = Cell::new(0u64);
    let refused: accept::OnRefused = Rc::new(move |peer, _trusted, _full| {
        // One line for each power of two, so that a flood of connections is not a flood of lines.
        refusals.set(refusals.get() + 1);
        if refusals.get().is_power_of_two() {
            tracing::warn!(%peer, %address, refused = refusals.get(), "a connection was over the limit and closed");
        }
    });
    let take = |accepted| {
        let (worker, pipeline, drain) = (worker.clone(), pipeline.clone(), drain.clone());
        tokio::task::spawn_local(async move {
            worker.cells.connection_opened();
            let _closed = Closed(worker);
            connection::serve(accepted, pipeline, drain).await;
        });
    };
    if let Err(error) = accept::run(listener, socket, refused, take).await {
        tracing::error!(%error, %address, "a listener ended");
    }
}

/// Counts the connection as closed, however its task ends.
struct Closed(Rc<Worker>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.cells.connection_closed();
    }
}
