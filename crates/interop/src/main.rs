//! `driftline-interop SUITE` lists the checks of a suite; `driftline-interop SUITE URL CHECK` runs one.

use std::process::ExitCode;

use driftline_interop::{Dialect, Remote, S2Remote};
use driftline_testkit::livestore::{v03, v04};
use driftline_testkit::s2::{direct, proxy};
use driftline_testkit::{
    for_each_livestore_v03_check, for_each_livestore_v04_check, for_each_s2_check, for_each_s2_proxy_check,
};

const USAGE: &str = "driftline-interop livestore-0.4|livestore-0.3|s2|sync-s2 [URL CHECK]";

macro_rules! v04_checks {
    ($($name:ident)*) => {
        const V04: &[&str] = &[$(stringify!($name)),*];

        async fn run_v04(server: &mut Remote, check: &str) -> bool {
            match check {
                $(stringify!($name) => v04::$name(server).await,)*
                _ => return false,
            }
            true
        }
    };
}

macro_rules! v03_checks {
    ($($name:ident)*) => {
        const V03: &[&str] = &[$(stringify!($name)),*];

        async fn run_v03(server: &mut Remote, check: &str) -> bool {
            match check {
                $(stringify!($name) => v03::$name(server).await,)*
                _ => return false,
            }
            true
        }
    };
}

macro_rules! s2_checks {
    ($($name:ident)*) => {
        const S2: &[&str] = &[$(stringify!($name)),*];

        async fn run_s2(server: &mut S2Remote, check: &str) -> bool {
            match check {
                $(stringify!($name) => direct::$name(server).await,)*
                _ => return false,
            }
            true
        }
    };
}

macro_rules! s2_proxy_checks {
    ($($name:ident)*) => {
        const S2_PROXY: &[&str] = &[$(stringify!($name)),*];

        async fn run_s2_proxy(server: &mut S2Remote, check: &str) -> bool {
            match check {
                $(stringify!($name) => proxy::$name(server).await,)*
                _ => return false,
            }
            true
        }
    };
}

for_each_livestore_v04_check!(v04_checks);
for_each_livestore_v03_check!(v03_checks);
for_each_s2_check!(s2_checks);
for_each_s2_proxy_check!(s2_proxy_checks);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let is_known = match arguments[..] {
        ["livestore-0.4"] => list(V04),
        ["livestore-0.3"] => list(V03),
        ["s2"] => list(S2),
        ["sync-s2"] => list(S2_PROXY),
        ["livestore-0.4", url, check] => run_v04(&mut Remote::new(Dialect::V04, url), check).await,
        ["livestore-0.3", url, check] => run_v03(&mut Remote::new(Dialect::V03, url), check).await,
        ["s2", url, check] => run_s2(&mut S2Remote::new(url), check).await,
        ["sync-s2", url, check] => run_s2_proxy(&mut S2Remote::new(url), check).await,
        _ => false,
    };
    if is_known {
        return ExitCode::SUCCESS;
    }
    eprintln!("{USAGE}");
    ExitCode::FAILURE
}

fn list(checks: &[&str]) -> bool {
    checks.iter().for_each(|check| println!("{check}"));
    true
}
