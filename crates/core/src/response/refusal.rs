//! Why a request gets no bytes, told apart by status and code.

/// A request that is answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 404: no file under this URL, or none any more.
    NotFound,
    /// 405: neither GET nor HEAD.
    MethodNotAllowed,
    /// 412: a precondition did not hold (RFC 9110, 13).
    PreconditionFailed,
    /// 416: nothing of the range lies within the file.
    RangeNotSatisfiable {
        /// The file's length in bytes.
        size: u64,
    },
    /// 502: the remote was reached, and its answer can't be used.
    RemoteStatus {
        /// The status it answered with.
        status: u16,
    },
    /// 502: the remote answered with other bytes than those of the file.
    RemoteMismatch,
    /// 503: the file is not on this device, and the remote can't be reached.
    Offline,
    /// 503: the file is not on this device, and the device that has it has not uploaded it yet.
    NotUploaded,
    /// 503: the browser does not let the records be read.
    StorageUnavailable,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::PreconditionFailed => 412,
            Self::RangeNotSatisfiable { .. } => 416,
            Self::RemoteStatus { .. } | Self::RemoteMismatch => 502,
            Self::Offline | Self::NotUploaded | Self::StorageUnavailable => 503,
        }
    }

    /// The code in the body, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::PreconditionFailed => "precondition_failed",
            Self::RangeNotSatisfiable { .. } => "range_not_satisfiable",
            Self::RemoteStatus { .. } | Self::RemoteMismatch => "remote_error",
            Self::Offline => "offline",
            Self::NotUploaded => "not_uploaded",
            Self::StorageUnavailable => "storage_unavailable",
        }
    }

    /// The sentence in the body, for people: what happened, and what to do.
    pub fn message(&self) -> String {
        match self {
            Self::NotFound => "There is no file at this address. It may have been deleted; check the id.".to_owned(),
            Self::MethodNotAllowed => "Files are read with GET or HEAD. Nothing was changed.".to_owned(),
            Self::PreconditionFailed => "The file is not the version that the request named. Ask again without the precondition.".to_owned(),
            Self::RangeNotSatisfiable { size } => format!("The range lies outside the file, which has {size} bytes. Ask for one within it."),
            Self::RemoteStatus { status } => {
                format!("The file is not on this device, and the remote answered {status}. The record is kept; try again later.")
            }
            Self::RemoteMismatch => "The remote's bytes are not those of the file, and were not used. The record is kept; try again later.".to_owned(),
            Self::Offline => "The file is not on this device, and the remote can't be reached. It will be there when the network is.".to_owned(),
            Self::StorageUnavailable => "The browser did not let the list of files be read, so the file could not be looked up. Nothing was changed; try again.".to_owned(),
            Self::NotUploaded => "The file is not on this device, and was not uploaded yet by the one that has it. It will be there once it is.".to_owned(),
        }
    }

    /// The body. Codes and messages hold nothing that JSON would escape.
    pub(super) fn json(&self) -> String {
        format!(r#"{{"code":"{}","message":"{}"}}"#, self.code(), self.message())
    }
}

/// When to ask again after 503.
pub const RETRY_AFTER_SECONDS: u32 = 5;
