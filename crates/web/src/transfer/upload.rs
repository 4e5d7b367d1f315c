//! One upload: ask where the remote is, then send from there.

use std::rc::Rc;

use driftline_core::files::{Digest, Failure, FailureKind};
use driftline_protocol::files::{Sha256Digest, UPLOAD_RESUME_V1, UploadRange, header};
use web_sys::Blob;

use super::{
    control::{Control, failure},
    remote::{Answer, Ask, HttpRemote},
};

/// How often in a row the remote may say that a part begins at the wrong byte.
const MAX_WRONG_OFFSETS: u32 = 3;

/// Sends a blob, from the byte where the remote is.
pub(super) async fn upload(
    remote: &HttpRemote,
    hash: &Digest,
    file: &Blob,
    part_bytes: u64,
    control: &Rc<Control>,
) -> Result<(), Failure> {
    let total = file.size() as u64;
    let mut wrong_offsets = 0;
    'ask: loop {
        let answer =
            remote.send(hash, Ask { method: "HEAD", headers: &[], body: None }, control, |_| {}).await?;
        match answer.status {
            200 | 204 => return Ok(()),
            404 => {}
            _ => return Err(answer.failure()),
        }
        check_limit(&answer, total)?;
        let resumable = answer.header(header::UPLOAD_RESUME).as_deref() == Some(UPLOAD_RESUME_V1);
        if !resumable || total == 0 {
            return whole(remote, hash, file, control).await;
        }
        let mut offset = offset_of(&answer).filter(|offset| *offset < total).unwrap_or(0);
        control.reached(offset);
        loop {
            let answer = part(remote, hash, file, offset, part_bytes, control).await?;
            match answer.status {
                200 | 201 | 204 | 412 => return Ok(()),
                202 => match offset_of(&answer) {
                    Some(next) if next > offset && next < total => {
                        offset = next;
                        wrong_offsets = 0;
                        control.reached(offset);
                    }
                    _ => {
                        return Err(failure(
                            FailureKind::Temporary(None),
                            "The file server said nothing usable about where it is.",
                        ));
                    }
                },
                409 if wrong_offsets < MAX_WRONG_OFFSETS => {
                    wrong_offsets += 1;
                    continue 'ask;
                }
                _ => return Err(answer.failure()),
            }
        }
    }
}

async fn whole(
    remote: &HttpRemote,
    hash: &Digest,
    file: &Blob,
    control: &Rc<Control>,
) -> Result<(), Failure> {
    let headers = [
        ("content-type", MEDIA_TYPE.to_owned()),
        ("if-none-match", "*".to_owned()),
        (header::REPR_DIGEST, Sha256Digest::from_bytes(hash.0).to_repr_digest()),
    ];
    let sent = told(control, 0);
    let answer =
        remote.send(hash, Ask { method: "PUT", headers: &headers, body: Some(file) }, control, sent).await?;
    match answer.status {
        200 | 201 | 204 | 412 => Ok(()),
        _ => Err(answer.failure()),
    }
}

async fn part(
    remote: &HttpRemote,
    hash: &Digest,
    file: &Blob,
    offset: u64,
    part_bytes: u64,
    control: &Rc<Control>,
) -> Result<Answer, Failure> {
    let total = file.size() as u64;
    let bytes = part_bytes.min(total - offset);
    let range = UploadRange::new(offset, bytes, total).expect("a part begins before the end and stops at it");
    let headers = [
        ("content-type", MEDIA_TYPE.to_owned()),
        ("content-range", range.to_string()),
        (header::REPR_DIGEST, Sha256Digest::from_bytes(hash.0).to_repr_digest()),
    ];
    let slice = file
        .slice_with_f64_and_f64(offset as f64, (offset + bytes) as f64)
        .map_err(|_| failure(FailureKind::LocalMissing, "The local copy of the file can't be read."))?;
    let sent = told(control, offset);
    remote.send(hash, Ask { method: "PUT", headers: &headers, body: Some(&slice) }, control, sent).await
}

fn told(control: &Rc<Control>, offset: u64) -> impl Fn(u64) + 'static {
    let control = Rc::clone(control);
    move |sent| control.moved(offset + sent)
}

/// What the remote says it will not take need not be sent to hear it.
fn check_limit(answer: &Answer, total: u64) -> Result<(), Failure> {
    let said = answer.header(header::UPLOAD_LIMIT).unwrap_or_default();
    let limit = said.split(',').find_map(|item| item.trim().strip_prefix("max-size=")?.parse::<u64>().ok());
    match limit {
        Some(limit) if total > limit => Err(failure(
            FailureKind::TooLarge(Some(limit)),
            format!(
                "The file has {total} bytes, and the file server takes at most {limit}. It is kept on this device only."
            ),
        )),
        _ => Ok(()),
    }
}

fn offset_of(answer: &Answer) -> Option<u64> {
    answer.header(header::UPLOAD_OFFSET)?.trim().parse().ok()
}

/// The record knows the type; what the remote is told must not make it serve a page.
const MEDIA_TYPE: &str = "application/octet-stream";
