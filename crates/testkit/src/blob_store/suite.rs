//! What every blob store must pass, one function a behaviour.

use driftline_core::files::Digest;
use sha2::{Digest as _, Sha256};

use super::{BlobHarness, BlobStore, blob_path};

/// More than one chunk of any store, and not a round number.
const LARGE_BYTES: usize = 3 * 1024 * 1024 + 17;

/// FIPS 180-4's own example, so that a shared mistake in hashing would show.
pub async fn a_blob_is_named_by_the_sha_256_of_its_bytes<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("named").await;
    let (hash, size) = save(&store, b"abc").await;
    assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((size, store.size(&hash).await), (3, Some(3)));
    assert_eq!(harness.paths("named").await, [blob_path(&hash)]);
}

/// An empty file is a file.
pub async fn nothing_at_all_is_a_blob_too<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("empty").await;
    let (hash, size) = save(&store, b"").await;
    assert_eq!(hash.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!((size, store.size(&hash).await), (0, Some(0)));
    assert_eq!(store.sweep(&[]).await, [(hash, 0)], "and it stands");
}

/// However the bytes come.
pub async fn pieces_of_any_size_make_the_blob_that_their_sum_makes<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("pieces").await;
    let bytes = large();
    let expected = digest(&bytes);
    for piece_bytes in [1_000_003, 65_536, bytes.len()] {
        let mut writer = store.begin().await;
        for piece in bytes.chunks(piece_bytes) {
            store.write(&mut writer, piece).await;
        }
        assert_eq!(store.publish(writer).await, (expected, bytes.len() as u64), "in pieces of {piece_bytes}");
    }
    assert_eq!(digest(&store.read(&expected, 0, u64::MAX).await.expect("published")), expected);
}

/// The end is exclusive, and may lie beyond the last byte.
pub async fn a_part_is_read_as_it_was_written<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("parts").await;
    let bytes = large();
    let (hash, size) = save(&store, &bytes).await;
    for (start, end) in [(0, 1), (1_048_570, 1_048_590), (size - 1, size), (size - 5, size + 5), (7, 7)] {
        let part = store.read(&hash, start, end).await.expect("published");
        assert_eq!(part, bytes[start as usize..bytes.len().min(end as usize)], "from {start} to {end}");
    }
}

/// A final name means complete.
pub async fn nothing_shows_before_it_is_published<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("hidden").await;
    let mut writer = store.begin().await;
    store.write(&mut writer, b"half").await;
    assert_eq!(store.size(&digest(b"half")).await, None);
    assert!(harness.paths("hidden").await.iter().all(|path| path.starts_with("tmp/")));
    store.discard(writer).await;
}

/// Neither a name nor a temporary.
pub async fn a_discarded_save_leaves_nothing<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("discarded").await;
    let mut writer = store.begin().await;
    store.write(&mut writer, &large()).await;
    store.discard(writer).await;
    assert_eq!(harness.paths("discarded").await, [""; 0]);
}

/// The second save finds the first's blob and drops its own.
pub async fn the_same_bytes_saved_twice_are_one_blob<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("twice").await;
    let first = save(&store, b"same").await;
    assert_eq!(save(&store, b"same").await, first);
    assert_eq!(harness.paths("twice").await, [blob_path(&first.0)]);
}

/// In one tab and in two.
pub async fn saves_side_by_side_do_not_touch_each_other<H: BlobHarness>(harness: &mut H) {
    let (store, other) = (harness.open("side").await, harness.open("side").await);
    let (mut a, mut b, mut c) = (store.begin().await, store.begin().await, other.begin().await);
    for _ in 0..3 {
        store.write(&mut a, b"a").await;
        store.write(&mut b, b"bb").await;
        other.write(&mut c, b"a").await;
    }
    let published = (store.publish(a).await, store.publish(b).await, other.publish(c).await);
    assert_eq!(published, ((digest(b"aaa"), 3), (digest(b"bbbbbb"), 6), (digest(b"aaa"), 3)));
    assert_eq!(other.read(&digest(b"bbbbbb"), 0, 9).await.as_deref(), Some(&b"bbbbbb"[..]));
}

