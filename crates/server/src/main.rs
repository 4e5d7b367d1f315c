//! The `driftline-server` command.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use driftline_server::{Config, Server};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("DRIFTLINE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,driftline_server=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let server = match Server::bind(Config::parse()).await {
        Ok(server) => server,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("driftline-server: {error}{cause}");
            return ExitCode::FAILURE;
        }
    };
    // Whoever started the server reads this line to learn the port; that nobody does is no reason to stop.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "listening on http://{}", server.address()).and_then(|()| out.flush());
    drop(out);
    server.serve(told_to_stop()).await;
    ExitCode::SUCCESS
}

/// Resolves on SIGINT or, where there is one, SIGTERM.
async fn told_to_stop() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                () = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    interrupt.await;
}
