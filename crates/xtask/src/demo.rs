//! `demo`: builds the package, the server and the demo app, and serves them on loopback.

use crate::host::{self, Project};
use crate::{build, setup};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

/// What the command line says.
#[derive(Debug, Default)]
pub struct Options {
    /// The port to listen on; without it, the first free one from 8787.
    port: Option<u16>,
    /// Where the server keeps its database and its files.
    data: Option<PathBuf>,
    /// Which of the server's wires the page syncs by.
    backend: Backend,
}

/// What the demo's page syncs with.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// driftline-server by its own wire, mizu's.
    #[default]
    Server,
    /// driftline-server's `/livestore`.
    LiveStore,
}

impl Backend {
    fn from_name(name: &str) -> Result<Self> {
        match name {
            "server" => Ok(Self::Server),
            "livestore" => Ok(Self::LiveStore),
            _ => bail!("the demo knows the backends server and livestore, not `{name}`"),
        }
    }

    /// What the demo's build calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::LiveStore => "livestore",
        }
    }

    fn pages(self) -> &'static str {
        match self {
            Self::Server => "examples/demo/dist",
            Self::LiveStore => "examples/demo/dist-livestore",
        }
    }
}

impl Options {
    /// Reads `--port N`, `--data DIR` and `--backend NAME`.
    pub fn from_arguments(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let value = words
                .next()
                .with_context(|| format!("`{word}` needs a value, or is not an option of demo"))?;
            match word.as_str() {
                "--port" => {
                    options.port = Some(value.parse().with_context(|| format!("`{value}` is no port"))?)
                }
                "--data" => options.data = Some(std::path::absolute(value)?),
                "--backend" => options.backend = Backend::from_name(value)?,
                _ => bail!("demo takes --port N, --data DIR and --backend NAME, not `{word}`"),
            }
        }
        Ok(options)
    }
}

/// Serves the demo until it is interrupted; the signal goes on to the server, which stops in an orderly way.
pub fn run(project: &Project, options: Options) -> Result<()> {
    setup::run(project, setup::Purpose::Demo)?;
    build::run(project, false)?;
    let built = build_app(project, options.backend)?;
    let port = options.port.map_or_else(free_port, Ok)?;
    let data = options.data.unwrap_or_else(|| project.path("data"));
    std::fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;

    let mut server = project.command(&built.server);
    server.arg("--listen").arg(format!("{}:{port}", Ipv4Addr::LOCALHOST));
    server.arg("--data").arg(&data).arg("--static").arg(&built.pages);
    let mut server = server.spawn().context("cannot start driftline-server")?;
    let pid = Pid::from_raw(i32::try_from(server.id()).context("a process id fits")?);
    // The server may have stopped by itself: then there is nobody left to tell.
    ctrlc::set_handler(move || kill(pid, Signal::SIGINT).unwrap_or_default())?;

    wait_for_port(&mut server, port)?;
    println!("\n  http://localhost:{port}\n\n  data in {}; Ctrl-C stops\n", data.display());
    let status = server.wait()?;
    if !status.success() {
        bail!("driftline-server stopped with {status}");
    }
    Ok(())
}

/// The built demo.
pub struct Built {
    /// The server's program.
    pub server: PathBuf,
    /// The folder of the demo's pages.
    pub pages: PathBuf,
}

/// Builds the server and the demo's pages; `dist/` must be there.
pub fn build_app(project: &Project, backend: Backend) -> Result<Built> {
    host::run(project.cargo().args(["build", "--quiet", "--package", "driftline-server"]))?;
    let mut node = project.command("node");
    host::run(node.arg("examples/demo/build.mjs").env("DRIFTLINE_DEMO_BACKEND", backend.name()))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.path("target"), PathBuf::from);
    Ok(Built { server: target.join("debug/driftline-server"), pages: project.path(backend.pages()) })
}

const FIRST_PORT: u16 = 8787;
const PORTS_TRIED: u16 = 100;
const START_TIMEOUT_MS: u64 = 20_000;

fn free_port() -> Result<u16> {
    (FIRST_PORT..FIRST_PORT + PORTS_TRIED)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .with_context(|| {
            format!("no port is free in {FIRST_PORT}..{}: say one with --port", FIRST_PORT + PORTS_TRIED)
        })
}

fn wait_for_port(server: &mut Child, port: u16) -> Result<()> {
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if let Some(status) = server.try_wait()? {
            bail!("driftline-server stopped at its start with {status}");
        }
        if started.elapsed() > Duration::from_millis(START_TIMEOUT_MS) {
            server.kill()?;
            bail!("driftline-server does not answer on port {port}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Result<Options> {
        Options::from_arguments(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_port_and_the_folder_may_be_chosen() {
        let options = options(&["--port", "9000", "--data", "here"]).expect("both are known");
        assert_eq!(options.port, Some(9000));
        assert!(options.data.expect("it was given").is_absolute());
    }

    #[test]
    fn a_port_that_is_no_number_is_named_in_the_error() {
        assert!(format!("{:#}", options(&["--port", "many"]).expect_err("no number")).contains("many"));
    }

    #[test]
    fn the_backend_may_be_chosen_among_those_there_are() {
        assert_eq!(options(&[]).expect("all have defaults").backend, Backend::Server);
        assert_eq!(options(&["--backend", "livestore"]).expect("it is known").backend, Backend::LiveStore);
        let error = options(&["--backend", "fax"]).expect_err("no such backend").to_string();
        assert!(error.contains("fax") && error.contains("livestore"), "{error}");
    }

    #[test]
    fn an_option_without_its_value_is_refused() {
        assert!(options(&["--port"]).is_err());
    }
}
