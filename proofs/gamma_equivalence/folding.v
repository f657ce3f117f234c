(** * Factors that fold [γ] into the tensors

    The theorem asks for factors [a] with [T(a θ) = γ T(θ)]. Here: which there are, of layers with
    tensors of their own, of tensors that layers share, and of tensors of degree 0; and where there
    are none. *)

From Coq Require Import Reals ZArith List Lra Lia FunctionalExtensionality.
From Gamma Require Import vectors training.
Import ListNotations.
Open Scope R_scope.

(** ** Layers

    Every layer [l] has its own tensors, its own [γ_l] and its own degree [m_l]. The even factors are
    [γ_l^(1/m_l)]. *)

Section Layers.

  Variables I K Layer : Type.
  Variable T : (I -> R) -> K -> R.
  Variable layer : I -> Layer. (* the layer of a parameter *)
  Variable target : K -> Layer. (* the layer of an entry of the updates *)
  Variable γ : Layer -> R.
  Variable m : Layer -> nat.

  (** [T_l(s θ) = s^{m_l} T_l(θ)] for [s > 0] *)
  Definition homogeneous_layers : Prop := forall s : Layer -> R, positive s -> forall θ k,
    T (fun i => s (layer i) * θ i) k = s (target k) ^ m (target k) * T θ k.

  (** [γ_l], for the layer [l] of each entry of the updates. *)
  Definition γ_at : K -> R := fun k => γ (target k).

  (** [γ_l^(1/m_l)], for the layer [l] of each parameter. *)
  Definition γ_root : I -> R := fun i => root (m (layer i)) (γ (layer i)).

  Hypothesis γ_positive : positive γ.
  Hypothesis m_positive : forall l, (0 < m l)%nat.
  Hypothesis T_homogeneous : homogeneous_layers.

  Lemma γ_root_positive : positive γ_root.
  Proof. intro i. now apply root_positive. Qed.

  (** [T(γ^(1/m) θ) = γ T(θ)] *)
  Lemma layers_fold : folds T γ_at γ_root.
  Proof.
    intro θ. extensionality k. unfold scale, γ_root.
    rewrite (T_homogeneous (fun l => root (m l) (γ l))), root_power; try easy.
    intro l. now apply root_positive.
  Qed.

End Layers.

(** ** Blocks, also of tensors that layers share

    The parameters are in blocks; the entry [k] of the updates has the degree [d_{k,b}] in the block
    [b]. A block that several layers share has a degree in the entries of each. *)

