//! How a file holds a tensor, where it is not as diffusers and transformers have it.

use burn::tensor::TensorData;

/// How a tensor lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// As it is.
    Same,
    /// As one of several equal blocks of rows: OpenCLIP stacks query, key and value.
    Rows {
        /// Which block.
        index: usize,
        /// How many there are.
        of: usize,
    },
    /// As the kernel of a 1×1 convolution, `[out, in, 1, 1]`; some files leave the ones out.
    Pointwise,
    /// Transposed: OpenCLIP multiplies from the other side.
    Transposed,
}

impl How {
    /// The shape of the tensor that a file holds as `stored`.
    pub(super) fn shape(self, stored: &[usize]) -> Vec<usize> {
        match (self, stored) {
            (Self::Rows { of, .. }, [rows, rest @ ..]) if rows.is_multiple_of(of) => {
                [&[rows / of], rest].concat()
            }
            (Self::Pointwise, [out, input, 1, 1]) => vec![*out, *input],
            (Self::Transposed, [a, b]) => vec![*b, *a],
            _ => stored.to_vec(),
        }
    }

    /// The tensor that a file holds as `stored`.
    pub(super) fn read(self, stored: TensorData) -> TensorData {
        let (from, dtype) = (stored.shape().as_slice().to_vec(), stored.dtype());
        let shape = self.shape(&from);
        let bytes = stored.as_bytes();
        let bytes = match self {
            Self::Same => return stored,
            Self::Pointwise => bytes.to_vec(),
            Self::Rows { index, of } => {
                let block = bytes.len() / of;
                bytes[index * block..(index + 1) * block].to_vec()
            }
            Self::Transposed => transposed(bytes, &from),
        };
        TensorData::try_from_bytes_vec(bytes, shape, dtype).expect("as many bytes as before")
    }
}

/// The bytes of a matrix, transposed.
pub(super) fn transposed(bytes: &[u8], shape: &[usize]) -> Vec<u8> {
    let [rows, columns] = *shape else { return bytes.to_vec() };
    let size = bytes.len() / (rows * columns).max(1);
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            out.extend_from_slice(&bytes[at..at + size]);
        }
    }
    out
}
