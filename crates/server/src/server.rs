//! Opening, serving, stopping.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::engine::{Engine, EntityMutator, LocalPokes, Mutator, SqliteStorage};
use crate::error::{Error, Result};
use crate::files::{BlobStore, PartialLocks};
use crate::livestore::EventLogs;
use crate::metrics::Metrics;
use crate::routes::sockets::MAX_SOCKETS;
use crate::routes::{self, App};
use crate::writer::Writer;

/// A server that is bound to its address, with its storage open.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    engine: Arc<Engine>,
    writer: JoinHandle<()>,
    stopping: CancellationToken,
    /// Held while the server lives: two servers on one directory would take each other's partials for their own.
    _data_lock: std::fs::File,
}

impl Server {
    /// Opens the storage and binds the address, with the generic mutator.
    ///
    /// # Errors
    /// If the directory can't be used or is in use, or the address can't be bound.
    pub async fn bind(config: Config) -> Result<Self> {
        let mutator = EntityMutator::new().with_entities(config.entity.clone());
        Self::bind_with(config, mutator).await
    }

    /// The same with a mutator of the app's own.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub async fn bind_with(config: Config, mutator: impl Mutator) -> Result<Self> {
        let data_lock = lock_directory(&config)?;
        let storage = SqliteStorage::open(&config.data.join(DATABASE_FILE))?;
        let event_logs = Arc::new(EventLogs::open(&config.data.join(EVENTS_FILE))?);
        let blobs = Arc::new(BlobStore::open(&config.data)?);
        let swept = blobs.sweep(SystemTime::now())?;
        if swept > 0 {
            tracing::info!(swept, "removed what interrupted uploads had left");
        }
        let pokes = Arc::new(LocalPokes::new());
        let mut engine = Engine::new(storage, mutator).with_broker(pokes.clone());
        if !config.allow_scope.is_empty() {
            engine = engine.with_scopes(config.allow_scope.clone());
        }
        let engine = Arc::new(engine);
        let (writer, writer_thread) = Writer::start(Arc::clone(&engine))?;
        let stopping = CancellationToken::new();
        let binding = |error| Error::storage(&format!("binding {}", config.listen), error);
        let listener = TcpListener::bind(config.listen).await.map_err(binding)?;
        let address = listener.local_addr().map_err(binding)?;
        let router = routes::router(App {
            engine: Arc::clone(&engine),
            writer,
            pokes,
            event_logs,
            stores: Arc::new(LocalPokes::new()),
            blobs,
            partial_locks: PartialLocks::default(),
            metrics: Metrics::default(),
            config,
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
            stopping: stopping.clone(),
        });
        Ok(Self { listener, address, router, engine, writer: writer_thread, stopping, _data_lock: data_lock })
    }

    /// The address that the server listens on, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The engine, for what has no route.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Serves until `stop` resolves; then takes no more requests, ends the event streams, lets the others finish for at
    /// most [`DRAIN_TIMEOUT`], and closes the storage.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { listener, router, engine, writer, stopping, .. } = self;
        let connected = TaskTracker::new();
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut stop = pin!(stop);
        loop {
            let accept = async {
                let permit = Arc::clone(&connections).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, stream) = tokio::select! {
                () = &mut stop => break,
                (permit, accepted) = accept => match accepted {
                    Ok((stream, _)) => (permit, stream),
                    Err(error) => {
                        // Out of file descriptors, mostly: connections that end give some back.
                        tracing::warn!(%error, "accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let mut connection = Box::pin(connection(stream, router.clone()));
            let stopping = stopping.clone();
            connected.spawn(async move {
                let _permit = permit;
                let done = tokio::select! {
                    done = connection.as_mut() => done,
                    () = stopping.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                if let Err(error) = done {
                    tracing::debug!(%error, "connection");
                }
            });
        }
        drop(listener);
        stopping.cancel();
        tracing::info!("stopping");
        connected.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, connected.wait()).await.is_err() {
            tracing::warn!("some requests did not finish in time and are cut off");
        }
        drop((router, engine));
        // The thread ends with the last request that can push; one that was cut off may still hold on.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, tokio::task::spawn_blocking(move || writer.join())).await;
    }
}

type Service = TowerToHyperService<Router>;
type Io = TokioIo<std::pin::Pin<Box<TimeoutStream<TcpStream>>>>;

fn connection(stream: TcpStream, router: Router) -> http1::UpgradeableConnection<Io, Service> {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router))
        .with_upgrades()
}

fn lock_directory(config: &Config) -> Result<std::fs::File> {
    let opening = |error: std::io::Error| {
        Error::storage(&format!("opening the data directory {}", config.data.display()), error)
    };
    std::fs::create_dir_all(&config.data).map_err(opening)?;
    let file = std::fs::File::create(config.data.join(LOCK_FILE)).map_err(opening)?;
    file.try_lock().map_err(|error| {
        let doing =
            format!("locking the data directory {}, which another server uses", config.data.display());
        Error::storage(&doing, std::io::Error::from(error))
    })?;
    Ok(file)
}

/// How long requests may go on once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

const DATABASE_FILE: &str = "driftline.sqlite";
const EVENTS_FILE: &str = "livestore.sqlite";
const LOCK_FILE: &str = "lock";
const MAX_CONNECTIONS: usize = 8192;
const MAX_READERS: usize = 8;
const MAX_HEADERS: usize = 100;
/// hyper's buffer: it refuses a head once this much has come without an end, so at the latest at twice that.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Also how long a connection may rest between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that takes nothing for so long is cut.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
