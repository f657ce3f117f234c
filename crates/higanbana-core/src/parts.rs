//! The tensors of one adapter in a file.

use std::{cell::RefCell, collections::BTreeMap, collections::BTreeSet};

use burn::tensor::{DType, Device, Shape, Tensor, TensorData};

use crate::AdapterError;

/// Tensors of one adapter by their key below the module's name (`lora_up.weight`, `alpha`).
pub type Tensors = BTreeMap<String, TensorData>;

/// How a network of adapters was trained, in LyCORIS's words, as the metadata of files keep it.
pub type Arguments = BTreeMap<String, String>;

/// A module of a file before its tensors are read.
#[derive(Debug)]
pub struct Glimpse<'a> {
    /// Keys of its tensors.
    pub keys: BTreeSet<&'a str>,
    /// Its `alpha`, if that is one number.
    pub alpha: Option<f64>,
    /// What the file's metadata say of the network.
    pub arguments: &'a Arguments,
}

/// Shape of one of the tensors; empty if it is not there.
pub fn dims<'a>(tensors: &'a Tensors, key: &str) -> &'a [usize] {
    tensors.get(key).map_or(&[], |data| data.shape().as_slice())
}

/// Reads the tensors of one module of a file: checks shapes and values, remembers what was used.
pub struct Parts<'a> {
    module: &'a str,
    tensors: &'a Tensors,
    device: Device,
    dtype: DType,
    base: Option<&'a Tensor<2>>,
    arguments: Option<&'a Arguments>,
    is_probe: bool,
    used: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Parts<'a> {
    /// The tensors of `module`, to be placed on `device` as `dtype`.
    pub fn new(module: &'a str, tensors: &'a Tensors, device: &Device, dtype: DType) -> Self {
        let device = device.clone();
        Self {
            module,
            tensors,
            device,
            dtype,
            base: None,
            arguments: None,
            is_probe: false,
            used: RefCell::default(),
        }
    }

    /// The module's name in the file.
    pub fn module(&self) -> &'a str {
        self.module
    }

    /// Adds the frozen weight `[out, in·K]`, for files that leave out what follows from it.
    #[must_use]
    pub fn with_base(self, w0: &'a Tensor<2>) -> Self {
        Self { base: Some(w0), ..self }
    }

    /// Adds what the file's metadata say of the network.
    #[must_use]
    pub fn with_arguments(self, arguments: &'a Arguments) -> Self {
        Self { arguments: Some(arguments), ..self }
    }

    /// One of the network's arguments, where the metadata tell; `None` where they are silent.
    pub fn argument(&self, name: &str) -> Option<&'a str> {
        self.arguments?.get(name).map(String::as_str)
    }

    /// Whether the metadata say that one of the network's switches is on.
    pub fn is_set(&self, name: &str) -> bool {
        self.argument(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Takes whatever is there for zeros of the shape that is asked for: where no site is known, reading
    /// still tells what is missing.
    #[must_use]
    pub fn probing(self) -> Self {
        Self { is_probe: true, ..self }
    }

    /// The frozen weight `[out, in·K]`. To be asked for last: [`Parts::unused`] then tells the same
    /// without it.
    ///
    /// # Errors
    /// When it was not given with [`Parts::with_base`].
    pub fn base(&self) -> Result<&'a Tensor<2>, AdapterError> {
        self.base.ok_or_else(|| AdapterError::NeedsBase { module: self.module.into() })
    }

    /// Shape of a tensor, if the file has it. Does not count as using it.
    pub fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.tensors.get(key).map(|data| data.shape().as_slice().to_vec())
    }

    /// Whether the file has this tensor. Does not count as using it.
    pub fn has(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }

    /// One dimension of a tensor: ranks and block sizes come from the file.
    ///
    /// # Errors
    /// When the tensor is missing or has too few dimensions.
    pub fn dim(&self, key: &str, axis: usize) -> Result<usize, AdapterError> {
        let shape = self.shape(key).ok_or_else(|| self.missing(key))?;
        match shape.get(axis) {
            Some(&size) if size > 0 => Ok(size),
            Some(_) => {
                Err(self.misshapen(key, "a rank of 1 or more, rank 0 adapts nothing".into()))
            }
            None => Err(self.misshapen(key, format!("{} or more dimensions", axis + 1))),
        }
    }

    /// A tensor of this `shape`. Dimensions of size 1 say nothing: `[r, in, 1, 1]` is `[r, in]`.
    ///
    /// # Errors
    /// When it is missing, of another shape, not of a float type, or not finite.
    pub fn tensor<const D: usize>(
        &self,
        key: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, AdapterError> {
        self.unfolded(key, &shape, shape)
    }

    /// A tensor that files hold as `stored`, such as [`Site::kernel_shape`](crate::Site::kernel_shape),
    /// or already unfolded, in the `shape` in which it is computed with.
    ///
    /// # Errors
    /// As [`Parts::tensor`].
    pub fn unfolded<const D: usize>(
        &self,
        key: &str,
        stored: &[usize],
        shape: [usize; D],
    ) -> Result<Tensor<D>, AdapterError> {
        let data = self.get(key).ok_or_else(|| self.missing(key))?;
        if self.is_probe {
            return Ok(Tensor::zeros(shape, (&self.device, self.dtype)));
        }
        let found = data.shape().as_slice();
        if !(is_same(found, stored) || is_same(found, &shape)) {
            let expected = match is_same(stored, &shape) {
                true => format!("{stored:?}"),
                false => format!("{stored:?} or {shape:?}"),
            };
            return Err(self.misshapen(key, expected));
        }
        if !data.dtype().is_float() {
            let (module, key) = (self.module.into(), key.into());
            return Err(AdapterError::NotFloat {
                module,
                key,
                dtype: format!("{:?}", data.dtype()),
            });
        }
        let values: Vec<f64> = data.iter::<f64>().collect();
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(AdapterError::NotFinite {
                module: self.module.into(),
                key: key.into(),
                index,
                value: values[index].to_string(),
            });
        }
        let data = TensorData::new(values, Shape::from(shape));
        Ok(Tensor::from_data(data, (&self.device, self.dtype)))
    }

    /// As [`Parts::tensor`], `None` where the file does not have it.
    ///
    /// # Errors
    /// As [`Parts::tensor`].
    pub fn optional<const D: usize>(
        &self,
        key: &str,
        shape: [usize; D],
    ) -> Result<Option<Tensor<D>>, AdapterError> {
        if self.has(key) { self.tensor(key, shape).map(Some) } else { Ok(None) }
    }

    /// A tensor of one element as a number, `None` where the file does not have it.
    ///
    /// # Errors
    /// When it has several elements or is not finite.
    pub fn scalar(&self, key: &str) -> Result<Option<f64>, AdapterError> {
        let Some(data) = self.get(key) else { return Ok(None) };
        match data.iter::<f64>().collect::<Vec<_>>()[..] {
            [value] if value.is_finite() => Ok(Some(value)),
            [value] => Err(AdapterError::NotFinite {
                module: self.module.into(),
                key: key.into(),
                index: 0,
                value: value.to_string(),
            }),
            _ => Err(self.misshapen(key, "one element".into())),
        }
    }

    /// Machine epsilon of the element type in which the file holds a tensor; 0 if it holds none.
    pub fn epsilon(&self, key: &str) -> f64 {
        let float = self.tensors.get(key).and_then(|data| data.dtype().finfo());
        float.map_or(0.0, |float| float.epsilon)
    }

    /// Keys that nothing has asked for.
    pub fn unused(&self) -> Vec<&'a str> {
        let used = self.used.borrow();
        self.tensors.keys().map(String::as_str).filter(|key| !used.contains(key)).collect()
    }

    /// An error about the shape of a tensor.
    pub fn misshapen(&self, key: &str, expected: String) -> AdapterError {
        AdapterError::Shape {
            module: self.module.into(),
            key: key.into(),
            found: self.shape(key).unwrap_or_default(),
            expected,
        }
    }

    /// An error about a tensor that is not there.
    pub fn missing(&self, key: &str) -> AdapterError {
        AdapterError::Missing { module: self.module.into(), key: key.into() }
    }

    fn get(&self, key: &str) -> Option<&'a TensorData> {
        let (key, data) = self.tensors.get_key_value(key)?;
        self.used.borrow_mut().insert(key);
        Some(data)
    }
}

