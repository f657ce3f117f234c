//! Codes of Huffman's, and the bits that they come to.

/// The codes of a table, by the values that they stand for: the bits and their number.
pub struct Codes([(u16, u8); 256]);

impl Codes {
    /// Of the number of codes of each length, from 1 to 16, and the values in the order of their codes, which
    /// count up and double with each length (Annex C).
    pub fn of([lengths, values]: [&[u8]; 2]) -> Self {
        let mut codes = [(0, 0); 256];
        let (mut code, mut values) = (0u16, values.iter());
        for (length, count) in (1..).zip(lengths) {
            for value in values.by_ref().take(usize::from(*count)) {
                codes[usize::from(*value)] = (code, length);
                code += 1;
            }
            code <<= 1;
        }
        Self(codes)
    }

    /// The code of a value, as the standard prints it.
    #[cfg(test)]
    pub fn text(&self, value: u8) -> String {
        let (code, length) = self.0[usize::from(value)];
        format!("{code:0width$b}", width = usize::from(length))
    }
}

/// The number of bits of a number without its sign.
pub fn length(number: i32) -> u8 {
    (i32::BITS - number.unsigned_abs().leading_zeros()) as u8
}

/// Bits on their way into bytes, the first of them uppermost.
pub struct Bits<'a> {
    bytes: &'a mut Vec<u8>,
    open: u32,
    count: u8,
}

impl<'a> Bits<'a> {
    /// Behind what is there.
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes, open: 0, count: 0 }
    }

    /// The code of a value.
    pub fn code(&mut self, codes: &Codes, value: u8) {
        let (code, length) = codes.0[usize::from(value)];
        self.push(u32::from(code), length);
    }

    /// The bits of a number behind the code of its length; of a negative one those of it less 1.
    pub fn number(&mut self, number: i32) {
        let length = length(number);
        let bits = if number < 0 { number - 1 } else { number };
        self.push(bits as u32 & ((1 << length) - 1), length);
    }

    /// Fills the last byte with ones.
    pub fn end(&mut self) {
        self.push(0x7f, 7);
    }

    fn push(&mut self, bits: u32, length: u8) {
        self.open = self.open << length | bits;
        self.count += length;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.open >> self.count) as u8;
            self.bytes.push(byte);
            // What looks like a marker is told from one by a zero.
            if byte == 0xff {
                self.bytes.push(0);
            }
        }
    }
}
