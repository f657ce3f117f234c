use higanbana_diffusion::pipeline::{Pixels, png};

use super::*;
use crate::data::Resolution;

fn concept(folder: &Path) -> Concept {
    let text = format!("folder = {:?}", folder.display().to_string());
    toml::from_str(&text).unwrap()
}

fn found(concept: Concept) -> Result<Found, TrainError> {
    let concepts = vec![concept];
    let resolution = Resolution::Side(2);
    let data = Data {
        resolution,
        buckets: None,
        captions: Default::default(),
        backgrounds: None,
        alpha_mask: false,
        chunks: 1,
        clip_skip: 0,
        cache: None,
        concepts,
    };
    scan(&data, &data.concepts)
}

/// A folder of images of one pixel, and of other files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image = || png([1, 1], &[9; 3], "").unwrap();
        let bytes = if is_image(&path) { image() } else { bytes.to_vec() };
        fs::write(path, bytes).unwrap();
    }
    folder
}

/// The captions, and what else there is to say, of which `/.../` is the folder.
fn told(files: &[(&str, &[u8])], change: impl Fn(&mut Concept)) -> (Vec<String>, Vec<String>) {
    let folder = folder(files);
    let mut concept = concept(folder.path());
    change(&mut concept);
    let found = found(concept).unwrap();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let place = folder.path().display().to_string();
    let notes = found.notes.lines().into_iter().map(|note| note.replace(&place, ""));
    (found.pictures.into_iter().map(|it| it.caption).collect(), notes.collect())
}

#[test]
fn a_sheet_is_its_images_row_by_row() {
    let folder = tempfile::tempdir().unwrap();
    // Two rows of two squares of 2 pixels, each of one grey.
    let grey = |x: usize, y: usize| (10 * (y / 2 * 2 + x / 2)) as u8;
    let rgb: Vec<u8> = (0..16).flat_map(|i| [grey(i % 4, i / 4); 3]).collect();
    fs::write(folder.path().join("s.png"), png([4, 4], &rgb, "").unwrap()).unwrap();
    fs::write(folder.path().join("s.txt"), "a\nb\n c \nd\n").unwrap();
    let concept = Concept { repeats: 3, sheet: Some(2), ..concept(folder.path()) };
    let Found { pictures, problems, notes } = found(concept.clone()).unwrap();
    assert!(problems.is_empty() && notes.lines().is_empty());
    let captions: Vec<&str> = pictures.iter().map(|picture| &*picture.caption).collect();
    assert_eq!(captions, ["a", "b", "c", "d"]);
    for (index, picture) in pictures.iter().enumerate() {
        let rgb = vec![10 * index as u8; 12];
        let file = ImageFile::read(&picture.path).unwrap();
        assert_eq!(picture.of(&file), (Pixels { size: [2, 2], rgb }, None));
        assert_eq!((picture.size, picture.repeats), ([2, 2], 3));
    }
    assert!(pictures.windows(2).all(|pair| pair[0].hash != pair[1].hash));

    // One image of four pixels a side, from the same corner, is another image.
    fs::write(folder.path().join("s.txt"), "a").unwrap();
    let whole = found(Concept { sheet: Some(4), ..concept }).unwrap().pictures;
    assert_ne!(whole[0].hash, pictures[0].hash);
}

#[test]
fn squares_behind_the_last_caption_of_a_sheet_are_blank() {
    let folder = tempfile::tempdir().unwrap();
    let concept = Concept { sheet: Some(2), ..concept(folder.path()) };
    let told = |fourth: [u8; 3], captions: &str| {
        // Two rows of two squares of 2 pixels: three grey ones, and one of this colour.
        let at = |i: usize| if i % 4 / 2 + i / 8 == 2 { fourth } else { [90; 3] };
        let rgb: Vec<u8> = (0..16).flat_map(at).collect();
        fs::write(folder.path().join("s.png"), png([4, 4], &rgb, "").unwrap()).unwrap();
        fs::write(folder.path().join("s.txt"), captions).unwrap();
        let found = found(concept.clone()).unwrap();
        let captions = found.pictures.into_iter().map(|it| it.caption).collect::<Vec<_>>();
        (captions.join(" "), found.problems.into_iter().map(|it| it.reason).collect::<Vec<_>>())
    };
    for blank in [[0; 3], [255; 3]] {
        assert_eq!(told(blank, "a\nb\nc\n"), ("a b c".into(), vec![]));
    }
    let wrong =
        |captions| (String::new(), vec![format!("has 4 squares of 2, and captions {captions}")]);
    assert_eq!(told([0, 0, 9], "a\nb\nc\n"), wrong(3));
    assert_eq!(told([0; 3], "a\nb\n"), wrong(2));
    assert_eq!(told([0; 3], "a\nb\nc\nd\ne\n"), wrong(5));
}