/// Deletion is not for ever.
pub async fn a_removed_blob_is_gone_and_can_be_saved_again<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("removed").await;
    let (hash, _) = save(&store, b"gone").await;
    store.remove(&hash).await;
    assert_eq!((store.size(&hash).await, store.read(&hash, 0, 1).await), (None, None));
    assert_eq!(save(&store, b"gone").await.0, hash);
    assert_eq!(store.size(&hash).await, Some(4));
}

/// Also where its folder was never made.
pub async fn removing_what_is_not_there_is_no_error<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("absent").await;
    store.remove(&digest(b"never")).await;
    assert_eq!(store.size(&digest(b"never")).await, None);
}

/// A database's name is not a path.
pub async fn databases_keep_apart_whatever_their_names<H: BlobHarness>(harness: &mut H) {
    let names = ["apart", "apart/blobs", "apart:user-42", "APART", "ä%2F", ".."];
    for name in names {
        let store = harness.open(name).await;
        save(&store, name.as_bytes()).await;
    }
    for name in names {
        assert_eq!(harness.paths(name).await, [blob_path(&digest(name.as_bytes()))], "{name}");
    }
}

/// Also for another tab.
pub async fn a_blob_is_there_when_the_store_is_opened_again<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("again").await;
    let (hash, size) = save(&store, b"kept").await;
    let other = harness.open("again").await;
    assert_eq!(other.size(&hash).await, Some(size));
    drop((store, other));
    assert_eq!(harness.open("again").await.size(&hash).await, Some(size));
}

/// Temporaries and swap files of tabs that are gone, empty blobs, and files that are no blobs.
pub async fn a_sweep_removes_what_a_crash_left_and_keeps_what_is_right<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("swept").await;
    let kept = save(&store, b"right").await;
    let (empty, misplaced) = (digest(b"cut off"), digest(b"elsewhere"));
    for (path, bytes) in [
        ("tmp/999999-1".to_owned(), &b"half"[..]),
        ("tmp/999999-2.crswap".to_owned(), b"half"),
        (blob_path(&empty), b""),
        (format!("{}.crswap", blob_path(&empty)), b"half"),
        (format!("blobs/{:02x}/{misplaced}", misplaced.0[0] ^ 1), b"elsewhere"),
        (format!("blobs/{:02x}/notes.txt", kept.0.0[0]), b"?"),
    ] {
        harness.litter("swept", &path, bytes).await;
    }
    assert_eq!(store.sweep(&[kept]).await, [kept]);
    assert_eq!(harness.paths("swept").await, [blob_path(&kept.0)]);
}

/// The state knows how many bytes there were.
pub async fn a_sweep_removes_a_blob_of_the_wrong_size<H: BlobHarness>(harness: &mut H) {
    let store = harness.open("wrong").await;
    let hash = digest(b"whole blob");
    harness.litter("wrong", &blob_path(&hash), b"whole").await;
    assert_eq!(store.sweep(&[(hash, 10)]).await, []);
    assert_eq!(store.size(&hash).await, None);
}

/// It is no crash as long as the tab lives.
pub async fn a_sweep_leaves_alone_what_another_tab_is_writing<H: BlobHarness>(harness: &mut H) {
    let (store, other) = (harness.open("living").await, harness.open("living").await);
    let mut own = store.begin().await;
    let mut foreign = other.begin().await;
    store.write(&mut own, b"own").await;
    other.write(&mut foreign, b"foreign").await;
    store.sweep(&[]).await;
    assert_eq!(store.publish(own).await.0, digest(b"own"));
    assert_eq!(other.publish(foreign).await.0, digest(b"foreign"));
}

async fn save<S: BlobStore>(store: &S, bytes: &[u8]) -> (Digest, u64) {
    let mut writer = store.begin().await;
    store.write(&mut writer, bytes).await;
    store.publish(writer).await
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Bytes without a short period, so that a piece at the wrong place shows.
fn large() -> Vec<u8> {
    (0..LARGE_BYTES as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
