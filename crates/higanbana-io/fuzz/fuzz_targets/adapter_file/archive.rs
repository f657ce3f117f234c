//! Mutates the pickle inside an archive of torch's, whose checksums no mutation of the whole would pass.

use std::io::{Cursor, Read, Write};

use libfuzzer_sys::fuzzer_mutate;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// How much longer a mutation may make a pickle.
const GROWTH: usize = 64;

/// The archive with its pickle mutated; none where it is no archive, has no pickle, or would not fit in
/// `max_size`.
pub fn mutate(file: &[u8], max_size: usize) -> Option<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(file)).ok()?;
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    let mut is_mutated = false;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).ok()?;
        let name = entry.name().ok()?.to_string();
        if !name.ends_with("data.pkl") || is_mutated {
            drop(entry);
            out.raw_copy_file(archive.by_index_raw(index).ok()?).ok()?;
            continue;
        }
        let mut pickle = Vec::new();
        entry.by_ref().take(max_size as u64).read_to_end(&mut pickle).ok()?;
        let size = pickle.len();
        pickle.resize(size + GROWTH, 0);
        let size = fuzzer_mutate(&mut pickle, size, size + GROWTH);
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        out.start_file(name, stored).ok()?;
        out.write_all(&pickle[..size]).ok()?;
        is_mutated = true;
    }
    let mutated = out.finish().ok()?.into_inner();
    (is_mutated && mutated.len() <= max_size).then_some(mutated)
}
