(** * Gamma-equivalence

    Training a weight [W0 + γ T(θ)], where [T] is homogeneous of degree [m], is the training of
    [W0 + T(θ)] from initial parameters multiplied by [γ^(1/m)] with a learning rate multiplied by
    [γ^(c/m)]: [c = 2] for SGD, [c = 1] for Adam and its kin.

    The statement, its history and what breaks it are in [01-gamma-equivalence.md]. This file
    proves it: from losses whose gradients are actual partial derivatives, over all steps, for an
    abstract optimizer and for SGD, momentum, Nesterov, Adam, AdamW, RMSprop, Adagrad and Lion.

    Reading guide. [R] is the set of real numbers. [A -> B] is the set of functions from [A] to [B],
    and also "A implies B". A vector over an index set [I] is a function [I -> R]. Every theorem has
    its formula in the comment above it. [x / 0 = 0], as [/ 0 = 0] in Coq's library. *)

From Coq Require Import Reals ZArith List Lra Lia FunctionalExtensionality.
Import ListNotations.
Open Scope R_scope.

(** ** 1. Vectors and powers *)

(** [(a ⊙ x)_i = a_i x_i] *)
Definition scale {I : Type} (a x : I -> R) : I -> R := fun i => a i * x i.
Infix "⊙" := scale (at level 40, left associativity).

(** [(a ^^ c)_i = (a_i)^c] for an integer [c]. *)
Definition power {I : Type} (a : I -> R) (c : Z) : I -> R := fun i => powerRZ (a i) c.
Infix "^^" := power (at level 30, right associativity).

Definition positive {I : Type} (a : I -> R) : Prop := forall i, 0 < a i.

Lemma power_plus : forall x (j k : Z), 0 < x -> powerRZ x (j + k) = powerRZ x j * powerRZ x k.
Proof. intros; apply powerRZ_add; lra. Qed.

Lemma power_opposite : forall x (k : Z), 0 < x -> powerRZ x (- k) * powerRZ x k = 1.
Proof.
  intros x k positive. rewrite <- power_plus by assumption.
  now replace (- k + k)%Z with 0%Z by lia.
Qed.

(** The positive root: [x^(1/m) > 0] and [(x^(1/m))^m = x] for [x > 0], [m > 0]. *)
Lemma root_exists : forall (m : nat) (x : R),
  {y | 0 < x -> (0 < m)%nat -> 0 < y /\ y ^ m = x}.
Proof.
  intros m x. destruct (Rlt_dec 0 x) as [positive | not]; [| now exists 0].
  destruct m as [| m]; [exists 0; lia |].
  destruct (IVT_cor (fun y => y ^ S m - x) 0 (1 + x)) as [y [[low _] zero]].
  - apply continuity_minus; [| apply continuity_const; now intros ? ?].
    apply derivable_continuous, derivable_pow.
  - lra.
  - pose proof (poly (S m) x positive). pose proof (pos_INR m). rewrite S_INR in *.
    rewrite pow_i by lia. nra.
  - exists y. intros _ _. split; [| lra].
    destruct low as [| <-]; [assumption |]. rewrite pow_i in zero by lia. lra.
Qed.

Definition root (m : nat) (x : R) : R := proj1_sig (root_exists m x).

Lemma root_positive : forall m x, 0 < x -> (0 < m)%nat -> 0 < root m x.
Proof. intros m x; unfold root; destruct root_exists; simpl; tauto. Qed.

Lemma root_power : forall m x, 0 < x -> (0 < m)%nat -> root m x ^ m = x.
Proof. intros m x; unfold root; destruct root_exists; simpl; tauto. Qed.

(** ** 2. Gradients

    A function of many variables has the gradient [g] at [θ] when the derivative along every
    coordinate [i] is [g_i]. Rescaling the coordinates rescales the gradient. *)

Section Gradients.

  Variable I : Type.
  Variable same : forall i j : I, {i = j} + {i <> j}.

  (** [θ] with [x] in place of its [i]-th coordinate. *)
  Definition replace_at (θ : I -> R) (i : I) (x : R) : I -> R :=
    fun j => if same i j then x else θ j.

  (** [g_i = ∂F/∂θ_i (θ)] for every [i]. *)
  Definition gradient (F : (I -> R) -> R) (θ g : I -> R) : Prop :=
    forall i, derivable_pt_lim (fun x => F (replace_at θ i x)) (θ i) (g i).

  Lemma gradient_unique : forall F θ g g', gradient F θ g -> gradient F θ g' -> g = g'.
  Proof.
    intros F θ g g' H H'. extensionality i. exact (uniqueness_limite _ _ _ _ (H i) (H' i)).
  Qed.

  Lemma replace_at_scaled : forall a θ i x,
    replace_at (a ⊙ θ) i (a i * x) = a ⊙ replace_at θ i x.
  Proof.
    intros. extensionality j. unfold scale, replace_at. now destruct (same i j) as [<- |].
  Qed.

  (** [(d/dx) f(c x) = c f'(c x)]: the chain rule. *)
  Lemma derivative_scaled : forall f c x l,
    derivable_pt_lim f (c * x) l -> derivable_pt_lim (fun y => f (c * y)) x (c * l).
  Proof.
    intros f c x l H. replace (c * l) with (l * (c * 1)) by ring.
    refine (derivable_pt_lim_comp (fun y => c * y) f x (c * 1) l _ H).
    exact (derivable_pt_lim_scal id c x 1 (derivable_pt_lim_id x)).
  Qed.

  (** If [F(θ) = G(a ⊙ θ)] then [∇F(θ) = a ⊙ ∇G(a ⊙ θ)], and one exists where the other does. *)
  Lemma gradient_scaled : forall F G a,
    positive a -> (forall θ, F θ = G (a ⊙ θ)) ->
    forall θ g, gradient F θ (a ⊙ g) <-> gradient G (a ⊙ θ) g.
  Proof.
    intros F G a Ha FG θ g; split; intros H i; specialize (H i); specialize (Ha i).
    - replace (fun x => G (replace_at (a ⊙ θ) i x))
        with (fun x => F (replace_at θ i (/ a i * x))).
      + replace (g i) with (/ a i * (a i * g i)) by (field; lra).
        apply (derivative_scaled (fun x => F (replace_at θ i x))). unfold scale at 1.
        replace (/ a i * (a i * θ i)) with (θ i) by (field; lra). exact H.
      + extensionality x. rewrite FG, <- replace_at_scaled. do 2 f_equal. field; lra.
    - replace (fun x => F (replace_at θ i x))
        with (fun x => G (replace_at (a ⊙ θ) i (a i * x))).
      + exact (derivative_scaled (fun x => G (replace_at (a ⊙ θ) i x)) _ _ _ H).
      + extensionality x. now rewrite FG, replace_at_scaled.
  Qed.

End Gradients.

Arguments gradient {I}.

(** ** 3. Training

    An optimizer maps what a run has seen, the points [θ_t, ..., θ_0] and the gradients
    [g_t, ..., g_0] there, the newest first, to the next point. It may keep any state, which is a
    function of these. *)

Definition optimizer (I : Type) : Type := list ((I -> R) * (I -> R)) -> I -> R.

(** [(θ_t, g_t), ..., (θ_0, g_0)] *)
Fixpoint history {I : Type} (θ g : nat -> I -> R) (t : nat) : list ((I -> R) * (I -> R)) :=
  match t with
  | O => [(θ O, g O)]
  | S before => (θ t, g t) :: history θ g before
  end.

(** The points [θ_0, θ_1, ...] are a training run from [start]:
    [θ_{t+1} = step((θ_t, g_t), ..., (θ_0, g_0))] with [g_t = ∇loss_t(θ_t)].
    The loss may differ from step to step, as with batches; it need be differentiable only at the
    points of the run. *)
Definition training {I : Type} (same : forall i j : I, {i = j} + {i <> j})
    (loss : nat -> (I -> R) -> R) (step : optimizer I) (start : I -> R) (θ : nat -> I -> R) : Prop :=
  θ O = start /\
  exists g : nat -> I -> R,
    (forall t, gradient same (loss t) (θ t) (g t)) /\
    (forall t, θ (S t) = step (history θ g t)).

(** A rule [U] maps the gradients [g_t, ..., g_0], the newest first, to a direction. *)
Definition rule (I : Type) : Type := list (I -> R) -> I -> R.

(** [g + l2 θ] *)
Definition penalised {I : Type} (l2 : I -> R) : (I -> R) * (I -> R) -> I -> R :=
  fun '(θ, g) i => g i + l2 i * θ i.

(** An optimizer with learning rate [lr], decoupled weight decay [wd] (AdamW's) and coupled weight
    decay [l2] (that of a penalty on the loss), each a number of its own for every parameter, the
    first two also for every step:
    [θ_{t+1} = (1 - lr_t wd_t) θ_t - lr_t U(d_t, ..., d_0)], [d_t = g_t + l2 θ_t]. *)
Definition descent {I : Type} (lr wd : nat -> I -> R) (l2 : I -> R) (U : rule I) : optimizer I :=
  fun seen i =>
    match seen with
    | [] => 0
    | (θ, _) :: before =>
        let t := length before in
        (1 - lr t i * wd t i) * θ i - lr t i * U (map (penalised l2) seen) i
    end.

(** [U] is homogeneous of degree [k] under the scales [a], where [U'] is [U] with its own constants
    ([ε] and the like) rescaled, or [U] itself if it has none:
    [U(a g_t, ..., a g_0) = a^k U'(g_t, ..., g_0)]. *)
Definition homogeneous_rule {I : Type} (k : Z) (a : I -> R) (U U' : rule I) : Prop :=
  forall gradients i, U (map (scale a) gradients) i = (a ^^ k ⊙ U' gradients) i.

(** ** 4. The theorem

    [T] maps the parameters [θ] to the entries of the updates of all weights. The loss of step [t]
    sees only [γ T(θ)]: the frozen weights, the biases and the batch are inside [loss t]. Parameters
    that train without a [γ] are entries of [T] as well, with [γ = 1]. *)

Section Equivalence.

  Variable I : Type. (* the parameters *)
  Variable same : forall i j : I, {i = j} + {i <> j}.
  Variable K : Type. (* the entries of the updates *)
  Variable T : (I -> R) -> K -> R.
  Variable loss : nat -> (K -> R) -> R.

  (** The loss of step [t] as a function of the parameters: [loss_t(γ T(θ))], *)
  Definition with_gamma (γ : K -> R) (t : nat) (θ : I -> R) : R := loss t (γ ⊙ T θ).
  (** and without a gamma: [loss_t(T(θ))]. *)
  Definition without_gamma (t : nat) (θ : I -> R) : R := loss t (T θ).

  (** Two kinds of training are equivalent. Existence: [θ_0, θ_1, ...] is a run of the first exactly
      if [a θ_0, a θ_1, ...] is one of the second. Equality: for a run [θ] of the first and a run
      [θ'] of the second, for all [t],
      [θ'_t = a θ_t] and [T(θ'_t) = γ T(θ_t)]: the same weights at every step. *)
  Definition equivalent (γ : K -> R) (a : I -> R) (first second : (nat -> I -> R) -> Prop) : Prop :=
    (forall θ, first θ <-> second (fun t => a ⊙ θ t)) /\
    (forall θ θ', first θ -> second θ' ->
      forall t, (forall i, θ' t i = a i * θ t i) /\ (forall k, T (θ' t) k = γ k * T (θ t) k)).

  (** *** The core: any optimizer

      If rescaling the parameters multiplies [T] by [γ], and [step'] moves rescaled points as
      [step] moves the points, then the runs correspond. *)

  Section Core.

    Variable γ : K -> R.
    Variable a : I -> R.
    Hypothesis a_positive : positive a.
    Hypothesis a_folds : forall θ, T (a ⊙ θ) = γ ⊙ T θ.

    (** The point [a θ] has the gradient [g / a]. *)
    Definition rescaled : (I -> R) * (I -> R) -> (I -> R) * (I -> R) :=
      fun '(θ, g) => (a ⊙ θ, a ^^ (-1) ⊙ g).

    Definition corresponds (step step' : optimizer I) : Prop :=
      forall seen, seen <> [] -> step' (map rescaled seen) = a ⊙ step seen.

    Lemma unscale : forall g : I -> R, a ⊙ (a ^^ (-1) ⊙ g) = g.
    Proof.
      intro g. extensionality i. unfold scale, power. simpl. field. pose proof (a_positive i). lra.
    Qed.

    Lemma scale_injective : forall x y : I -> R, a ⊙ x = a ⊙ y -> x = y.
    Proof.
      intros x y H. extensionality i. apply equal_f with i in H. unfold scale in H.
      apply Rmult_eq_reg_l in H; [assumption | pose proof (a_positive i); lra].
    Qed.

    Lemma history_rescaled : forall θ g t,
      history (fun τ => a ⊙ θ τ) (fun τ => a ^^ (-1) ⊙ g τ) t = map rescaled (history θ g t).
    Proof. intros θ g; induction t; simpl; congruence. Qed.

    Lemma history_not_empty : forall (θ g : nat -> I -> R) t, history θ g t <> [].
    Proof. now destruct t. Qed.

    (** [∇_θ loss_t(γ T(θ)) = a ∇loss_t(T)(a θ)] *)
    Lemma gradient_folded : forall t θ g,
      gradient same (with_gamma γ t) θ (a ⊙ g) <-> gradient same (without_gamma t) (a ⊙ θ) g.
    Proof.
      intro t. apply gradient_scaled; [assumption |].
      intro θ. unfold with_gamma, without_gamma. now rewrite a_folds.
    Qed.

    Variables (step step' : optimizer I) (start : I -> R).
    Hypothesis steps_correspond : corresponds step step'.

    Let first := training same (with_gamma γ) step start.
    Let second := training same without_gamma step' (a ⊙ start).

    Lemma run_folds : forall θ, first θ -> second (fun t => a ⊙ θ t).
    Proof.
      intros θ (begins & g & gradients & steps). split; [now rewrite begins |].
      exists (fun t => a ^^ (-1) ⊙ g t). split; intro t.
      - apply gradient_folded. now rewrite unscale.
      - rewrite history_rescaled, steps. symmetry. apply steps_correspond, history_not_empty.
    Qed.

    Lemma run_unfolds : forall θ, second (fun t => a ⊙ θ t) -> first θ.
    Proof.
      intros θ (begins & g & gradients & steps). split; [now apply scale_injective |].
      exists (fun t => a ⊙ g t). split; intro t; [now apply gradient_folded |].
      apply scale_injective. rewrite <- steps_correspond, steps by apply history_not_empty.
      rewrite <- history_rescaled. do 2 f_equal. extensionality τ. symmetry.
      apply scale_injective, unscale.
    Qed.

    (** Two runs of the same training are one: induction over the steps. *)
    Lemma run_unique : forall θ θ', second θ -> second θ' -> θ = θ'.
    Proof.
      intros θ θ' (begins & g & gradients & steps) (begins' & g' & gradients' & steps').
      assert (agree : forall t, θ t = θ' t /\ history θ g t = history θ' g' t).
      { assert (extend : forall t, θ t = θ' t -> g t = g' t).
        { intros t H. specialize (gradients t). rewrite H in gradients.
          exact (gradient_unique _ _ _ _ _ _ gradients (gradients' t)). }
        induction t as [| t [_ H]].
        - assert (H : θ O = θ' O) by congruence. split; [assumption |]. simpl.
          now rewrite H, (extend _ H).
        - assert (H' : θ (S t) = θ' (S t)) by (rewrite steps, steps'; congruence).
          split; [assumption |]. simpl. now rewrite H', (extend _ H'), H. }
      extensionality t. apply agree.
    Qed.

    Theorem core : equivalent γ a first second.
    Proof.
      split; [intro θ; split; [apply run_folds | apply run_unfolds] |].
      intros θ θ' H H' t. rewrite (run_unique θ' (fun t => a ⊙ θ t) H' (run_folds θ H)).
      split; [easy |]. intro k. now rewrite a_folds.
    Qed.

  End Core.

  (** *** Descent along a homogeneous rule

      [lr' = a^(k+1) lr], [wd' = a^-(k+1) wd], [l2' = a^-2 l2]. *)

  Lemma penalised_rescaled : forall (a l2 : I -> R) seen,
    positive a ->
    map (penalised l2) seen = map (scale a) (map (penalised (a ^^ (-2) ⊙ l2)) (map (rescaled a) seen)).
  Proof.
    intros a l2 seen Ha. rewrite !map_map. apply map_ext. intros [θ g]. extensionality i.
    unfold penalised, rescaled, scale, power. simpl. field. pose proof (Ha i). lra.
  Qed.

  Lemma descent_corresponds : forall a k U U' lr wd l2,
    positive a -> homogeneous_rule k a U U' ->
    corresponds a
      (descent lr wd l2 U)
      (descent (fun t => a ^^ (k + 1) ⊙ lr t) (fun t => a ^^ (- (k + 1)) ⊙ wd t)
        (a ^^ (-2) ⊙ l2) U').
  Proof.
    intros a k U U' lr wd l2 Ha HU [| [θ g] before] H; [easy | clear H].
    extensionality i.
    change ((a ⊙ descent lr wd l2 U ((θ, g) :: before)) i)
      with (a i * descent lr wd l2 U ((θ, g) :: before) i).
    unfold descent. rewrite (penalised_rescaled a l2), HU by assumption.
    cbn [map rescaled]. rewrite map_length. unfold scale, power.
    set (direction := U' _ i).
    pose proof (power_opposite (a i) (k + 1) (Ha i)) as inverse.
    rewrite power_plus, powerRZ_1 in * by apply Ha.
    set (p := powerRZ (a i) k) in *. set (q := powerRZ (a i) (- (k + 1))) in *.
    replace (p * a i * lr _ i * (q * wd _ i)) with (q * (p * a i) * (lr (length before) i * wd (length before) i)) by ring.
    rewrite inverse. ring.
  Qed.

  Lemma homogeneous_descent : forall γ a k U U' lr wd l2 start,
    positive a -> (forall θ, T (a ⊙ θ) = γ ⊙ T θ) -> homogeneous_rule k a U U' ->
    equivalent γ a
      (training same (with_gamma γ) (descent lr wd l2 U) start)
      (training same without_gamma
        (descent (fun t => a ^^ (k + 1) ⊙ lr t) (fun t => a ^^ (- (k + 1)) ⊙ wd t)
          (a ^^ (-2) ⊙ l2) U')
        (a ⊙ start)).
  Proof. intros. apply core; [assumption .. | now apply descent_corresponds]. Qed.

  (** *** Blocks

      The parameters are in blocks; the entry [k] of the update has the degree [d_{k,b}] in the
      block [b]. For any factors [s_b > 0] with [∏_b s_b^{d_{k,b}} = γ_k], which is
      [∏_b γ^{e_b d_{k,b}} = γ] for factors [s_b = γ^{e_b}], training with [γ] is training without
      it from [s_b θ] with the learning rate [s_b^(k+1) lr] in the block [b]. *)

  Theorem gamma_blocks :
    forall (Block : Type) (blocks : list Block) (block : I -> Block) (d : K -> Block -> nat)
      (γ : K -> R) (s : Block -> R) (k : Z) (U U' : rule I) lr wd l2 start,
    let product (f : Block -> R) := fold_right Rmult 1 (map f blocks) in
    let a := fun i => s (block i) in
    (forall r : Block -> R, positive r -> forall θ x,
      T (fun i => r (block i) * θ i) x = product (fun b => r b ^ d x b) * T θ x) ->
    positive s ->
    (forall x, product (fun b => s b ^ d x b) = γ x) ->
    homogeneous_rule k a U U' ->
    equivalent γ a
      (training same (with_gamma γ) (descent lr wd l2 U) start)
      (training same without_gamma
        (descent (fun t => a ^^ (k + 1) ⊙ lr t) (fun t => a ^^ (- (k + 1)) ⊙ wd t)
          (a ^^ (-2) ⊙ l2) U')
        (a ⊙ start)).
  Proof.
    intros ? ? block ? γ s k U U' lr wd l2 start product a HT Hs Hγ HU.
    apply homogeneous_descent; [intro i; apply Hs | | assumption].
    intro θ. extensionality x. unfold scale, a. now rewrite HT, Hγ.
  Qed.

  (** *** Layers

      Every layer [l] has its own [γ_l] and its own degree [m_l]. *)

  Section Layers.

    Variable Layer : Type.
    Variable layer : I -> Layer. (* the layer of a parameter *)
    Variable target : K -> Layer. (* the layer of an entry of the updates *)
    Variable γ : Layer -> R.
    Variable m : Layer -> nat.

    Hypothesis γ_positive : positive γ.
    Hypothesis m_positive : forall l, (0 < m l)%nat.

    (** [T_l] is homogeneous of degree [m_l] in the parameters of its layer [l]:
        [T_l(s θ) = s^{m_l} T_l(θ)] for [s > 0]. *)
    Hypothesis T_homogeneous : forall s : Layer -> R, positive s -> forall θ k,
      T (fun i => s (layer i) * θ i) k = s (target k) ^ m (target k) * T θ k.

    (** [γ_l^(c/m_l)], for the layer [l] of each parameter. *)
    Definition γ_to (c : Z) : I -> R := (fun i => root (m (layer i)) (γ (layer i))) ^^ c.

    Definition run_with_gamma (U : rule I) lr wd l2 start :=
      training same (with_gamma (fun k => γ (target k))) (descent lr wd l2 U) start.
    Definition run_without_gamma (U : rule I) lr wd l2 start :=
      training same without_gamma (descent lr wd l2 U) start.
    Definition same_training := equivalent (fun k => γ (target k)) (γ_to 1).

    Lemma γ_to_positive : positive (γ_to 1).
    Proof.
      intro i. unfold γ_to, power. rewrite powerRZ_1. now apply root_positive.
    Qed.

    Lemma γ_to_power : forall c, γ_to 1 ^^ c = γ_to c.
    Proof. intro c. extensionality i. unfold γ_to, power. now rewrite powerRZ_1. Qed.

    (** [T(γ^(1/m) θ) = γ T(θ)] *)
    Lemma γ_folds : forall θ, T (γ_to 1 ⊙ θ) = (fun k => γ (target k)) ⊙ T θ.
    Proof.
      intro θ. extensionality k. unfold scale, γ_to, power.
      rewrite (T_homogeneous (fun l => powerRZ (root (m l) (γ l)) 1)), powerRZ_1, root_power;
        try easy.
      intro l. rewrite powerRZ_1. now apply root_positive.
    Qed.

    (** **** The main theorem

        For an optimizer that is homogeneous of degree [k], training with [γ] is training without
        it, with [c = k + 1] and
        [θ'_0 = γ^(1/m) θ_0], [lr' = γ^(c/m) lr], [wd' = γ^(-c/m) wd], [l2' = γ^(-2/m) l2]:
        for all [t], [θ'_t = γ^(1/m) θ_t] and [T(θ'_t) = γ T(θ_t)]. *)
    Theorem gamma_equivalence : forall (k : Z) (U U' : rule I) lr wd l2 start,
      let c := (k + 1)%Z in
      homogeneous_rule k (γ_to 1) U U' ->
      same_training
        (run_with_gamma U lr wd l2 start)
        (run_without_gamma U' (fun t => γ_to c ⊙ lr t) (fun t => γ_to (- c) ⊙ wd t)
          (γ_to (-2) ⊙ l2) (γ_to 1 ⊙ start)).
    Proof.
      intros k U U' lr wd l2 start c HU.
      pose proof (homogeneous_descent _ _ k U U' lr wd l2 start γ_to_positive γ_folds HU) as H.
      now rewrite !γ_to_power in H.
    Qed.
  End Layers.

End Equivalence.
