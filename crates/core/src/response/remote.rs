//! What a remote's answer is worth, before any of its bytes is passed on.

use super::conditions::names_hash;
use super::{ByteRange, Refusal};

/// The head of a remote's answer to GET, asked for one range or for the whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoteAnswer<'a> {
    /// The status.
    pub status: u16,
    /// `Content-Range`, where CORS shows it.
    pub content_range: Option<&'a [u8]>,
    /// `Content-Length`; leave it out if there is a `Content-Encoding`, whose length it is then.
    pub content_length: Option<&'a [u8]>,
    /// `ETag`, where CORS shows it.
    pub etag: Option<&'a [u8]>,
}

/// Which bytes of the remote's content are the ones that were wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteBody {
    /// Bytes to drop first: the remote sent more than it was asked for, as it may.
    pub skip: u64,
    /// Bytes to pass on then. If fewer come, the answer is broken off; if more, they are dropped.
    pub take: u64,
}

/// Why an answer can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteFault {
    /// Neither 200 nor 206.
    Status(u16),
    /// Its total, its range or its entity tag says that these are other bytes.
    Mismatch,
}

impl RemoteAnswer<'_> {
    /// Checks the answer against the blob's hash and size, and the range that was asked for. The entity tag of
    /// a remote is the hash.
    pub fn judge(&self, hash: &str, size: u64, wanted: ByteRange) -> Result<RemoteBody, RemoteFault> {
        let sent = match self.status {
            200 => ByteRange { start: 0, end: size },
            206 => self.range_sent(size)?,
            status => return Err(RemoteFault::Status(status)),
        };
        let covers = sent.start <= wanted.start && wanted.end <= sent.end;
        let is_other = self.etag.is_some_and(|field| names_hash(field, hash) != Some(true));
        let has_other_length =
            self.content_length.is_some_and(|field| decimal(field) != Some(sent.end - sent.start));
        if !covers || is_other || has_other_length {
            return Err(RemoteFault::Mismatch);
        }
        Ok(RemoteBody { skip: wanted.start - sent.start, take: wanted.end - wanted.start })
    }

    /// Reads `bytes first-last/total` (RFC 9110, 14.4). A 206 that does not show its range is of no
    /// use: nothing says where its bytes belong.
    fn range_sent(&self, size: u64) -> Result<ByteRange, RemoteFault> {
        let text = self.content_range.and_then(|field| core::str::from_utf8(field).ok());
        let parts = text.and_then(|text| {
            let (unit, rest) = text.trim().split_once(' ')?;
            let (range, total) = rest.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            let numbers = (decimal(first.as_bytes())?, decimal(last.as_bytes())?, decimal(total.as_bytes())?);
            unit.eq_ignore_ascii_case("bytes").then_some(numbers)
        });
        match parts {
            Some((first, last, total)) if first <= last && last < total && total == size => {
                Ok(ByteRange { start: first, end: last + 1 })
            }
            _ => Err(RemoteFault::Mismatch),
        }
    }
}

impl From<RemoteFault> for Refusal {
    fn from(fault: RemoteFault) -> Self {
        match fault {
            RemoteFault::Status(status) => Self::RemoteStatus { status },
            RemoteFault::Mismatch => Self::RemoteMismatch,
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(digits).ok()?.trim();
    // `parse` alone would take a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
