//! Adapters of any kind behind one type.
//!
//! Burn's visitors and mappers are generic over the rank of a parameter and so cannot cross a
//! `dyn` boundary; the rank is carried as a number and restored on the other side.

use std::{any::Any, fmt::Debug};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Tensor},
};

use crate::{
    Adapter, AdapterError, Budget, Call, Condition, Cost, Degree, Features, Site, Tensors,
};

/// The methods of [`Adapter`] that forget nothing, passed on as they are.
macro_rules! any_adapter {
    ($(fn $name:ident(&self $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {
        /// [`Adapter`] without its type: what can be asked of an adapter whatever its algorithm.
        pub trait AnyAdapter: Debug + Send + Sync {
            /// [`Adapter::NAME`].
            fn name(&self) -> &'static str;
            /// [`Adapter::NEEDS_BASE`].
            fn needs_base(&self) -> bool;
            $(
                #[doc = concat!("[`Adapter::", stringify!($name), "`].")]
                fn $name(&self $(, $argument: $type)*) -> $result;
            )*
            /// [`Adapter::nearest`].
            fn nearest(
                &self,
                site: &Site,
                w0: &Tensor<2>,
                target: &Tensor<2>,
            ) -> Option<Result<DynAdapter, AdapterError>>;
            /// [`Adapter::resized`].
            fn resized(
                &self,
                site: &Site,
                w0: &Tensor<2>,
                budget: Budget,
            ) -> Option<Result<DynAdapter, AdapterError>>;
            /// [`Adapter::sum`] of this one and others; `None` too where one is of another algorithm.
            fn sum(&self, site: &Site, strength: f64, others: &[(f64, &DynAdapter)])
            -> Option<DynAdapter>;
            /// [`Adapter::with_alpha`].
            fn with_alpha(&self, alpha: f64) -> Option<DynAdapter>;
            /// [`Adapter::weigh_ranks`].
            fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<DynAdapter>;
            /// [`Adapter::condition`].
            fn condition(&mut self, condition: &Condition);
            /// The adapter itself, to be downcast.
            fn as_any(&self) -> &dyn Any;

            #[doc(hidden)]
            fn module(&self) -> &dyn AnyModule;
            #[doc(hidden)]
            fn into_module(self: Box<Self>) -> Box<dyn AnyModule>;
        }

        impl<A: Adapter> AnyAdapter for Held<A> {
            fn name(&self) -> &'static str {
                A::NAME
            }
            fn needs_base(&self) -> bool {
                A::NEEDS_BASE
            }
            $(fn $name(&self $(, $argument: $type)*) -> $result {
                self.0.$name($($argument),*)
            })*
            fn nearest(
                &self,
                site: &Site,
                w0: &Tensor<2>,
                target: &Tensor<2>,
            ) -> Option<Result<DynAdapter, AdapterError>> {
                let numeric = |error| AdapterError::numeric(site, error);
                Some(self.0.nearest(site, w0, target)?.map(DynAdapter::new).map_err(numeric))
            }
            fn resized(
                &self,
                site: &Site,
                w0: &Tensor<2>,
                budget: Budget,
            ) -> Option<Result<DynAdapter, AdapterError>> {
                let numeric = |error| AdapterError::numeric(site, error);
                Some(self.0.resized(site, w0, budget)?.map(DynAdapter::new).map_err(numeric))
            }
            fn sum(
                &self,
                site: &Site,
                strength: f64,
                others: &[(f64, &DynAdapter)],
            ) -> Option<DynAdapter> {
                let mut terms = vec![(strength, &self.0)];
                for (strength, other) in others {
                    terms.push((*strength, other.downcast()?));
                }
                A::sum(site, &terms).map(DynAdapter::new)
            }
            fn with_alpha(&self, alpha: f64) -> Option<DynAdapter> {
                self.0.with_alpha(alpha).map(DynAdapter::new)
            }
            fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<DynAdapter> {
                self.0.weigh_ranks(weights).map(DynAdapter::new)
            }
            fn condition(&mut self, condition: &Condition) {
                self.0.condition(condition);
            }
            fn as_any(&self) -> &dyn Any {
                &self.0
            }
            fn module(&self) -> &dyn AnyModule {
                self
            }
            fn into_module(self: Box<Self>) -> Box<dyn AnyModule> {
                self
            }
        }
    };
}

any_adapter! {
    fn update_at(&self, site: &Site, w0: &Tensor<2>, strength: f64) -> Tensor<2>;
    fn strength_degree(&self) -> usize;
    fn added(&self, call: &Call, y0: &Features) -> Option<Features>;
    fn forward(&self, call: &Call) -> Option<Features>;
    fn cost(&self, site: &Site, groups: usize) -> Option<Cost>;
    fn degree(&self) -> Degree;
    fn update_gamma(&self, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2>;
    fn rank_bound(&self, site: &Site) -> usize;
    fn keeps_singular_values(&self) -> bool;
    fn parameter_count(&self, site: &Site) -> usize;
    fn write(&self, site: &Site) -> Tensors;
    fn orthogonality(&self) -> Option<Tensor<1>>;
}

/// An adapter of any algorithm, as a Burn module.
#[derive(Debug)]
pub struct DynAdapter(Box<dyn AnyAdapter>);

impl DynAdapter {
    /// Forgets the type of an adapter.
    pub fn new<A: Adapter>(adapter: A) -> Self {
        Self(Box::new(Held(adapter)))
    }

    /// The adapter, if it is of type `A`.
    pub fn downcast<A: Adapter>(&self) -> Option<&A> {
        self.0.as_any().downcast_ref()
    }
}

impl std::ops::Deref for DynAdapter {
    type Target = dyn AnyAdapter;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}

impl std::ops::DerefMut for DynAdapter {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_mut()
    }
}

impl Clone for DynAdapter {
    fn clone(&self) -> Self {
        self.0.module().boxed_clone()
    }
}

#[derive(Debug, Clone)]
struct Held<A>(A);

/// A parameter whose rank is a number: `&Param<Tensor<D>>` behind `Any`.
type AnyParam<'a> = (usize, &'a dyn Any);
/// The same, owned.
type AnyParamBox = (usize, Box<dyn Any>);

#[doc(hidden)]
pub trait AnyModule {
    fn visit(&self, visitor: &mut dyn AnyVisitor);
    fn map(self: Box<Self>, mapper: &mut dyn AnyMapper) -> DynAdapter;
    fn to_device(self: Box<Self>, device: &Device) -> DynAdapter;
    fn fork(self: Box<Self>, device: &Device) -> DynAdapter;
    fn train(self: Box<Self>) -> DynAdapter;
    fn valid(&self) -> DynAdapter;
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device>;
    fn boxed_clone(&self) -> DynAdapter;
}

impl<A: Adapter> AnyModule for Held<A> {
    fn visit(&self, visitor: &mut dyn AnyVisitor) {
        self.0.visit(&mut Outward(visitor));
    }
    fn map(self: Box<Self>, mapper: &mut dyn AnyMapper) -> DynAdapter {
        DynAdapter::new(self.0.map(&mut Outward(mapper)))
    }
    fn to_device(self: Box<Self>, device: &Device) -> DynAdapter {
        DynAdapter::new(self.0.to_device(device))
    }
    fn fork(self: Box<Self>, device: &Device) -> DynAdapter {
        DynAdapter::new(self.0.fork(device))
    }
    fn train(self: Box<Self>) -> DynAdapter {
        DynAdapter::new(self.0.train())
    }
    fn valid(&self) -> DynAdapter {
        DynAdapter::new(self.0.valid())
    }
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.0.collect_devices(devices)
    }
    fn boxed_clone(&self) -> DynAdapter {
        DynAdapter::new(self.0.clone())
    }
}

