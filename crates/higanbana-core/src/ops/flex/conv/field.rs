//! Maps with zeros around them, in which each tap of a kernel is a distance.

/// A convolution along one axis: under tap $k$, pixel $i$ of the result sees the place
///
/// $$ stride \cdot i + dilation \cdot k - before $$
///
/// of a map whose pixels are `spread` apart, with zeros between and around them.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Pixels of the map and of the result.
    pub map: usize,
    pub result: usize,
    pub taps: usize,
    pub stride: usize,
    pub dilation: usize,
    pub spread: usize,
    /// Zeros before the first pixel; pixels that are left out where negative.
    pub before: isize,
}

impl Axis {
    /// The way back: from the result to the map, with the taps in reversed order.
    pub fn transposed(self) -> Self {
        let covered = (self.dilation * (self.taps - 1)) as isize;
        let (map, result, before) = (self.result, self.map, covered - self.before);
        Self { map, result, stride: 1, spread: self.stride, before, ..self }
    }

    /// Places of one phase. Those that are a stride apart are neighbours in it.
    fn places(&self) -> usize {
        self.result + self.dilation * (self.taps - 1) / self.stride
    }

    /// Phase and distance of a tap.
    fn tap(&self, tap: usize) -> [usize; 2] {
        let at = tap * self.dilation;
        [at % self.stride, at / self.stride]
    }

    /// Phase and place of a pixel, where anything sees it.
    fn pixel(&self, pixel: usize) -> Option<[usize; 2]> {
        let at = usize::try_from((pixel * self.spread) as isize + self.before).ok()?;
        let place = at / self.stride;
        (place < self.places()).then_some([at % self.stride, place])
    }
}

/// Where the pixels of a map lie among the zeros, and what a pixel of the result sees under each tap.
#[derive(Debug)]
pub struct Field {
    /// Numbers of a channel with its zeros.
    pub size: usize,
    /// For each tap, how far what a pixel sees is from what it sees under the first one.
    pub taps: Vec<usize>,
    /// Where the rows of a map begin, and its columns, those that are seen.
    rows: Vec<Option<usize>>,
    columns: Vec<(usize, usize)>,
    /// Whether columns are neighbours as they are in the map.
    solid: bool,
    /// Pixels of the result in a row, and from row to row among the zeros.
    width: usize,
    pitch: usize,
    /// Pixels of the result.
    pub pixels: usize,
}

impl Field {
    pub fn new([y, x]: [Axis; 2]) -> Self {
        let (pitch, plane) = (x.places(), y.places() * x.places());
        // One plane for each pair of phases.
        let along_y = |[phase, place]: [usize; 2]| phase * x.stride * plane + place * pitch;
        let along_x = |[phase, place]: [usize; 2]| phase * plane + place;
        let taps = (0..y.taps * x.taps)
            .map(|tap| along_y(y.tap(tap / x.taps)) + along_x(x.tap(tap % x.taps)));
        let columns = (0..x.map).filter_map(|i| Some((i, along_x(x.pixel(i)?))));
        Self {
            size: y.stride * x.stride * plane,
            taps: taps.collect(),
            rows: (0..y.map).map(|i| y.pixel(i).map(along_y)).collect(),
            columns: columns.collect(),
            solid: x.stride == 1 && x.spread == 1,
            width: x.result,
            pitch,
            pixels: y.result * x.result,
        }
    }

    /// Writes a map among zeros, which it leaves as they are.
    pub fn fill(&self, map: &[f32], field: &mut [f32]) {
        let Some(&(first, start)) = self.columns.first() else { return };
        let width = map.len() / self.rows.len();
        for (row, place) in map.chunks_exact(width).zip(&self.rows) {
            let Some(place) = place else { continue };
            let field = &mut field[*place..];
            match self.solid {
                true => {
                    let row = &row[first..][..self.columns.len()];
                    field[start..][..row.len()].copy_from_slice(row);
                }
                false => self.columns.iter().for_each(|(from, to)| field[*to] = row[*from]),
            }
        }
    }

    /// How many pixels of the result can be copied at a time: so many lie side by side in each row, and
    /// fill vectors of `lanes`.
    pub fn run(&self, lanes: usize) -> usize {
        let fits = |run: &usize| self.width.is_multiple_of(*run) && lanes.is_multiple_of(*run);
        [16, 8, 4, 2].into_iter().find(fits).unwrap_or(1)
    }

    /// Where each run of `run` pixels is seen under the first tap, up to `pixels`; what goes beyond the
    /// result sees anything.
    pub fn runs(&self, run: usize, pixels: usize) -> impl Iterator<Item = usize> {
        (0..pixels).step_by(run).map(move |pixel| match pixel < self.pixels {
            true => pixel / self.width * self.pitch + pixel % self.width,
            false => 0,
        })
    }
}

/// Copies, for each of `rows` and each of `runs`, as many numbers as a run has, from and to the sums of
/// their places.
#[inline(always)]
pub fn pack(
    run: usize,
    field: &[f32],
    rows: &[(usize, usize)],
    runs: &[(usize, usize)],
    panel: &mut [f32],
) {
    match run {
        16 => copy::<16>(field, rows, runs, panel),
        8 => copy::<8>(field, rows, runs, panel),
        4 => copy::<4>(field, rows, runs, panel),
        2 => copy::<2>(field, rows, runs, panel),
        _ => copy::<1>(field, rows, runs, panel),
    }
}

#[inline(always)]
fn copy<const RUN: usize>(
    field: &[f32],
    rows: &[(usize, usize)],
    runs: &[(usize, usize)],
    panel: &mut [f32],
) {
    for (from, to) in rows {
        let (field, panel) = (&field[*from..], &mut panel[*to..]);
        for (at, place) in runs {
            let (x, y) = (&field[*at..][..RUN], &mut panel[*place..][..RUN]);
            y.copy_from_slice(x);
        }
    }
}
