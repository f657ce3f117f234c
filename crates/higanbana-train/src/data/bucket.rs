//! Shapes of batches: kohya's aspect-ratio buckets.
//!
//! All images of a batch have one size. With buckets there are several sizes of about the same area: every
//! width that is a multiple of the step, with the largest height, a multiple too, that keeps within the area
//! of the resolution; and the same lying down. An image goes where its aspect ratio is nearest, is scaled
//! until it covers the bucket, and what stands out is cut off at both ends.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::Resolution;

/// Which buckets there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Buckets {
    /// Smallest side, the resolution at most.
    pub min: usize,
    /// Largest side, the resolution at least.
    pub max: usize,
    /// What sides are multiples of.
    pub step: usize,
    /// Whether small images are enlarged. If not, an image keeps its size, or is shrunk to the area of the
    /// resolution, and is cut to multiples of the step, whatever the bounds.
    pub upscale: bool,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { min: 256, max: 1024, step: 64, upscale: true }
    }
}

/// What becomes of an image: sizes are width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Size that the image is scaled to.
    pub scaled: [usize; 2],
    /// Size of its part that is seen.
    pub bucket: [usize; 2],
}

/// What a sample shows of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Its size, and that of the part that is seen.
    pub fit: Fit,
    /// Left and top of that part.
    pub corner: [usize; 2],
    /// Whether it is mirrored.
    pub mirrored: bool,
}

impl Fit {
    /// The view of the middle.
    pub fn middle(self, mirrored: bool) -> View {
        let corner = self.room().map(|room| room / 2);
        View { fit: self, corner, mirrored }
    }

    /// How far to the right and down the part that is seen may lie.
    pub fn room(&self) -> [usize; 2] {
        [0, 1].map(|i| self.scaled[i] - self.bucket[i])
    }
}

impl Buckets {
    /// What is wrong with it, by the key below its own. As in kohya's trainers the bounds hold the
    /// resolution between them: buckets of other sides would have another area.
    pub(crate) fn wrong(&self, resolution: Resolution) -> Option<String> {
        let Self { min, max, step, upscale } = *self;
        let [shorter, longer] = {
            let [width, height] = resolution.size();
            [width.min(height), width.max(height)]
        };
        if min < step || max < min {
            return Some(format!("min: is {min}; give {step}, the step, to {max}, the max"));
        }
        // Without enlarging, images are only cut.
        if upscale && min > shorter {
            return Some(format!("min: is {min}; give {shorter} at most, the resolution"));
        }
        if upscale && max < longer {
            return Some(format!("max: is {max}; give {longer} at least, the resolution"));
        }
        None
    }