impl Module for DynAdapter {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.0.module().visit(&mut Inward(visitor));
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.0.into_module().map(&mut Inward(mapper))
    }
    fn to_device(self, device: &Device) -> Self {
        self.0.into_module().to_device(device)
    }
    fn fork(self, device: &Device) -> Self {
        self.0.into_module().fork(device)
    }
    fn train(self) -> Self {
        self.0.into_module().train()
    }
    fn valid(&self) -> Self {
        self.0.module().valid()
    }
    fn materialize(self) -> Self {
        self
    }
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.0.module().collect_devices(devices)
    }
}

#[doc(hidden)]
pub trait AnyVisitor {
    fn float(&mut self, param: AnyParam<'_>);
    fn enter(&mut self, name: &str, container: &str);
    fn exit(&mut self, name: &str, container: &str);
}

#[doc(hidden)]
pub trait AnyMapper {
    fn float(&mut self, param: AnyParamBox) -> AnyParamBox;
    fn enter(&mut self, name: &str, container: &str);
    fn exit(&mut self, name: &str, container: &str);
}

/// From a typed module out to the `dyn` boundary.
struct Outward<'a, T: ?Sized>(&'a mut T);
/// From the `dyn` boundary in to a typed visitor or mapper.
struct Inward<'a, T>(&'a mut T);

impl ModuleVisitor for Outward<'_, dyn AnyVisitor + '_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.float((D, param));
    }
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.0.enter(name, container_type);
    }
    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.0.exit(name, container_type);
    }
}

impl ModuleMapper for Outward<'_, dyn AnyMapper + '_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (_, param) = self.0.float((D, Box::new(param)));
        *param.downcast().expect("a mapper keeps the rank")
    }
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.0.enter(name, container_type);
    }
    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.0.exit(name, container_type);
    }
}

/// Runs the body with the rank as a constant.
macro_rules! with_rank {
    ($rank:expr, $d:ident => $body:expr) => {
        with_rank!(@ $rank, $d => $body, 1 2 3 4 5 6)
    };
    (@ $rank:expr, $d:ident => $body:expr, $($n:literal)*) => {
        match $rank {
            $($n => { const $d: usize = $n; $body })*
            rank => panic!("parameters of rank {rank} are not supported"),
        }
    };
}

impl<V: ModuleVisitor> AnyVisitor for Inward<'_, V> {
    fn float(&mut self, (rank, param): AnyParam<'_>) {
        with_rank!(rank, D => {
            self.0.visit_float(param.downcast_ref::<Param<Tensor<D>>>().expect("rank is carried"))
        });
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }
    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }
}

impl<M: ModuleMapper> AnyMapper for Inward<'_, M> {
    fn float(&mut self, (rank, param): AnyParamBox) -> AnyParamBox {
        with_rank!(rank, D => {
            let param = *param.downcast::<Param<Tensor<D>>>().expect("rank is carried");
            (rank, Box::new(self.0.map_float(param)))
        })
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }
    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }
}
