//! Writing what a server sends; only a server has any use for it, and a client's wasm is built without.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{Exit, Failure, Id, Page, PageInfo, ServerFrame};
use crate::livestore::{Event, Optional, Stored};

impl Serialize for ServerFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Chunk { request_id, pages } => {
                map.serialize_entry("_tag", "Chunk")?;
                map.serialize_entry("requestId", &Id(*request_id))?;
                map.serialize_entry("values", pages)?;
            }
            Self::Exit { request_id, exit } => {
                map.serialize_entry("_tag", "Exit")?;
                map.serialize_entry("requestId", &Id(*request_id))?;
                map.serialize_entry("exit", exit)?;
            }
            Self::Defect { message } => {
                map.serialize_entry("_tag", "Defect")?;
                map.serialize_entry("defect", message)?;
            }
            Self::Pong => map.serialize_entry("_tag", "Pong")?,
        }
        map.end()
    }
}

impl Serialize for Page {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Item<'a> {
            event_encoded: &'a Event,
            metadata: Optional<Metadata<'a>>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata<'a> {
            #[serde(rename = "_tag")]
            kind: &'a str,
            created_at: &'a str,
        }
        struct Batch<'a>(&'a [Stored]);
        impl Serialize for Batch<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.iter().map(|stored| {
                    let metadata = stored
                        .created_at
                        .as_deref()
                        .map(|created_at| Metadata { kind: "SyncMessage.SyncMetadata", created_at });
                    Item { event_encoded: &stored.event, metadata: metadata.into() }
                }))
            }
        }
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("batch", &Batch(&self.batch))?;
        map.serialize_entry("pageInfo", &self.page_info)?;
        map.serialize_entry("backendId", &self.backend_id)?;
        map.end()
    }
}

impl Serialize for PageInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::NoMore => map.serialize_entry("_tag", "NoMore")?,
            Self::MoreUnknown => map.serialize_entry("_tag", "MoreUnknown")?,
            Self::MoreKnown { remaining } => {
                map.serialize_entry("_tag", "MoreKnown")?;
                map.serialize_entry("remaining", remaining)?;
            }
        }
        map.end()
    }
}

impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        match self {
            Self::Success => {
                map.serialize_entry("_tag", "Success")?;
                map.serialize_entry("value", &Empty {})?;
            }
            Self::Failure(failure) => {
                map.serialize_entry("_tag", "Failure")?;
                map.serialize_entry("cause", failure)?;
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Empty {}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged, rename_all_fields = "camelCase")]
        enum Told<'a> {
            Ahead {
                minimum_expected_num: u64,
                provided_num: u64,
                #[serde(rename = "_tag")]
                kind: &'a str,
            },
            Mismatch {
                expected: &'a str,
                received: &'a str,
                #[serde(rename = "_tag")]
                kind: &'a str,
            },
            Other {
                cause: Thrown<'a>,
                #[serde(rename = "_tag")]
                kind: &'a str,
            },
        }
        #[derive(Serialize)]
        struct Thrown<'a> {
            name: &'a str,
            message: &'a str,
        }
        // The published client reads one, and does nothing with it.
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct FiberId<'a> {
            #[serde(rename = "_tag")]
            kind: &'a str,
            id: u64,
            start_time_millis: u64,
        }
        let mut map = serializer.serialize_map(None)?;
        let told = match self {
            Self::Defect { message } => {
                map.serialize_entry("_tag", "Die")?;
                map.serialize_entry("defect", message)?;
                return map.end();
            }
            Self::Interrupted => {
                map.serialize_entry("_tag", "Interrupt")?;
                map.serialize_entry("fiberId", &FiberId { kind: "Runtime", id: 0, start_time_millis: 0 })?;
                return map.end();
            }
            Self::ServerAhead { head, provided } => {
                Told::Ahead { minimum_expected_num: *head, provided_num: *provided, kind: "ServerAheadError" }
            }
            Self::BackendIdMismatch { expected, received } => {
                Told::Mismatch { expected, received, kind: "BackendIdMismatchError" }
            }
            Self::Other { name, message } => {
                Told::Other { cause: Thrown { name, message }, kind: "UnknownError" }
            }
        };
        map.serialize_entry("_tag", "Fail")?;
        map.serialize_entry("error", &told)?;
        map.end()
    }
}
