//! `demo`: builds the package, the server and the demo app, and serves them on loopback.

use crate::host::{self, Project};
use crate::{build, setup};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
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
    /// s2-lite, at the port behind driftline-server's, which keeps the files.
    S2,
    /// driftline-server as any mizu server is spoken to: pokes come over mizu's live WebSocket.
    Mizu,
}

impl Backend {
    fn from_name(name: &str) -> Result<Self> {
        match name {
            "server" => Ok(Self::Server),
            "livestore" => Ok(Self::LiveStore),
            "s2" => Ok(Self::S2),
            "mizu" => Ok(Self::Mizu),
            _ => bail!("the demo knows the backends server, livestore, s2 and mizu, not `{name}`"),
        }
    }

    /// What the demo's build calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::LiveStore => "livestore",
            Self::S2 => "s2",
            Self::Mizu => "mizu",
        }
    }

    fn pages(self) -> &'static str {
        match self {
            Self::Server => "examples/demo/dist",
            Self::LiveStore => "examples/demo/dist-livestore",
            Self::S2 => "examples/demo/dist-s2",
            Self::Mizu => "examples/demo/dist-mizu",
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

/// Serves the demo until it is interrupted; the signal goes on to the servers, which stop in an orderly way.
pub fn run(project: &Project, options: Options) -> Result<()> {
    setup::run(project, setup::Purpose::Demo)?;
    let s2_lite = match options.backend {
        Backend::S2 => Some(setup::install_s2_lite(project)?),
        Backend::Server | Backend::LiveStore | Backend::Mizu => None,
    };
    build::run(project, false)?;
    let built = build_app(project, options.backend)?;
    let port = options.port.map_or_else(|| free_port(s2_lite.is_some()), Ok)?;
    let data = options.data.unwrap_or_else(|| project.path("data"));
    std::fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;

    let mut server = project.command(&built.server);
    server.arg("--listen").arg(format!("{}:{port}", Ipv4Addr::LOCALHOST));
    server.arg("--data").arg(&data).arg("--static").arg(&built.pages);
    let mut servers = Servers::default();
    let next = match s2_lite {
        Some(_) => port.checked_add(1).context("s2-lite takes the port behind the demo's: there is none")?,
        None => port,
    };
    if s2_lite.is_some() {
        for host in ["localhost", "127.0.0.1"] {
            server.arg("--connect-to").arg(format!("http://{host}:{next}"));
        }
    }
    servers.start("driftline-server", server, port)?;
    if let Some(program) = s2_lite {
        let mut s2 = project.command(program);
        s2.args(["--no-dashboard", "--port"]).arg(next.to_string());
        s2.arg("--local-root").arg(data.join("s2")).env("RUST_LOG", "warn");
        servers.start("s2-lite", s2, next)?;
        println!(
            "\n  s2-lite listens on port {next} of every network this machine is in, without a password"
        );
    }
    println!("\n  http://localhost:{port}\n\n  data in {}; Ctrl-C stops\n", data.display());
    servers.wait()
}

/// Servers that run until one of them ends, which ends all.
#[derive(Default)]
struct Servers {
    running: Vec<(&'static str, Child)>,
}

impl Servers {
    /// Starts one, and waits until it answers on its port.
    fn start(&mut self, name: &'static str, mut command: Command, port: u16) -> Result<()> {
        let server = command.spawn().with_context(|| format!("cannot start {name}"))?;
        self.running.push((name, server));
        let (_, server) = self.running.last_mut().context("it was put there")?;
        wait_for_port(name, server, port)
    }

    fn wait(mut self) -> Result<()> {
        let pids: Vec<_> = self.running.iter().filter_map(|(_, server)| pid(server)).collect();
        // One that has stopped by itself has nobody left to tell.
        ctrlc::set_handler(move || {
            pids.iter().for_each(|pid| kill(*pid, Signal::SIGINT).unwrap_or_default())
        })?;
        loop {
            for (name, server) in &mut self.running {
                match server.try_wait()? {
                    Some(status) if status.success() => return Ok(()),
                    Some(status) => bail!("{name} stopped with {status}"),
                    None => {}
                }
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for (_, server) in &mut self.running {
            if let (Some(pid), Ok(None)) = (pid(server), server.try_wait()) {
                kill(pid, Signal::SIGINT).unwrap_or_default();
            }
            // It has ended, or is about to: whether well or not is no matter here.
            let _ = server.wait();
        }
    }
}

fn pid(server: &Child) -> Option<Pid> {
    i32::try_from(server.id()).ok().map(Pid::from_raw)
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

/// How often it is looked whether a server has ended or answers.
const POLL: Duration = Duration::from_millis(50);

/// The first free port; with `and_next`, the one behind it is free, too.
fn free_port(and_next: bool) -> Result<u16> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (FIRST_PORT..FIRST_PORT + PORTS_TRIED)
        .find(|port| is_free(*port) && (!and_next || is_free(port + 1)))
        .with_context(|| {
            format!("no port is free in {FIRST_PORT}..{}: say one with --port", FIRST_PORT + PORTS_TRIED)
        })
}

fn wait_for_port(name: &str, server: &mut Child, port: u16) -> Result<()> {
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if let Some(status) = server.try_wait()? {
            bail!("{name} stopped at its start with {status}");
        }
        if started.elapsed() > Duration::from_millis(START_TIMEOUT_MS) {
            bail!("{name} does not answer on port {port}");
        }
        std::thread::sleep(POLL);
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
        assert_eq!(options(&["--backend", "mizu"]).expect("it is known").backend, Backend::Mizu);
        let error = options(&["--backend", "fax"]).expect_err("no such backend").to_string();
        assert!(error.contains("fax") && error.contains("s2"), "{error}");
    }

    #[test]
    fn an_option_without_its_value_is_refused() {
        assert!(options(&["--port"]).is_err());
    }
}
