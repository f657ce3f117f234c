(** * Gamma-equivalence

    Training a weight [W0 + γ T(θ)] is the training of [W0 + T(θ)] from [a θ_0], where [T(a θ) = γ T(θ)],
    with the learning rate [a^c lr]. An optimizer whose rule has the degree [k] in the gradients and [j]
    in the parameters has [c = k + 1 - j].

    The statement, its history and what breaks it are in [01-gamma-equivalence.md]. *)

From Coq Require Import Reals ZArith List Lra FunctionalExtensionality.
From Gamma Require Import vectors training rules folding.
Import ListNotations.
Open Scope R_scope.

Section Equivalence.

  Variable I : Type. (* the parameters *)
  Variable same : forall i j : I, {i = j} + {i <> j}.
  Variable K : Type. (* the entries of the updates *)
  Variable T : (I -> R) -> K -> R.
  Variable loss : nat -> (K -> R) -> R.
  Variable γ : K -> R.
  Variable a : I -> R.

  (** The training with [γ], *)
  Definition original (U : rule I) lr wd l2 start :=
    training same (with_gamma T loss γ) (descent lr wd l2 U) start.

  (** and that without it, [γ] folded into its numbers:
      [θ'_0 = a θ_0], [lr' = a^c lr], [wd' = a^-c wd], [l2' = a^-2 l2]. *)
  Definition folded (c : Z) (U : rule I) lr wd l2 start :=
    training same (without_gamma T loss) (rescaled_descent a c lr wd l2 U) (a ⊙ start).

  (** The same with proximal decay. *)
  Definition original_proximal (U : rule I) lr wd start :=
    training same (with_gamma T loss γ) (proximal lr wd U) start.
  Definition folded_proximal (c : Z) (U : rule I) lr wd start :=
    training same (without_gamma T loss) (rescaled_proximal a c lr wd U) (a ⊙ start).

  (** For all [t], [θ'_t = a θ_t] and [T(θ'_t) = γ T(θ_t)]. *)
  Definition same_training := equivalent T γ a.

  Hypothesis a_positive : positive a.
  Hypothesis a_folds : folds T γ a.

  (** With a rule of the degrees [k] and [j], [U(s g; t θ) = s^k t^j U(g; θ)], training with [γ] is the
      training without it that is folded with [c = k + 1 - j]. *)
  Theorem gamma_descent : forall (k j : Z) (U U' : rule I) lr wd l2 start,
    homogeneous_rule k j (a ^^ (-1)) a U U' ->
    same_training (original U lr wd l2 start) (folded (k + 1 - j) U' lr wd l2 start).
  Proof. intros. apply runs_correspond; auto. now apply descent_corresponds. Qed.

  (** The same of the runs whose points are [alive], where only there the rule has its degrees. *)
  Theorem gamma_descent_while : forall (alive : (I -> R) -> Prop) (k j : Z) (U U' : rule I) lr wd l2 start,
    (forall θ g before, alive θ -> homogeneous_at k j (a ^^ (-1)) a U U' ((θ, g) :: before)) ->
    equivalent_while T γ a alive
      (original U lr wd l2 start) (folded (k + 1 - j) U' lr wd l2 start).
  Proof. intros. apply runs_correspond_while; auto. now apply descent_corresponds_while. Qed.

  (** The same with proximal decay, [wd' = a^-c wd]. *)
  Theorem gamma_proximal : forall (k j : Z) (U U' : rule I) lr wd start,
    homogeneous_rule k j (a ^^ (-1)) a U U' ->
    same_training (original_proximal U lr wd start) (folded_proximal (k + 1 - j) U' lr wd start).
  Proof. intros. apply runs_correspond; auto. now apply proximal_corresponds. Qed.

  (** Gradients clipped by group, [τ' = τ / a], and max-norm, whose bound stays, change nothing: whatever
      steps correspond, with them they do. [N'] has to measure [g / a] as [N] measures [g], over [a]:
      the norm does where the group has one [a]. *)
  Theorem gamma_clipping_max_norm :
    forall (alive : (I -> R) -> Prop) (step step' : optimizer I) N N' τ f start,
    corresponds_while alive a step step' -> measures (a ^^ (-1)) N N' ->
    equivalent_while T γ a alive
      (training same (with_gamma T loss γ) (shrunk (fun θ => γ ⊙ T θ) f (clipped N τ step)) start)
      (training same (without_gamma T loss) (shrunk T f (clipped N' (a ^^ (-1) ⊙ τ) step'))
        (a ⊙ start)).
  Proof.
    intros. apply runs_correspond_while; auto. now apply shrunk_corresponds, clipped_corresponds.
  Qed.

End Equivalence.

Arguments original {I} _ {K}.
Arguments folded {I} _ {K}.
Arguments original_proximal {I} _ {K}.
Arguments folded_proximal {I} _ {K}.
Arguments same_training {I K}.

Section Factors.

  Variable I : Type.
  Variable same : forall i j : I, {i = j} + {i <> j}.
  Variable K : Type.
  Variable T : (I -> R) -> K -> R.
  Variable loss : nat -> (K -> R) -> R.

  (** ** The main theorem

      Layers with tensors of their own, each with its [γ_l] and its degree [m_l]: [a = γ_l^(1/m_l)]. *)
  Theorem gamma_equivalence :
    forall (Layer : Type) (layer : I -> Layer) (target : K -> Layer) (γ : Layer -> R)
      (m : Layer -> nat) (k j : Z) (U U' : rule I) lr wd l2 start,
    let a := γ_root layer γ m in
    positive γ -> (forall l, (0 < m l)%nat) -> homogeneous_layers T layer target m ->
    homogeneous_rule k j (a ^^ (-1)) a U U' ->
    same_training T (γ_at target γ) a
      (original same T loss (γ_at target γ) U lr wd l2 start)
      (folded same T loss a (k + 1 - j) U' lr wd l2 start).
  Proof. intros. apply gamma_descent; [now apply γ_root_positive | now apply layers_fold | easy]. Qed.

  (** Any factors of blocks with [∏_b s_b^{d_{k,b}} = γ_k], also of blocks that layers share: with
      [s_b = γ^{e_b}], any exponents with [Σ_b e_b d_b = 1]. *)
  Theorem gamma_blocks :
    forall (Block : Type) (blocks : list Block) (block : I -> Block) (d : K -> Block -> nat)
      (γ : K -> R) (s : Block -> R) (k j : Z) (U U' : rule I) lr wd l2 start,
    let a := spread block s in
    multi_homogeneous T blocks block d -> positive s ->
    (forall x, product blocks (fun b => s b ^ d x b) = γ x) ->
    homogeneous_rule k j (a ^^ (-1)) a U U' ->
    same_training T γ a
      (original same T loss γ U lr wd l2 start) (folded same T loss a (k + 1 - j) U' lr wd l2 start).
  Proof.
    intros Block blocks block d γ s k j U U' lr wd l2 start a HT Hs Hγ HU.
    apply gamma_descent; [intro; apply Hs | now apply (blocks_fold _ _ _ _ blocks _ d) | easy].
  Qed.

  (** Tensors that layers share, in layers that each have a tensor of their own: the factors [s] of the
      shared ones are free, and a layer's own has [(γ_l / ∏_b s_b^{d_{l,b}})^(1/n_l)]. *)
  Theorem gamma_shared :
    forall (Layer Common : Type) (target : K -> Layer) (place : I -> Common + Layer)
      (effect : Layer -> (Common -> R) -> R) (n : Layer -> nat) (γ : Layer -> R) (s : Common -> R)
      (k j : Z) (U U' : rule I) lr wd l2 start,
    let a := fun i => at_place _ _ s (own _ _ effect n γ s) (place i) in
    homogeneous_shared _ _ _ _ T target place effect n ->
    positive s -> positive γ -> (forall l, 0 < effect l s) -> (forall l, (0 < n l)%nat) ->
    homogeneous_rule k j (a ^^ (-1)) a U U' ->
    same_training T (γ_at target γ) a
      (original same T loss (γ_at target γ) U lr wd l2 start)
      (folded same T loss a (k + 1 - j) U' lr wd l2 start).
  Proof.
    intros. destruct (shared_fold _ _ _ _ T target place effect n γ s) as [positive_a folds_a];
      auto. now apply gamma_descent.
  Qed.

  (** Tensors of degree 0, such as a direction that is normalised, are rescaled freely: the training is
      the same from [s θ_0] with [s^c lr]. It has no [γ] to fold, [degree_zero_folds_nothing]. *)
  Theorem gamma_degree_zero :
    forall (Block : Type) (blocks : list Block) (block : I -> Block) (s : Block -> R)
      (k j : Z) (U U' : rule I) lr wd l2 start,
    let a := spread block s in
    multi_homogeneous T blocks block (fun _ _ => O) -> positive s ->
    homogeneous_rule k j (a ^^ (-1)) a U U' ->
    same_training T (fun _ => 1) a
      (original same T loss (fun _ => 1) U lr wd l2 start)
      (folded same T loss a (k + 1 - j) U' lr wd l2 start).
  Proof.
    intros Block blocks block s k j U U' lr wd l2 start a HT Hs HU.
    apply gamma_descent; [intro; apply Hs | | easy].
    now apply (degree_zero_folds _ _ _ _ blocks _ (fun _ _ => O)).
  Qed.

End Factors.
