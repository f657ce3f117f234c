//! Files of no format that is read: what they are, told by their first bytes.

/// What a file with these first bytes is, and what to do.
pub(super) fn recognise(start: &[u8]) -> (&'static str, &'static str) {
    const DOWNLOAD: &str = "download the file itself";
    match start {
        [b'G', b'G', b'U', b'F', ..] => ("a GGUF file", "use the unquantised model"),
        _ if start.starts_with(b"version https://git-lfs") => {
            ("a Git LFS pointer", "run `git lfs pull` in its repository")
        }
        [b'<', ..] => ("a web page", DOWNLOAD),
        [b'{', ..] => ("plain text or JSON", "name the file of the weights"),
        _ => (
            "of an unknown format",
            "name a .safetensors, .pt, .bin or .ckpt file, or download it again",
        ),
    }
}
