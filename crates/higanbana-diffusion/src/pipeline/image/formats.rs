//! The formats, each by its decoder.

use std::{fmt::Display, io::Cursor};

use ::gif::{ColorOutput, DecodeOptions};
use ::png::Transformations;
use ::tiff::{
    ColorType,
    decoder::{Decoder, DecodingResult, Limits},
    tags::Tag,
};
use image_webp::WebPDecoder;
use zune_bmp::{BmpDecoder, BmpDecoderErrors};
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::{
    file::{Stored, bounded},
    orientation::Orientation,
};

pub(super) fn png(bytes: &[u8]) -> Result<Stored, String> {
    let mut decoder = ::png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    bounded(reader.info().height as usize, reader.info().width as usize)?;
    let mut values = vec![0; reader.output_buffer_size().ok_or("is too large")?];
    let info = reader.next_frame(&mut values).map_err(|error| error.to_string())?;
    values.truncate(info.buffer_size());
    // EXIF may stand behind the pixels, which are whole whatever comes after them.
    let _ = reader.finish();
    Ok(Stored {
        size: [info.height as usize, info.width as usize],
        samples: info.color_type.samples(),
        values,
        orientation: reader.info().exif_metadata.as_deref().and_then(Orientation::of_exif),
    })
}

pub(super) fn jpeg(bytes: &[u8]) -> Result<Stored, String> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let info = decoder.info().ok_or("has no size")?;
    let size = bounded(info.height.into(), info.width.into())?;
    let values = decoder.decode().map_err(damaged)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::of_exif(exif));
    Ok(Stored { size, samples: 3, values, orientation })
}

pub(super) fn webp(bytes: &[u8]) -> Result<Stored, String> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let size = bounded(height as usize, width as usize)?;
    let mut values = vec![0; decoder.output_buffer_size().ok_or("is too large")?];
    decoder.read_image(&mut values).map_err(damaged)?;
    let samples = if decoder.has_alpha() { 4 } else { 3 };
    let exif = decoder.exif_metadata().ok().flatten();
    let orientation = exif.and_then(|exif| Orientation::of_exif(&exif));
    Ok(Stored { size, samples, values, orientation })
}

/// Bitmaps of 32 bits may have a fourth sample, which programs do not agree on: it is no alpha here.
pub(super) fn bmp(bytes: &[u8]) -> Result<Stored, String> {
    let side = usize::from(u16::MAX);
    let options = DecoderOptions::default().set_max_width(side).set_max_height(side);
    let mut decoder = BmpDecoder::new_with_options(ZCursor::new(bytes), options);
    let unreadable = |error: BmpDecoderErrors| damaged(format!("{error:?}"));
    decoder.decode_headers().map_err(unreadable)?;
    let (width, height) = decoder.dimensions().ok_or("has no size")?;
    let size = bounded(height, width)?;
    // The decoder takes rows that are missing for zeros.
    if stored_rows(bytes, [height, width]).is_some_and(|end| end > bytes.len()) {
        return Err("is truncated".into());
    }
    let values = decoder.decode().map_err(unreadable)?;
    match values.len() / (height * width) {
        4 => {
            let rgb = values.chunks(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]);
            Ok(Stored { size, samples: 3, values: rgb.collect(), orientation: None })
        }
        samples => Ok(Stored { size, samples, values, orientation: None }),
    }
}

/// Where the rows of a bitmap end, unless they are packed, by its header: at 10 where they begin, at 14 its
/// length, at 28 the bits of a pixel, at 30 how they are packed.
fn stored_rows(bytes: &[u8], [height, width]: [usize; 2]) -> Option<usize> {
    let number = |at: usize, length: usize| {
        let digits = bytes.get(at..at + length)?.iter().rev();
        Some(digits.fold(0, |sum, digit| sum << 8 | usize::from(*digit)))
    };
    let is_plain = number(14, 4)? >= 40 && matches!(number(30, 4)?, 0 | 3);
    let row = (number(28, 2)? * width).div_ceil(32) * 4;
    is_plain.then_some(number(10, 4)? + row * height)
}

/// The first frame, on nothing where it does not cover the whole.
pub(super) fn gif(bytes: &[u8]) -> Result<Stored, String> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    options.check_frame_consistency(true);
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(damaged)?;
    let [height, width] = bounded(decoder.height().into(), decoder.width().into())?;
    let frame = decoder.read_next_frame().map_err(damaged)?.ok_or("has no image")?;
    let [top, left, w] = [frame.top, frame.left, frame.width].map(usize::from);
    let mut values = vec![0; height * width * 4];
    for (y, row) in frame.buffer.chunks(w * 4).enumerate() {
        values[((top + y) * width + left) * 4..][..row.len()].copy_from_slice(row);
    }
    let samples = 4;
    Ok(Stored { size: [height, width], samples, values, orientation: None })
}

/// The first page, of 8 or 16 bits a sample; of 16 the upper 8.
pub(super) fn tiff(bytes: &[u8]) -> Result<Stored, String> {
    let decoder = Decoder::new(Cursor::new(bytes)).map_err(damaged)?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::MAX;
    let mut decoder = decoder.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(damaged)?;
    let size = bounded(height as usize, width as usize)?;
    let kind = decoder.colortype().map_err(damaged)?;
    let other = || format!("is a TIFF of a kind that is not read ({kind:?}); save it as PNG");
    let samples = match kind {
        ColorType::Gray(8 | 16) => 1,
        ColorType::GrayA(8 | 16) => 2,
        ColorType::RGB(8 | 16) => 3,
        ColorType::RGBA(8 | 16) => 4,
        _ => return Err(other()),
    };
    let values = match decoder.read_image().map_err(damaged)? {
        DecodingResult::U8(values) => values,
        DecodingResult::U16(values) => values.iter().map(|value| (value >> 8) as u8).collect(),
        _ => return Err(other()),
    };
    // Colours that lie in planes of their own would come one by one.
    if values.len() != size[0] * size[1] * samples {
        return Err(other());
    }
    let orientation = decoder.find_tag_unsigned(Tag::Orientation).map_err(damaged)?;
    Ok(Stored { size, samples, values, orientation: orientation.and_then(Orientation::of) })
}

fn damaged(error: impl Display) -> String {
    // Some decoders end a message with empty lines.
    let lines = error.to_string();
    format!("is damaged ({})", lines.split_whitespace().collect::<Vec<_>>().join(" "))
}
