//! The bytes that a plan asks for, read from the file as the client takes them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, SeekFrom};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use driftline_core::response::Body as PlannedBody;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// A body of one buffer's memory, whatever the size.
pub(super) fn planned_body(planned: PlannedBody, file: File, size: u64) -> Body {
    let segments = match planned {
        PlannedBody::Empty => return Body::empty(),
        PlannedBody::Text(text) => return Body::from(text),
        PlannedBody::Whole if size == 0 => return Body::empty(),
        PlannedBody::Whole => VecDeque::from([Segment::Blob { first: 0, bytes: size }]),
        PlannedBody::Range(range) => {
            VecDeque::from([Segment::Blob { first: range.start, bytes: range.len() }])
        }
        PlannedBody::Multipart { parts, trailer, .. } => {
            let parts = parts.into_iter().flat_map(|part| {
                let blob = Segment::Blob { first: part.range.start, bytes: part.range.len() };
                [Segment::Text(part.head.into()), blob]
            });
            parts.chain([Segment::Text(trailer.into())]).collect()
        }
    };
    let reader = Reader { file: tokio::fs::File::from_std(file), segments, left: 0 };
    Body::from_stream(stream::try_unfold(reader, Reader::next))
}

enum Segment {
    Text(Bytes),
    Blob { first: u64, bytes: u64 },
}

struct Reader {
    file: tokio::fs::File,
    segments: VecDeque<Segment>,
    /// Bytes of the current segment that are still to be read.
    left: u64,
}

impl Reader {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        while self.left == 0 {
            match self.segments.pop_front() {
                None => return Ok(None),
                Some(Segment::Text(text)) => return Ok(Some((text, self))),
                Some(Segment::Blob { first, bytes }) => {
                    self.file.set_max_buf_size(READ_BUFFER_BYTES);
                    self.file.seek(SeekFrom::Start(first)).await?;
                    self.left = bytes;
                }
            }
        }
        let mut buffer =
            BytesMut::with_capacity(READ_BUFFER_BYTES.min(usize::try_from(self.left).unwrap_or(usize::MAX)));
        let mut limited = (&mut self.file).take(self.left);
        if limited.read_buf(&mut buffer).await? == 0 {
            // The head has promised more: the connection must break, so that nobody takes the piece for the whole.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob is shorter than it was"));
        }
        self.left -= buffer.len() as u64;
        Ok(Some((buffer.freeze(), self)))
    }
}

const READ_BUFFER_BYTES: usize = 256 * 1024;