    /// All buckets of a resolution, in the order of width and height.
    pub fn sizes(&self, resolution: Resolution) -> Vec<[usize; 2]> {
        let area: usize = resolution.size().iter().product();
        let side = area.isqrt() / self.step * self.step;
        let mut sizes = vec![[side, side]];
        for width in (self.min.next_multiple_of(self.step)..=self.max).step_by(self.step) {
            let height = (area / width).min(self.max) / self.step * self.step;
            if height >= self.min {
                sizes.extend([[width, height], [height, width]]);
            }
        }
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Where an image of this width and height goes.
    pub fn fit(&self, size: [usize; 2], resolution: Resolution) -> Fit {
        if !self.upscale {
            return self.shrunk(size, resolution);
        }
        let ratio = aspect(size);
        let sizes = self.sizes(resolution);
        let distance = |bucket: &[usize; 2]| (aspect(*bucket) - ratio).abs();
        let nearest = |a: &&[usize; 2], b: &&[usize; 2]| {
            distance(a).partial_cmp(&distance(b)).unwrap_or(Ordering::Equal)
        };
        let bucket = match sizes.contains(&size) {
            true => size,
            false => *sizes.iter().min_by(nearest).expect("there is a square at least"),
        };
        cover(size, bucket)
    }

    fn shrunk(&self, [width, height]: [usize; 2], resolution: Resolution) -> Fit {
        let area: usize = resolution.size().iter().product();
        let (step, ratio) = (self.step as f64, aspect([width, height]));
        let scaled = if width * height > area {
            let multiple = |side: f64| (((side + 0.5).floor() / step).floor() * step).max(step);
            let side = (area as f64 * ratio).sqrt();
            // Either side may become a multiple; the one that changes the aspect ratio less does.
            let by_width = multiple(side);
            let by_height = multiple(area as f64 / side);
            let off_width = (by_width / multiple(by_width / ratio) - ratio).abs();
            let off_height = (multiple(by_height * ratio) / by_height - ratio).abs();
            match off_width < off_height {
                true => [by_width as usize, nearest_integer(by_width / ratio)],
                false => [nearest_integer(by_height * ratio), by_height as usize],
            }
        } else {
            [width, height]
        };
        let bucket = scaled.map(|side| (side / self.step * self.step).max(self.step));
        // An image smaller than one step is enlarged after all.
        if scaled[0] < bucket[0] || scaled[1] < bucket[1] {
            return cover([width, height], bucket);
        }
        Fit { scaled, bucket }
    }
}

/// The smallest size of this aspect ratio that covers a bucket.
pub fn cover(size: [usize; 2], bucket: [usize; 2]) -> Fit {
    // The side that fits exactly is the one of which the image has relatively less.
    let side = usize::from(aspect(size) > aspect(bucket));
    let scale = bucket[side] as f64 / size[side] as f64;
    let scaled = size.map(|side| nearest_integer(side as f64 * scale));
    Fit { scaled: [0, 1].map(|i| scaled[i].max(bucket[i])), bucket }
}

fn aspect([width, height]: [usize; 2]) -> f64 {
    width as f64 / height as f64
}

fn nearest_integer(x: f64) -> usize {
    (x + 0.5) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_of_512() {
        let sizes = Buckets::default().sizes(Resolution::Side(512));
        let upright: Vec<_> = sizes.iter().filter(|[w, h]| w < h).copied().collect();
        // By hand: floor(512² / w / 64) · 64 for each w, and what lies down turned.
        let expected = [
            [256, 832],
            [256, 896],
            [256, 960],
            [256, 1024],
            [320, 704],
            [320, 768],
            [384, 640],
            [448, 576],
        ];
        assert_eq!(upright, expected);
        assert_eq!(sizes.len(), 2 * expected.len() + 1);
        assert!(sizes.contains(&[512, 512]));
    }

    #[test]
    fn bounds_hold_for_every_bucket() {
        let buckets = Buckets { min: 40, max: 100, step: 16, upscale: true };
        let sizes = buckets.sizes(Resolution::Side(64));
        // Multiples of 16 from 40 to 100, by floor(64² / w / 16) · 16: 48 goes with 80, 64 with itself.
        assert_eq!(sizes, [[48, 80], [64, 64], [80, 48]]);
        assert_eq!(buckets.wrong(Resolution::Side(64)), None);
        let wrong = |side| buckets.wrong(side).unwrap_or_default();
        assert_eq!(wrong(Resolution::Side(39)), "min: is 40; give 39 at most, the resolution");
        assert_eq!(
            wrong(Resolution::Size([50, 101])),
            "max: is 100; give 101 at least, the resolution"
        );
        assert_eq!(Buckets { upscale: false, ..buckets }.wrong(Resolution::Side(39)), None);
        let step = Buckets { step: 64, ..buckets }.wrong(Resolution::Side(64)).unwrap();
        assert_eq!(step, "min: is 40; give 64, the step, to 100, the max");
    }

    #[test]
    fn an_image_is_scaled_until_it_covers_its_bucket() {
        let fit = |size| Buckets::default().fit(size, Resolution::Side(512));
        assert_eq!(fit([1000, 1000]), Fit { scaled: [512, 512], bucket: [512, 512] });
        // 1.5 lies nearer to 640/384 = 1.67 than to 576/448 = 1.29.
        assert_eq!(fit([300, 200]), Fit { scaled: [640, 427], bucket: [640, 384] });
        assert_eq!(fit([300, 200]).middle(false).corner, [0, 21]);
        assert_eq!(fit([200, 300]), Fit { scaled: [427, 640], bucket: [384, 640] });
        // One that has the size of a bucket already keeps it.
        assert_eq!(fit([320, 704]), Fit { scaled: [320, 704], bucket: [320, 704] });
    }

    #[test]
    fn without_upscaling_images_are_cut_to_multiples() {
        let buckets = Buckets { upscale: false, ..Buckets::default() };
        let fit = |size| buckets.fit(size, Resolution::Side(512));
        assert_eq!(fit([300, 200]), Fit { scaled: [300, 200], bucket: [256, 192] });
        // √(512²·1.6) is 647.6, the other side 404.8. A width of 640 leads to 640/384 = 1.67, a height of
        // 384 to 576/384 = 1.5: the width is nearer.
        assert_eq!(fit([1600, 1000]), Fit { scaled: [640, 400], bucket: [640, 384] });
        assert_eq!(fit([30, 20]), Fit { scaled: [96, 64], bucket: [64, 64] });
    }
}