#[test]
fn a_caption_may_be_called_in_four_ways() {
    for name in ["x.txt", "x.TXT", "x.caption", "x.png.txt", "x.png.caption"] {
        let told = told(&[("x.png", b""), (name, b"a lily")], |_| ());
        assert_eq!(told, (vec!["a lily".into()], vec![]), "{name}");
    }
    let files: [(&str, &[u8]); 4] =
        [("x.png", b""), ("x.png.txt", b"c"), ("x.caption", b"b"), ("x.txt", b"a")];
    let (captions, notes) = told(&files, |_| ());
    assert_eq!(captions, ["a"]);
    let expected = "2 texts are passed over: the image has another caption (/x.caption and 1 more)";
    assert_eq!(notes, [expected]);
    // The concept's is for images that have none.
    let given = |concept: &mut Concept| concept.caption = Some("rose".into());
    assert_eq!(told(&[("x.png", b""), ("x.caption", b"a")], given).0, ["a"]);
}

#[test]
fn of_a_text_the_first_line_counts_and_of_a_table_all_of_it() {
    let text: &[u8] = b"\xef\xbb\xbf\n red \n\nlily\r\nwet\n";
    let (captions, notes) = told(&[("x.png", b""), ("x.txt", text)], |_| ());
    assert_eq!(captions, ["red"]);
    let dropped = "2 more dropped; captions.wildcards takes any of them (/x.txt)";
    assert_eq!(notes, [format!("1 caption is the first line of a file, {dropped}")]);
    let wild = |concept: &mut Concept| {
        concept.captions = Some(crate::data::Captions { wildcards: true, ..Default::default() });
    };
    let (captions, notes) = told(&[("x.png", b""), ("x.txt", text)], wild);
    assert_eq!((captions[0].lines().count(), notes.len()), (4, 0));

    let line = br#"{"file_name": "x.png", "text": "red\nlily"}"#;
    let (captions, notes) =
        told(&[("x.png", b""), ("metadata.jsonl", line), ("x.txt", b"a")], |_| ());
    assert_eq!(captions, ["red\nlily"]);
    assert_eq!(notes, ["1 text is passed over: the image has another caption (/x.txt)"]);
}

#[test]
fn nothing_is_passed_over_in_silence() {
    let line = br#"{"file_name": "train/x.png", "text": "a"}"#;
    let files: [(&str, &[u8]); 18] = [
        ("a.png", b""),
        ("a.txt", b"a"),
        ("train/x.png", b""),
        // Of which the table has no line.
        ("train/y.png", b""),
        ("metadata.jsonl", line),
        ("b.avif", b"x"),
        ("c.HEIC", b"x"),
        ("d.txt", b"x"),
        ("e.npz", b"x"),
        ("0_none/a.png", b""),
        ("2_lily/a.png", b""),
        ("sub/a.png", b""),
        ("sub/a.txt", b"a"),
        ("sub/deep/b.jpg", b""),
        ("sub/deep/b.heic", b"x"),
        ("notes/deep/a.md", b"x"),
        ("notes/a.md", b"x"),
        (".hidden.png", b""),
    ];
    let (captions, notes) = told(&files, |_| ());
    assert_eq!(captions, ["a", "a", "lily"]);
    let expected = [
        "2 images are passed over: no decoder; save as PNG, JPEG or WebP (/b.avif and 1 more)",
        "1 text is passed over: no image has the name (/d.txt)",
        "1 file is passed over: neither image nor caption (/e.npz)",
        "4 images in 2 folders are passed over: folders named as 10_cat are read, and those of concepts (/sub and 1 more)",
        "1 image in 1 folder is passed over: the name counts them 0 times (/0_none)",
    ];
    assert_eq!(notes, expected);

    let folder = folder(&[("10_lily/a.png", b"")]);
    let own = folder.path().join("10_lily");
    let caption = Some("rose".to_string());
    let own = Concept { caption, ..concept(&own) };
    let notes = found(own.clone()).unwrap().notes.lines();
    assert!(
        notes[0].starts_with(
            "1 folder has a number in its name that does not count: set repeats = 10 ("
        )
    );
    assert_eq!(found(Concept { repeats: 10, ..own }).unwrap().notes, Notes::default());
    let empty = self::folder(&[("a.avif", b"x")]);
    let error = found(concept(empty.path())).unwrap_err().to_string();
    assert!(error.contains("holds no image that can be read, and no folder named as 10_cat"));
    assert!(error.contains("; 1 image is passed over: no decoder; save as PNG"), "{error}");
}

#[test]
fn utf_16_is_no_caption() {
    let utf16: Vec<u8> = "lily".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xff\xfe", &utf16[..]].concat();
    for (text, expected) in
        [(&utf16, "has NUL characters, as UTF-16 has; save it as UTF-8"), (&marked, "is not UTF-8")]
    {
        let folder = folder(&[("x.png", b""), ("x.txt", text)]);
        let problems = found(concept(folder.path())).unwrap().problems;
        assert!(problems[0].reason.ends_with(&format!("x.txt {expected}")), "{problems:?}");
    }
    let line = br#"{"file_name": "x.png", "text": "l\u0000i"}"#;
    let folder = folder(&[("x.png", b""), ("metadata.jsonl", line)]);
    let error = found(concept(folder.path())).unwrap_err().to_string();
    assert!(error.contains("metadata.jsonl: line 1 has NUL characters"), "{error}");
}
