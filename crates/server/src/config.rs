//! What the server is told when it starts: flags, or environment variables of the same names.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use driftline_protocol::files::{DEFAULT_MAX_FILE_BYTES, MAX_BLOB_BYTES};

/// Driftline's reference server: sync, pokes and files over HTTP.
#[derive(Debug, Clone, Parser)]
#[command(name = "driftline-server", version)]
pub struct Config {
    /// Directory of the database and the files; made if it is not there.
    #[arg(long, env = "DRIFTLINE_DATA", value_name = "DIR", default_value = "./data")]
    pub data: PathBuf,

    /// Address to listen on; port 0 takes a free one. The URL is printed on standard output.
    #[arg(long, env = "DRIFTLINE_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8787")]
    pub listen: SocketAddr,

    /// Directory of a web app to serve at `/`.
    #[arg(long = "static", env = "DRIFTLINE_STATIC", value_name = "DIR")]
    pub static_dir: Option<PathBuf>,

    /// Largest file that is taken, in bytes.
    #[arg(long, env = "DRIFTLINE_MAX_FILE_BYTES", value_name = "N", default_value_t = DEFAULT_MAX_FILE_BYTES,
        value_parser = clap::value_parser!(u64).range(1..=MAX_BLOB_BYTES))]
    pub max_file_bytes: u64,

    /// Origin whose pages may use this server across origins, such as https://app.example; repeatable. Without any, only
    /// pages that the server itself serves may.
    #[arg(long, env = "DRIFTLINE_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = parse_origin)]
    pub allow_origin: Vec<String>,

    /// Origin that the web app's pages may connect to besides this server, such as http://localhost:8788; repeatable.
    #[arg(long, env = "DRIFTLINE_CONNECT_TO", value_name = "ORIGIN", value_delimiter = ',', value_parser = parse_origin)]
    pub connect_to: Vec<String>,

    /// Token that whoever uses the server must show; repeatable. It comes as `Authorization: Bearer`, and from LiveStore's
    /// clients as `authToken` in the payload. Without any, everybody may.
    #[arg(
        long,
        env = "DRIFTLINE_AUTH_TOKEN",
        value_name = "TOKEN",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub auth_token: Vec<String>,

    /// Scope that is served; repeatable. Without any, all are.
    #[arg(long, env = "DRIFTLINE_ALLOW_SCOPE", value_name = "SCOPE", value_delimiter = ',')]
    pub allow_scope: Vec<String>,

    /// Entity that snapshots show even while it has no row; repeatable.
    #[arg(long, env = "DRIFTLINE_ENTITY", value_name = "NAME", value_delimiter = ',')]
    pub entity: Vec<String>,
}

/// An origin is scheme, host and port as a browser writes them, with no path.
fn parse_origin(text: &str) -> Result<String, String> {
    let uri: axum::http::Uri =
        text.parse().map_err(|_| "not an origin such as https://app.example".to_owned())?;
    match (uri.scheme_str(), uri.authority(), uri.path_and_query().map(|path| path.as_str())) {
        (Some(scheme @ ("http" | "https")), Some(authority), None | Some("/")) if !text.ends_with('/') => {
            Ok(format!("{scheme}://{}", authority.as_str().to_ascii_lowercase()))
        }
        _ => {
            Err("an origin has a scheme, http or https, and a host, and no path: https://app.example"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_defaults_and_limits() {
        let parse = |flags: &[&str]| Config::try_parse_from(["driftline-server"].iter().chain(flags));
        let config = parse(&[]).expect("all flags have defaults");
        assert_eq!((config.listen.port(), config.max_file_bytes), (8787, 2 * 1024 * 1024 * 1024));
        assert!(config.listen.ip().is_loopback());
        assert!(parse(&["--max-file-bytes", "0"]).is_err());
        assert!(parse(&["--max-file-bytes", "17179869185"]).is_err());
        assert!(parse(&["--listen", "here"]).is_err());
        let config = parse(&["--allow-origin", "https://A.example", "--allow-origin", "http://b.example:81"]);
        assert_eq!(config.expect("valid").allow_origin, ["https://a.example", "http://b.example:81"]);
        let config = parse(&["--connect-to", "http://localhost:8788"]).expect("valid");
        assert_eq!(config.connect_to, ["http://localhost:8788"]);
        for origin in ["a.example", "https://a.example/", "https://a.example/x", "ftp://a.example", "*"] {
            assert!(parse(&["--allow-origin", origin]).is_err(), "{origin}");
        }
    }
}
