//! The testkit's suite for servers of mizu's wire, over real HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::TestServer;
use driftline_testkit::backend::{Answer, MizuBackend, suite};

struct OverHttp(TestServer);

impl MizuBackend for OverHttp {
    async fn post(&mut self, path: &str, body: &str) -> Answer {
        let (status, body) = self.0.post(path, body.to_owned()).await;
        Answer { status, body }
    }

    async fn trim(&mut self, scope: &str, before: u64) {
        self.0.engine.trim(scope, before).unwrap();
    }
}

macro_rules! checks {
    ($($name:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            suite::$name(&mut OverHttp(TestServer::start().await)).await;
        })*
    };
}

driftline_testkit::for_each_backend_check!(checks);
