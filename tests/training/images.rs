//! Image files, their backgrounds and their sizes, to Pillow's bytes; and diffusers' average of weights.

use std::{
    fs,
    path::{Path, PathBuf},
};

use higanbana_diffusion::pipeline::{ImageFile, Pixels};
use higanbana_io::Checkpoint;
use higanbana_train::{
    data::{
        background::Colour,
        bucket::{Fit, View},
        resample::resized,
    },
    weights::{self, Weights, warmed},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/images")
}

fn expected() -> Checkpoint {
    Checkpoint::open(folder().join("expected.safetensors")).unwrap()
}

fn bytes(file: &Checkpoint, name: &str) -> Vec<u8> {
    file.read(name).unwrap().iter::<u8>().collect()
}

/// What Pillow reads of each file, by its name.
fn files() -> Vec<(String, ImageFile)> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    // What the toolkit has written itself is read in the tests of JPEG.
    let others = ["expected.safetensors", "jpeg.safetensors", "written.jpg"];
    let images = entries.filter(|path| !others.iter().any(|other| path.ends_with(other)));
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
    images.map(|path| (name(&path), ImageFile::read(&path).unwrap())).collect()
}

#[test]
fn files_are_seen_as_by_pillow() {
    let expected = expected();
    let files = files();
    assert_eq!(files.len(), 20);
    for (name, found) in files {
        let rgb = format!("rgb.{name}");
        assert_eq!(found.pixels.size, expected.info(&rgb).unwrap().shape[..2], "{name}");
        let off = found.pixels.rgb.iter().zip(bytes(&expected, &rgb));
        let off = off.map(|(found, expected)| found.abs_diff(expected)).max().unwrap();
        // JPEG leaves the rounding to the decoder.
        assert!(off <= if name.ends_with("jpg") { 4 } else { 0 }, "{name}: off by {off}");
        let alpha = format!("alpha.{name}");
        let alpha = expected.info(&alpha).map(|_| bytes(&expected, &alpha));
        assert_eq!(found.alpha, alpha, "{name}");
        assert_eq!(found.turned, name.starts_with("exif"), "{name}");
    }
}

#[test]
fn colours_show_through_as_in_pillow() {
    let (expected, colour) = (expected(), Colour::try_from("#3050e0".to_string()).unwrap());
    let mut count = 0;
    for (name, ImageFile { mut pixels, alpha, .. }) in files() {
        let Some(alpha) = alpha else { continue };
        colour.put_behind(&mut pixels.rgb, &alpha);
        assert_eq!(pixels.rgb, bytes(&expected, &format!("behind.{name}")), "{name}");
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn images_are_scaled_to_the_bytes_of_pillow() {
    let expected = expected();
    let pixels = bytes(&expected, "pixels");
    for [width, height] in
        [[10, 26], [20, 50], [12, 40], [46, 30], [23, 40], [30, 61], [60, 100], [23, 61]]
    {
        let name = match [width, height] {
            [23, 61] => "pixels".to_string(),
            _ => format!("scaled.{width}x{height}"),
        };
        let whole = bytes(&expected, &name);
        let scaled = [width, height];
        let view = Fit { scaled, bucket: scaled }.middle(false);
        assert_eq!(resized::<3>(&pixels, [61, 23], &view), whole, "{name}");

        // A part from any corner, mirrored.
        let fit = Fit { scaled, bucket: [4, 5] };
        let [left, top] = fit.room();
        let view = View { fit, corner: [left, top - 1], mirrored: true };
        let part = (top - 1..top + 4).flat_map(|y| (left..left + 4).rev().map(move |x| (y, x)));
        let part = part.flat_map(|(y, x)| whole[(y * width + x) * 3..][..3].to_vec());
        assert_eq!(resized::<3>(&pixels, [61, 23], &view), part.collect::<Vec<_>>(), "{name}");
    }
}

/// 110 kB of zeros unpack to 112 MB, of which 900 million pixels were made.
#[test]
fn images_have_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let error = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        ImageFile::read(&path).unwrap_err().to_string().split_once(": ").unwrap().1.to_string()
    };
    let bound = "is 30000x30000, more than the 178956970 pixels that are read; make it smaller";
    let chunk = |kind: &[u8], data: &[u8]| {
        let mut crc = !0u32;
        for byte in kind.iter().chain(data) {
            crc ^= u32::from(*byte);
            (0..8).for_each(|_| crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 });
        }
        let length = (data.len() as u32).to_be_bytes();
        [&length[..], kind, data, &(!crc).to_be_bytes()[..]].concat()
    };
    let side = 30000u32.to_be_bytes();
    let header = chunk(b"IHDR", &[&side[..], &side[..], &[1, 0, 0, 0, 0][..]].concat());
    let png = [b"\x89PNG\r\n\x1a\n", &header[..], &chunk(b"IDAT", &[0; 8])[..]].concat();
    assert_eq!(error("bomb.png", &png), bound);

    let read = |name: &str| fs::read(self::folder().join(name)).unwrap();
    let little = 30000u32.to_le_bytes();
    let mut bmp = read("true.bmp");
    bmp[18..22].copy_from_slice(&little);
    bmp[22..26].copy_from_slice(&little);
    assert_eq!(error("bomb.bmp", &bmp), bound);
    let mut gif = read("palette.gif");
    gif[6..8].copy_from_slice(&little[..2]);
    gif[8..10].copy_from_slice(&little[..2]);
    assert_eq!(error("bomb.gif", &gif), bound);
    let mut jpeg = read("exif.jpg");
    let frame = jpeg.windows(2).position(|it| it == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 7].copy_from_slice(&side[2..]);
    jpeg[frame + 7..frame + 9].copy_from_slice(&side[2..]);
    assert_eq!(error("bomb.jpg", &jpeg), bound);

    let bmp = read("true.bmp");
    assert_eq!(error("half.bmp", &bmp[..bmp.len() / 2]), "is truncated");
    let tiff = read("alpha.tiff");
    assert!(error("half.tif", &tiff[..tiff.len() / 2]).starts_with("is damaged ("));
    assert_eq!(error("other.png", b"RIFF"), "is no PNG, JPEG, WebP, BMP, GIF or TIFF");
}

#[test]
fn the_average_warms_up_as_in_diffusers() {
    let expected = expected();
    let of = |x: f32| Weights::from([("a".to_string(), [x].into())]);
    for decay in [0.9999, 0.25] {
        let means = expected.read(&format!("average.{decay}")).unwrap();
        let mut average = of(0.0);
        for (step, expected) in means.iter::<f64>().enumerate() {
            weights::average(&mut average, &of(step as f32 + 1.0), warmed(decay, step));
            let found = average["a"].iter::<f64>().sum::<f64>();
            assert!((found / expected - 1.0).abs() < 1e-6, "{decay} {step}: {found} {expected}");
        }
    }
}

/// Pixels that are opaque have no alpha to lose.
#[test]
fn what_is_written_is_read() {
    let pixels = Pixels { size: [1, 2], rgb: vec![1, 2, 3, 4, 5, 6] };
    let png = higanbana_diffusion::pipeline::png(pixels.size, &pixels.rgb, "").unwrap();
    let read = ImageFile::decode(Path::new("x"), &png).unwrap();
    assert_eq!(read, ImageFile { pixels, alpha: None, turned: false });
}
