//! The simulator's model of the server passes the backends' conformance suite, as the real server does.

use driftline_sim::server::{Model, SyncServer};
use driftline_testkit::{
    backend::{Answer, MizuBackend, suite},
    block_on, for_each_backend_check,
};

struct Server(Model);

impl MizuBackend for Server {
    async fn post(&mut self, path: &str, body: &str) -> Answer {
        let (status, body) = self.0.handle(0, path, body);
        Answer { status, body }
    }

    async fn trim(&mut self, scope: &str, before: u64) {
        self.0.trim(scope, before);
    }
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                block_on(suite::$name(&mut Server(Model::default())));
            }
        )*
    };
}

for_each_backend_check!(tests);
