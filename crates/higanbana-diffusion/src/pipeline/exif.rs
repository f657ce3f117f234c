//! Exif that holds a comment and nothing else.

/// Bytes of it in front of the comment's text.
pub(super) const BEFORE: usize = 44 + 8;

/// TIFF of the large-endian kind, whose one directory leads to Exif's own, and that to the tag `UserComment`,
/// in UTF-16: where the web UIs keep the settings of an image that is no PNG.
pub(super) fn exif(comment: &str) -> Vec<u8> {
    const LONG: u16 = 4;
    const UNDEFINED: u16 = 7;
    /// Where the directories begin, each with one entry, and where the comment does.
    const DIRECTORIES: [u32; 3] = [8, 26, 44];
    let text = comment.encode_utf16().flat_map(u16::to_be_bytes);
    let text: Vec<u8> = b"UNICODE\0".iter().copied().chain(text).collect();
    let entries = [
        (0x8769u16, LONG, 1, DIRECTORIES[1]),
        (0x9286u16, UNDEFINED, text.len() as u32, DIRECTORIES[2]),
    ];
    let mut bytes = b"MM\0*".to_vec();
    bytes.extend(DIRECTORIES[0].to_be_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend([0, 1]);
        bytes.extend([tag, kind].into_iter().flat_map(u16::to_be_bytes));
        bytes.extend([count, value].into_iter().flat_map(u32::to_be_bytes));
        bytes.extend([0; 4]);
    }
    bytes.extend(text);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comment_is_where_it_belongs() {
        let exif = exif("lily, ü");
        assert_eq!(exif[44..], *b"UNICODE\0\0l\0i\0l\0y\0,\0 \0\xfc");
        assert_eq!(exif.len(), BEFORE + 2 * 7);
    }
}
