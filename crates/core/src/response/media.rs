//! What a stored file may be shown as: media types that are passive, and attachments for the rest.

/// A declared media type, made fit for a header.
pub(super) struct MediaType {
    /// `type/subtype`, with parameters where they are harmless.
    pub(super) value: String,
    /// Whether it is to be saved, not shown, and sandboxed if shown nevertheless.
    pub(super) attachment: bool,
}

impl MediaType {
    /// Reads what a record declares; what is not a media type becomes `application/octet-stream`.
    pub(super) fn of(declared: &str) -> Self {
        let (essence, parameters) = match declared.split_once(';') {
            Some((essence, parameters)) => (essence.trim().to_ascii_lowercase(), parameters.trim()),
            None => (declared.trim().to_ascii_lowercase(), ""),
        };
        let (kind, subtype) = essence.split_once('/').unwrap_or_default();
        if declared.len() > MAX_MEDIA_TYPE_BYTES || !is_token(kind) || !is_token(subtype) {
            return Self { value: OCTET_STREAM.to_owned(), attachment: true };
        }
        let attachment = !is_shown(kind, subtype);
        // A comma would begin another type, and browsers take the last (Fetch, "extract a MIME type").
        let harmless =
            parameters.bytes().all(|byte| is_token_byte(byte) || matches!(byte, b';' | b'=' | b' '));
        let value =
            if harmless && !parameters.is_empty() { format!("{essence}; {parameters}") } else { essence };
        Self { value, attachment }
    }
}

/// `Content-Disposition: attachment` with the file's name (RFC 6266): plain where it is plain, else
/// with an ASCII stand-in and the name itself as `filename*` (RFC 8187). Control characters, CR and
/// LF among them, are dropped.
pub(super) fn attachment(name: &str) -> String {
    let name = shortened(name);
    if name.is_empty() {
        return "attachment".to_owned();
    }
    // `%` is read as an escape by some browsers, `\` and `"` would need escapes that others misread.
    let is_plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%');
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", extended(&name))
}

/// A PDF is passive, but only as an attachment. Anything `+xml` is a document that can hold scripts,
/// whatever type it stands under.
fn is_shown(kind: &str, subtype: &str) -> bool {
    match kind {
        "image" => PASSIVE_IMAGES.contains(&subtype),
        "audio" | "video" | "font" => !subtype.ends_with("+xml"),
        "text" => subtype == "plain",
        _ => false,
    }
}

/// Without control characters; at most [`MAX_NAME_BYTES`] of it, the extension kept.
fn shortened(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).collect();
    if clean.len() <= MAX_NAME_BYTES {
        return clean;
    }
    let extension = clean
        .rfind('.')
        .map(|at| &clean[at..])
        .filter(|text| text.len() <= MAX_EXTENSION_BYTES)
        .unwrap_or_default();
    let stem_end = clean.floor_char_boundary(MAX_NAME_BYTES - extension.len());
    format!("{}{extension}", &clean[..stem_end])
}

/// RFC 8187, 3.2.1: all but `attr-char` as percent and two digits.
fn extended(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    text
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// RFC 9110, 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const OCTET_STREAM: &str = "application/octet-stream";
const PASSIVE_IMAGES: [&str; 6] = ["avif", "bmp", "gif", "jpeg", "png", "webp"];
const MAX_MEDIA_TYPE_BYTES: usize = 255;
const MAX_NAME_BYTES: usize = 255;
const MAX_EXTENSION_BYTES: usize = 16;
const HEX: &[u8; 16] = b"0123456789ABCDEF";
