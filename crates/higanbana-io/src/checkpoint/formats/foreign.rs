//! Files of no format that is read: what they are, told by their first bytes.

/// What a file with these first bytes is, and what to do.
pub(super) fn recognise(start: &[u8]) -> (&'static str, &'static str) {
    const DOWNLOAD: &str = "download the file itself";
    const CONVERT: &str = "load it in Python (torch.load(F, weights_only=True)) and save it with safetensors.torch.save_file";
    match start {
        [b'P', b'K', 3, 4, ..] => ("a zip archive (a PyTorch .pt or .ckpt?)", CONVERT),
        [0x80, 2..=5, ..] => ("a Python pickle (.pt, .ckpt or .bin)", CONVERT),
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