Section Blocks.

  Variables I K Block : Type.
  Variable T : (I -> R) -> K -> R.
  Variable blocks : list Block.
  Variable block : I -> Block.
  Variable d : K -> Block -> nat.

  Definition product (f : Block -> R) : R := fold_right Rmult 1 (map f blocks).

  (** [T_k(r θ) = (∏_b r_b^{d_{k,b}}) T_k(θ)] for [r > 0] *)
  Definition multi_homogeneous : Prop := forall r : Block -> R, positive r -> forall θ k,
    T (fun i => r (block i) * θ i) k = product (fun b => r b ^ d k b) * T θ k.

  (** The factor of each parameter. *)
  Definition spread (s : Block -> R) : I -> R := fun i => s (block i).

  Hypothesis T_homogeneous : multi_homogeneous.

  (** Factors [s_b > 0] fold [γ] if [∏_b s_b^{d_{k,b}} = γ_k] for every entry [k] of every layer. *)
  Theorem blocks_fold : forall γ s,
    positive s -> (forall k, product (fun b => s b ^ d k b) = γ k) -> folds T γ (spread s).
  Proof.
    intros γ s Hs H θ. extensionality k. unfold scale, spread. now rewrite T_homogeneous, H.
  Qed.

  (** They have to, wherever the update is not always zero. *)
  Theorem blocks_fold_only_if : forall γ s,
    positive s -> folds T γ (spread s) ->
    forall k θ, T θ k <> 0 -> product (fun b => s b ^ d k b) = γ k.
  Proof.
    intros γ s Hs H k θ nonzero. specialize (H θ). apply equal_f with k in H.
    unfold scale, spread in H. rewrite T_homogeneous in H by assumption.
    now apply Rmult_eq_reg_r in H.
  Qed.

  (** Two layers that share all their tensors, with the same degrees, need the same [γ]. *)
  Theorem shared_alike_only_if : forall γ s k k' θ θ',
    positive s -> folds T γ (spread s) ->
    (forall b, d k b = d k' b) -> T θ k <> 0 -> T θ' k' <> 0 -> γ k = γ k'.
  Proof.
    intros γ s k k' θ θ' Hs H alike nonzero nonzero'.
    rewrite <- (blocks_fold_only_if γ s Hs H k θ nonzero).
    rewrite <- (blocks_fold_only_if γ s Hs H k' θ' nonzero').
    unfold product. do 2 f_equal. extensionality b. now rewrite alike.
  Qed.

  Lemma product_of_ones : forall f, (forall b, f b = 1) -> product f = 1.
  Proof.
    intros f H. unfold product. induction blocks as [| b rest IH]; simpl; [reflexivity |].
    rewrite H, IH. ring.
  Qed.

  (** Blocks of degree 0, such as a direction that is normalised, have no say in the product: their
      factors are free. Where all have degree 0, any factors fold [γ = 1], *)
  Theorem degree_zero_folds : forall s,
    positive s -> (forall k b, d k b = O) -> folds T (fun _ => 1) (spread s).
  Proof.
    intros s Hs zero. apply blocks_fold; [assumption |]. intro k. apply product_of_ones.
    intro b. now rewrite zero.
  Qed.

  (** and none fold another [γ]. *)
  Theorem degree_zero_folds_nothing : forall γ s k θ,
    positive s -> (forall b, d k b = O) -> T θ k <> 0 -> γ k <> 1 -> ~ folds T γ (spread s).
  Proof.
    intros γ s k θ Hs zero nonzero other H. apply other.
    rewrite <- (blocks_fold_only_if γ s Hs H k θ nonzero). apply product_of_ones.
    intro b. now rewrite zero.
  Qed.

End Blocks.

(** ** Shared tensors, each layer with one of its own

    The layers [l] share some blocks, and each has a block of its own, of degree [n_l > 0]. Then the
    factors of the shared ones are free, and those of the layers' own follow. *)

Section Shared.

  Variables I K Layer Common : Type.
  Variable T : (I -> R) -> K -> R.
  Variable target : K -> Layer.
  (** Where a parameter is: in a block that is shared, or in the layer's own. *)
  Variable place : I -> Common + Layer.
  (** What the factors of the shared blocks do to a layer: [∏_b s_b^{d_{l,b}}]. *)
  Variable effect : Layer -> (Common -> R) -> R.
  Variable n : Layer -> nat.
  Variable γ : Layer -> R.

  Definition at_place (s : Common -> R) (u : Layer -> R) (p : Common + Layer) : R :=
    match p with inl b => s b | inr l => u l end.

  (** [T_l(s_b θ_b, u_l θ_l) = (∏_b s_b^{d_{l,b}}) u_l^{n_l} T_l(θ)] *)
  Definition homogeneous_shared : Prop := forall s u, positive s -> positive u -> forall θ k,
    T (fun i => at_place s u (place i) * θ i) k
    = effect (target k) s * u (target k) ^ n (target k) * T θ k.

  (** [u_l = (γ_l / ∏_b s_b^{d_{l,b}})^(1/n_l)] *)
  Definition own (s : Common -> R) (l : Layer) : R := root (n l) (γ l / effect l s).

  Theorem shared_fold : forall s,
    homogeneous_shared -> positive s -> positive γ ->
    (forall l, 0 < effect l s) -> (forall l, (0 < n l)%nat) ->
    positive (fun i => at_place s (own s) (place i)) /\
    folds T (fun k => γ (target k)) (fun i => at_place s (own s) (place i)).
  Proof.
    intros s HT Hs Hγ He Hn.
    assert (quotients : forall l, 0 < γ l / effect l s)
      by (intro l; apply Rdiv_lt_0_compat; [apply Hγ | apply He]).
    assert (owns : positive (own s)) by (intro l; now apply root_positive).
    split; [intro i; unfold at_place; destruct (place i); auto |].
    intro θ. extensionality k. unfold scale at 1. rewrite HT by assumption.
    unfold own, scale. rewrite root_power by auto. field. specialize (He (target k)). lra.
  Qed.

End Shared.

(** ** A direction that is normalised

    No factors, and no other tensors either: the length of [v / ‖v‖] is 1. *)

Definition direction {I : Type} (part : list I) (v : I -> R) : I -> R := fun i => v i / norm part v.

(** It has degree 0, *)
Lemma direction_degrees : forall I (part : list I) c v,
  0 < c -> direction part (fun i => c * v i) = direction part v.
Proof.
  intros I part c v Hc. extensionality i. unfold direction.
  replace (norm part (fun j => c * v j)) with (c * norm part v); [now apply factor_cancels |].
  symmetry. apply (norm_scaled _ (fun _ => part) (fun _ => c) v i); [now intro | now intros ? ?].
Qed.

(** and no [w] has the direction [γ v / ‖v‖] of a [v ≠ 0], unless [γ = 1]. *)
Theorem direction_folds_nothing : forall I (part : list I) γ v w,
  0 < γ -> 0 < norm part v -> 0 < norm part w ->
  (forall i, In i part -> direction part w i = γ * direction part v i) -> γ = 1.
Proof.
  intros I part γ v w Hγ Hv Hw H.
  assert (one : forall x, 0 < norm part x -> norm part (direction part x) = 1).
  { intros x Hx. unfold direction.
    replace (fun i => x i / norm part x) with ((fun _ => / norm part x) ⊙ x)
      by (extensionality i; unfold scale, Rdiv; ring).
    destruct part as [| i rest]; [unfold norm, total in Hx; simpl in Hx; rewrite sqrt_0 in Hx; lra |].
    rewrite (norm_scaled _ (fun _ => i :: rest) (fun _ => / norm (i :: rest) x) x i);
      [field; lra | intro; now apply Rinv_0_lt_compat | now intros ? ?]. }
  assert (γ * γ = 1); [| nra].
  assert (squares : total part (direction part w ⊙ direction part w)
    = γ * γ * total part (direction part v ⊙ direction part v)).
  { apply total_scaled. intros j in_part. unfold scale. rewrite H by assumption. ring. }
  assert (unit : forall x, 0 < norm part x -> total part (direction part x ⊙ direction part x) = 1).
  { intros x Hx. specialize (one x Hx). unfold norm in one at 1.
    destruct (Rle_dec 0 (total part (direction part x ⊙ direction part x))) as [sum | sum].
    - rewrite <- (sqrt_sqrt _ sum), one. ring.
    - rewrite sqrt_neg_0 in one by lra. lra. }
  rewrite !unit in squares by assumption. lra.
Qed.

Arguments γ_at {K Layer}.
Arguments γ_root {I Layer}.
Arguments homogeneous_layers {I K Layer}.
Arguments multi_homogeneous {I K Block}.
Arguments product {Block}.
Arguments spread {I Block}.