/// Whether two shapes differ by dimensions of size 1 alone. A size of 0 is like no other.
fn is_same(a: &[usize], b: &[usize]) -> bool {
    let sizes = |shape: &[usize]| shape.iter().copied().filter(|&n| n != 1).collect::<Vec<_>>();
    sizes(a) == sizes(b)
}

/// A tensor as file data of another shape with the same elements.
pub fn to_data<const D: usize>(tensor: &Tensor<D>, shape: impl Into<Vec<usize>>) -> TensorData {
    let (bytes, _, dtype) = tensor.to_data().into_parts();
    TensorData::from_bytes(bytes, Shape::from(shape.into()), dtype)
}

/// A number as a tensor without dimensions, as files hold `alpha`.
pub fn scalar_data(value: f64) -> TensorData {
    TensorData::new(vec![value as f32], Shape::from(Vec::<usize>::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_the_stored_or_the_unfolded_one() {
        let fits = |found: &[usize], stored: &[usize]| {
            let data = TensorData::zeros::<f32, _>(found.to_vec());
            let tensors = Tensors::from([("k".to_string(), data)]);
            let parts = Parts::new("m", &tensors, &Device::default(), DType::F32);
            parts.unfolded("k", stored, [stored[0], stored[1..].iter().product()]).is_ok()
        };
        let stored = [4, 6, 3, 3];
        for found in [&[4, 6, 3, 3][..], &[4, 54], &[4, 54, 1, 1], &[1, 4, 6, 3, 3]] {
            assert!(fits(found, &stored), "{found:?}");
        }
        // As many elements, and grouped alike, but the kernel is another one.
        for found in [&[4, 6, 9][..], &[4, 18, 3], &[4, 2, 27], &[6, 4, 3, 3], &[54, 4], &[4, 0]] {
            assert!(!fits(found, &stored), "{found:?}");
        }
        assert!(fits(&[8, 2, 1, 1], &[8, 2]) && fits(&[8, 1], &[8, 1]) && fits(&[8], &[8, 1]));
        assert!(!fits(&[2, 4, 2], &[8, 2]) && !fits(&[0], &[0, 2]));
    }

    #[test]
    fn integers_are_no_weights() {
        let tensors = Tensors::from([("k".to_string(), TensorData::from([1i64, 2]))]);
        let parts = Parts::new("m", &tensors, &Device::default(), DType::F32);
        let error = parts.tensor("k", [2]).unwrap_err().to_string();
        assert!(error.starts_with("m.k: its values are I64"), "{error}");
    }

    #[test]
    fn what_nothing_asked_for_is_reported() {
        let tensors = Tensors::from([
            ("a".to_string(), TensorData::from([1.0f32])),
            ("b".to_string(), TensorData::from([f32::NAN])),
        ]);
        let parts = Parts::new("m", &tensors, &Device::default(), DType::F32);
        assert_eq!(parts.scalar("a").unwrap(), Some(1.0));
        assert_eq!(parts.unused(), ["b"]);
        let error = parts.tensor("b", [1]).unwrap_err().to_string();
        assert!(error.starts_with("m.b: value 0 is NaN"), "{error}");
    }

    #[test]
    fn the_base_weight_is_asked_for_where_it_is_missing() {
        let (tensors, w0) = (Tensors::new(), Tensor::zeros([2, 2], &Device::default()));
        let parts = Parts::new("m", &tensors, &Device::default(), DType::F32);
        let error = parts.base().unwrap_err().to_string();
        assert!(error.starts_with("m: ") && error.ends_with("give the base model"), "{error}");
        assert_eq!(parts.with_base(&w0).base().unwrap().dims(), [2, 2]);
    }
}
