use std::path::Path;

use super::*;
use crate::pipeline::Pixels;

/// Hills, an edge and noise.
fn image([height, width]: [usize; 2]) -> Vec<u8> {
    let mut noise = 1u32;
    let mut pixel = |y: usize, x: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hill = 127.5 + 120.0 * (x as f64 / 7.0).sin() * (y as f64 / 5.0).cos();
        [hill as u8, if x > y { 255 } else { 0 }, (noise >> 24) as u8]
    };
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (y, x)))
        .flat_map(|(y, x)| pixel(y, x))
        .collect()
}

/// Root of the mean square.
fn rms(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) =
        values.fold((0.0, 0), |(sum, count), value| (sum + value * value, count + 1));
    (sum / f64::from(count)).sqrt()
}

#[test]
fn codes_are_those_of_the_standard() {
    // Tables K.3 and K.5.
    let [dc, ac] = [LUMINANCE.dc, LUMINANCE.ac].map(Codes::of);
    for (value, code) in [(0, "00"), (1, "010"), (5, "110"), (6, "1110"), (11, "111111110")] {
        assert_eq!(dc.text(value), code);
    }
    for (value, code) in [
        (0x00, "1010"),
        (0x01, "00"),
        (0x04, "1011"),
        (0x11, "1100"),
        (0xf0, "11111111001"),
        (0x09, "1111111110000010"),
        (0x0a, "1111111110000011"),
        (0xfa, "1111111111111110"),
    ] {
        assert_eq!(ac.text(value), code, "{value:x}");
    }
}

#[test]
fn steps_bound_the_errors() {
    for size in [[1, 1], [8, 8], [16, 9], [7, 33], [40, 64]] {
        let rgb = image(size);
        let bytes = jpeg(size, &rgb, "lily").unwrap();
        let read = Pixels::decode(Path::new("x"), &bytes).unwrap();
        assert_eq!(read.size, size);
        let brightness = |rgb: &[u8]| weigh(WEIGHTS[0], [0, 1, 2].map(|i| f64::from(rgb[i])));
        let errors = rgb.chunks(3).zip(read.rgb.chunks(3));
        let error = rms(errors.map(|(a, b)| brightness(a) - brightness(b)));
        // Samples of the decoder are whole numbers.
        assert!(error < 3.36 + 0.5, "{size:?}: {error}");
    }
    // What is even stays so, but for rounding.
    let grey = jpeg([9, 9], &[77; 243], "").unwrap();
    let read = Pixels::decode(Path::new("x"), &grey).unwrap();
    assert!(read.rgb.iter().all(|value| value.abs_diff(77) <= 1), "{:?}", &read.rgb[..3]);
}

#[test]
fn a_comment_that_is_too_long_is_cut() {
    let long = "ü".repeat(40_000);
    let bytes = jpeg([1, 1], &[9; 3], &long).unwrap();
    assert!(Pixels::decode(Path::new("x"), &bytes).is_ok());
    assert_eq!(parameters_that_fit(&long).chars().count(), 32_737);
    assert_eq!(parameters_that_fit("lily 🌺"), "lily 🌺");
}

#[test]
fn what_is_no_image_is_refused() {
    for (size, pixels) in [([1, 1], 2), ([0, 1], 0), ([1, 65536], 3 * 65536)] {
        assert!(jpeg(size, &vec![0; pixels], "").is_err(), "{size:?}");
    }
}
