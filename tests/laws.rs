//! The laws: every algorithm keeps them on every kind of parameter with every set of options, each
//! of them can be broken, and the tensor algebra beneath has its own.
//!
//! | law | test | broken by |
//! |---|---|---|
//! | a new adapter changes nothing | `identity` | `a_start_that_moves_one_bit` |
//! | strength 0 is off, 1 as trained, linear or of the stated degree | `strength` | `a_strength_that_is_squared`, `a_strength_that_is_never_off` |
//! | definition equals shortcut, in value and every gradient | `paths`, `layers` | `a_shortcut_that_is_scaled`, `a_shortcut_without_a_gradient` |
//! | the gradient is that of finite differences | `gradient` | `a_gradient_that_is_doubled` |
//! | merged acts as adapted, unmerged has the base's bits | `merge` | `merging_twice`, `unmerging_by_subtraction` in `src/laws/tests.rs` |
//! | saved, loaded, saved: the same bytes | `files` | `a_file_without_its_alpha`, `a_file_that_is_scaled` |
//! | a file of another layer is no panic | `misfit` | `a_file_of_another_layer_that_panics` |
//! | parameter count and rank bound hold | `parameters`, `rank` | `a_parameter_too_many`, `a_rank_too_few` |
//! | homogeneity as stated, or a counterexample | `homogeneity` | `an_exponent_that_is_wrong`, `a_degree_that_is_denied` |
//! | an alpha of 0 stands for the rank | `alpha` | `an_alpha_that_is_divided_by_the_rank_though_it_is_0` |
//! | a linear layer is a convolution of one tap | `pointwise` | `a_convolution_of_one_tap_that_is_no_linear_layer` |
//! | ranks and their measures multiply under the Kronecker product | `rank_and_its_measures_multiply` | `a_sum_in_place_of_the_product_is_caught`, `a_kronecker_rank_that_is_a_sum` |
//! | what is no number passes no law | every one that compares | `an_update_that_is_no_number`, `an_update_that_is_infinite`, `a_gradient_that_is_no_number` |
//! | rotations keep every singular value | `rotation` | `a_rotation_to_first_order`, `a_rotation_that_is_shrunk_in_place_of_its_generator`, `a_butterfly_that_turns_too_far` |
//! | Cayley blocks are orthogonal | `cayley_is_orthogonal` | `a_rotation_to_first_order_is_caught` |
//! | the Tucker contraction is its einsum | `tucker_equals_its_einsum` | `a_core_with_its_ranks_exchanged_is_caught`, `a_tucker_core_with_its_ranks_exchanged` |
//! | the hand-written backward is the composition's | `gradient`, `paths`; bit by bit in `higanbana-core`, `src/ops/tests.rs` | `a_hadamard_layer_with_a_wrong_backward`; there, `a_wrong_gradient_of_any_one_input_is_noticed` |

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
