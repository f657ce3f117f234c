//! The laws: every algorithm keeps them on every kind of parameter with every set of options, each
//! of them can be broken, and the tensor algebra beneath has its own.

mod laws {
    mod adapters;
    mod freedom;
    mod gamma;
    mod golden;
    mod kronecker;
    mod matrices;
    mod measures;
    mod mutants;
    mod rotations;
    mod trials;
    mod tucker;
    #[cfg(feature = "wgpu")]
    mod wgpu;
}
