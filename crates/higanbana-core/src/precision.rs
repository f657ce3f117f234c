//! Adapters that are more precise than the weight that they act on.
//!
//! A training in half precision keeps its adapters, their gradients and what the optimizer carries in
//! single precision: a step is often smaller than what half precision can add (arXiv:1710.03740). In the
//! forward pass they act as rounded to the type of the weight; gradients go through the rounding as if
//! it were not there.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{DType, Tensor},
};

use crate::DynAdapter;

impl DynAdapter {
    /// The type of its tensors, which is one.
    pub fn dtype(&self) -> Option<DType> {
        let mut first = First(None);
        self.visit(&mut first);
        first.0
    }

    /// The same adapter with tensors of another type; gradients reach its own.
    pub fn cast(&self, dtype: DType) -> Self {
        self.clone().map(&mut Cast(dtype))
    }
}

struct First(Option<DType>);

impl ModuleVisitor for First {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.get_or_insert_with(|| param.val().dtype());
    }
}

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}
