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

Lemma power_opposite : forall x (k : Z), 0 < x -> powerRZ x (- k) * powerRZ x k = 1.
Proof. intros x k positive. rewrite <- powerRZ_add by lra. now rewrite Z.add_opp_diag_l. Qed.

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
  Proof. intros. extensionality j. unfold scale, replace_at. now destruct (same i j) as [<- |]. Qed.

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

(** A point and the gradient there: [(θ_t, g_t)] *)
Definition sight (I : Type) : Type := (I -> R) * (I -> R).

Definition optimizer (I : Type) : Type := list (sight I) -> I -> R.

(** [(θ_t, g_t), ..., (θ_0, g_0)] *)
Fixpoint history {I : Type} (θ g : nat -> I -> R) (t : nat) : list (sight I) :=
  match t with
  | O => [(θ O, g O)]
  | S before => (θ t, g t) :: history θ g before
  end.

(** The points [θ_0, θ_1, ...] are a training run from [start]:
    [θ_{t+1} = step((θ_t, g_t), ..., (θ_0, g_0))] with [g_t = ∇loss_t(θ_t)].
    The loss may differ from step to step, as with batches; it need be differentiable only at the
    points of the run. *)
Definition training {I : Type} (same : forall i j : I, {i = j} + {i <> j})
    (loss : nat -> (I -> R) -> R) (step : optimizer I) (start : I -> R)
    (θ : nat -> I -> R) : Prop :=
  θ O = start /\
  exists g : nat -> I -> R,
    (forall t, gradient same (loss t) (θ t) (g t)) /\
    (forall t, θ (S t) = step (history θ g t)).

(** A rule [U] maps the gradients [g_t, ..., g_0], the newest first, to a direction. *)
Definition rule (I : Type) : Type := list (I -> R) -> I -> R.

(** [g + l2 θ] *)
Definition penalised {I : Type} (l2 : I -> R) : sight I -> I -> R :=
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

Definition no_l2 {I : Type} : I -> R := fun _ => 0.
Definition no_wd {I : Type} : nat -> I -> R := fun _ _ => 0.

(** [U] is homogeneous of degree [k] under the scales [a], where [U'] is [U] with its own constants
    ([ε] and the like) rescaled, or [U] itself if it has none:
    [U(a g_t, ..., a g_0) = a^k U'(g_t, ..., g_0)]. *)
Definition homogeneous_rule {I : Type} (k : Z) (a : I -> R) (U U' : rule I) : Prop :=
  forall gradients i, U (map (scale a) gradients) i = (a ^^ k ⊙ U' gradients) i.

(** ** 4. Rules and their degrees

    A rule that treats every parameter alone is a function of the list of its derivatives
    [g_t, ..., g_0], the newest first. *)

Definition each {I : Type} (u : I -> list R -> R) : rule I :=
  fun gradients i => u i (map (fun g => g i) gradients).

Definition newest (g : list R) : R := hd 0 g.
Definition sum (g : list R) : R := fold_right Rplus 0 g.
Definition squares (g : list R) : list R := map Rsqr g.

(** [v_t = β v_{t-1} + (1 - β) g_t], [v_{-1} = 0] *)
Fixpoint average (β : R) (g : list R) : R :=
  match g with
  | [] => 0
  | now :: before => β * average β before + (1 - β) * now
  end.

(** [b_t = μ b_{t-1} + (1 - τ) g_t], [b_0 = g_0]: momentum [μ] with dampening [τ] *)
Fixpoint buffer (μ τ : R) (g : list R) : R :=
  match g with
  | [] => 0
  | [first] => first
  | now :: before => μ * buffer μ τ before + (1 - τ) * now
  end.

Definition sign (x : R) : R :=
  if Rlt_dec 0 x then 1 else if Rlt_dec x 0 then -1 else 0.

(** [g_t] *)
Definition sgd {I : Type} : rule I := each (fun _ => newest).

(** [b_t] *)
Definition momentum {I : Type} (μ τ : R) : rule I := each (fun _ => buffer μ τ).

(** [g_t + μ b_t] *)
Definition nesterov {I : Type} (μ : R) : rule I :=
  each (fun _ g => newest g + μ * buffer μ 0 g).

(** [m_t / (1 - β1^(t+1)) / (√(v_t / (1 - β2^(t+1))) + ε)], where [m] averages [g] and [v] its
    squares. *)
Definition adam {I : Type} (β1 β2 : R) (ε : I -> R) : rule I :=
  each (fun i g =>
    let n := length g in
    (average β1 g / (1 - β1 ^ n)) / (sqrt (average β2 (squares g) / (1 - β2 ^ n)) + ε i)).

(** [g_t / (√v_t + ε)] *)
Definition rmsprop {I : Type} (α : R) (ε : I -> R) : rule I :=
  each (fun i g => newest g / (sqrt (average α (squares g)) + ε i)).

(** [g_t / (√(acc + g_t² + ... + g_0²) + ε)], from the accumulator [acc] *)
Definition adagrad {I : Type} (acc ε : I -> R) : rule I :=
  each (fun i g => newest g / (sqrt (acc i + sum (squares g)) + ε i)).

(** [sign(β1 m_{t-1} + (1 - β1) g_t)], where [m] averages [g] with [β2] *)
Definition lion {I : Type} (β1 β2 : R) : rule I :=
  each (fun _ g => sign (β1 * average β2 (tl g) + (1 - β1) * newest g)).

Section Degrees.

  (** It is enough to look at one parameter. *)
  Lemma each_homogeneous : forall I k (a : I -> R) u u',
    (forall i g, u i (map (Rmult (a i)) g) = powerRZ (a i) k * u' i g) ->
    homogeneous_rule k a (each u) (each u').
  Proof.
    intros I k a u u' H gradients i. unfold each, scale at 2, power. rewrite <- H, !map_map.
    reflexivity.
  Qed.

  Variable s : R.
  Hypothesis s_positive : 0 < s.

  Lemma newest_scaled : forall g, newest (map (Rmult s) g) = s * newest g.
  Proof. destruct g; simpl; ring. Qed.
  Lemma tail_scaled : forall g, tl (map (Rmult s) g) = map (Rmult s) (tl g).
  Proof. now destruct g. Qed.
  Lemma sum_scaled : forall g, sum (map (Rmult s) g) = s * sum g.
  Proof. induction g as [| now g IH]; simpl; [| rewrite IH]; ring. Qed.
  Lemma average_scaled : forall β g, average β (map (Rmult s) g) = s * average β g.
  Proof. induction g as [| now g IH]; simpl; [| rewrite IH]; ring. Qed.

  Lemma buffer_scaled : forall μ τ g, buffer μ τ (map (Rmult s) g) = s * buffer μ τ g.
  Proof.
    induction g as [| now [| next g] IH]; [simpl; ring .. |].
    cbn [map buffer] in *. rewrite IH. ring.
  Qed.

  Lemma sign_scaled : forall x, sign (s * x) = sign x.
  Proof. intro x. unfold sign. repeat destruct Rlt_dec; nra. Qed.

  (** [√(s² v) + ε = s (√v + ε/s)] under a gradient that is [s] times another: the factor cancels,
      also where the denominator is zero. *)
  Lemma quotient_scaled : forall x v ε,
    s * x / (sqrt (s * s * v) + ε) = x / (sqrt v + powerRZ s (-1) * ε).
  Proof.
    intros x v ε. rewrite sqrt_mult_alt, sqrt_square by nra.
    replace (s * sqrt v + ε) with (s * (sqrt v + powerRZ s (-1) * ε)) by (simpl; field; lra).
    unfold Rdiv. rewrite Rinv_mult. rewrite <- Rmult_assoc. f_equal. field. lra.
  Qed.

End Degrees.

Lemma squares_scaled : forall s g, squares (map (Rmult s) g) = map (Rmult (s * s)) (squares g).
Proof. intros s g. unfold squares. rewrite !map_map. apply map_ext. intro. apply Rsqr_mult. Qed.

Section Rules.

  Variable I : Type.
  Variable a : I -> R.
  Hypothesis a_positive : positive a.

  (** SGD and momentum have degree 1, *)

  Lemma sgd_homogeneous : homogeneous_rule 1 a sgd sgd.
  Proof. apply each_homogeneous. intros. now rewrite newest_scaled, powerRZ_1. Qed.

  Lemma momentum_homogeneous : forall μ τ, homogeneous_rule 1 a (momentum μ τ) (momentum μ τ).
  Proof. intros. apply each_homogeneous. intros. now rewrite buffer_scaled, powerRZ_1. Qed.

  Lemma nesterov_homogeneous : forall μ, homogeneous_rule 1 a (nesterov μ) (nesterov μ).
  Proof.
    intros. apply each_homogeneous. intros. rewrite newest_scaled, buffer_scaled, powerRZ_1. ring.
  Qed.

  (** the adaptive rules and Lion degree 0, with [ε' = ε / a] and [acc' = acc / a²]. *)

  Lemma adam_homogeneous : forall β1 β2 ε,
    homogeneous_rule 0 a (adam β1 β2 ε) (adam β1 β2 (a ^^ (-1) ⊙ ε)).
  Proof.
    intros. apply each_homogeneous. intros i g. cbv zeta.
    assert (out : forall s x c, s * x / c = s * (x / c)) by (intros; unfold Rdiv; ring).
    rewrite map_length, squares_scaled, !average_scaled.
    rewrite (out _ _ (1 - β1 ^ _)), (out _ _ (1 - β2 ^ _)), quotient_scaled by apply a_positive.
    simpl. now rewrite Rmult_1_l.
  Qed.

  Lemma rmsprop_homogeneous : forall α ε,
    homogeneous_rule 0 a (rmsprop α ε) (rmsprop α (a ^^ (-1) ⊙ ε)).
  Proof.
    intros. apply each_homogeneous. intros i g.
    rewrite newest_scaled, squares_scaled, average_scaled, quotient_scaled by apply a_positive.
    simpl. now rewrite Rmult_1_l.
  Qed.

  Lemma adagrad_homogeneous : forall acc ε,
    homogeneous_rule 0 a (adagrad acc ε) (adagrad (a ^^ (-2) ⊙ acc) (a ^^ (-1) ⊙ ε)).
  Proof.
    intros. apply each_homogeneous. intros i g. pose proof (a_positive i).
    rewrite newest_scaled, squares_scaled, sum_scaled.
    replace (acc i + a i * a i * sum (squares g))
      with (a i * a i * ((a ^^ (-2) ⊙ acc) i + sum (squares g)))
      by (unfold scale, power; simpl; field; lra).
    rewrite quotient_scaled by assumption. simpl. now rewrite Rmult_1_l.
  Qed.

  Lemma lion_homogeneous : forall β1 β2, homogeneous_rule 0 a (lion β1 β2) (lion β1 β2).
  Proof.
    intros. apply each_homogeneous. intros i g.
    rewrite newest_scaled, tail_scaled, average_scaled.
    replace (_ + _) with (a i * (β1 * average β2 (tl g) + (1 - β1) * newest g)) by ring.
    rewrite sign_scaled by apply a_positive. simpl. now rewrite Rmult_1_l.
  Qed.

End Rules.

(** ** 5. The theorem

    [T] maps the parameters [θ] to the entries of the updates of all weights. The loss of step [t]
    sees only [γ T(θ)]: the frozen weights, the biases and the batch are inside [loss t]. Parameters
    that train without a [γ] are entries of [T] as well, with [γ = 1]. Where [T] changes from step to
    step, as with rank dropout, it has entries for each of its forms, and [loss t] sees its own. *)

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
      if [a θ_0, a θ_1, ...] is one of the second. Equality: for every run [θ] of the first, every
      run [θ'] of the second, and all [t], [θ'_t = a θ_t] and [T(θ'_t) = γ T(θ_t)]: the same weights
      at every step. *)
  Definition equivalent (γ : K -> R) (a : I -> R)
      (first second : (nat -> I -> R) -> Prop) : Prop :=
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
    Definition rescaled : sight I -> sight I :=
      fun '(θ, g) => (a ⊙ θ, a ^^ (-1) ⊙ g).

    Definition corresponds (step step' : optimizer I) : Prop :=
      forall seen, step' (map rescaled seen) = a ⊙ step seen.

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
    Proof. intros θ g. induction t as [| t IH]; simpl; [| rewrite IH]; reflexivity. Qed.

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
      - rewrite history_rescaled, steps. symmetry. apply steps_correspond.
    Qed.

    Lemma run_unfolds : forall θ, second (fun t => a ⊙ θ t) -> first θ.
    Proof.
      intros θ (begins & g & gradients & steps). split; [now apply scale_injective |].
      exists (fun t => a ⊙ g t). split; intro t; [now apply gradient_folded |].
      apply scale_injective. rewrite <- steps_correspond, steps, <- history_rescaled.
      do 2 f_equal. extensionality τ. symmetry. apply scale_injective, unscale.
    Qed.

    (** Two runs of the same training are one: induction over the steps. *)
    Lemma run_unique : forall θ θ', second θ -> second θ' -> θ = θ'.
    Proof.
      intros θ θ' (begins & g & gradients & steps) (begins' & g' & gradients' & steps').
      assert (sights : forall t, θ t = θ' t -> (θ t, g t) = (θ' t, g' t)).
      { intros t H. specialize (gradients t). rewrite H in gradients |- *.
        now rewrite (gradient_unique _ _ _ _ _ _ gradients (gradients' t)). }
      assert (histories : forall t, history θ g t = history θ' g' t).
      { induction t as [| t IH]; simpl; rewrite sights; congruence. }
      extensionality t. destruct t as [| t]; [congruence |].
      now rewrite steps, steps', histories.
    Qed.

    Theorem runs_correspond : equivalent γ a first second.
    Proof.
      split; [intro θ; split; [apply run_folds | apply run_unfolds] |].
      intros θ θ' H H' t. rewrite (run_unique θ' (fun t => a ⊙ θ t) H' (run_folds θ H)).
      split; [easy |]. intro k. now rewrite a_folds.
    Qed.

  End Core.

  (** *** Descent along a homogeneous rule *)

  (** The descent with [lr' = a^c lr], [wd' = a^-c wd], [l2' = a^-2 l2]. *)
  Definition rescaled_descent (a : I -> R) (c : Z) lr wd l2 (U : rule I) : optimizer I :=
    descent (fun t => a ^^ c ⊙ lr t) (fun t => a ^^ (- c) ⊙ wd t) (a ^^ (-2) ⊙ l2) U.

  (** [g + l2 θ = a (g / a + l2 / a² · a θ)] *)
  Lemma penalised_rescaled : forall (a l2 : I -> R) seen,
    positive a ->
    map (penalised l2) seen
    = map (scale a) (map (penalised (a ^^ (-2) ⊙ l2)) (map (rescaled a) seen)).
  Proof.
    intros a l2 seen Ha. rewrite !map_map. apply map_ext. intros [θ g]. extensionality i.
    unfold penalised, rescaled, scale, power. simpl. field. pose proof (Ha i). lra.
  Qed.

  Lemma descent_corresponds : forall a k U U' lr wd l2,
    positive a -> homogeneous_rule k a U U' ->
    corresponds a (descent lr wd l2 U) (rescaled_descent a (k + 1) lr wd l2 U').
  Proof.
    intros a k U U' lr wd l2 Ha HU [| [θ g] before]; extensionality i;
      [unfold scale; simpl; ring |].
    change ((a ⊙ descent lr wd l2 U ((θ, g) :: before)) i)
      with (a i * descent lr wd l2 U ((θ, g) :: before) i).
    unfold rescaled_descent, descent. rewrite (penalised_rescaled a l2), HU by assumption.
    cbn [map rescaled]. rewrite map_length. unfold scale, power.
    set (direction := U' _ i).
    pose proof (power_opposite (a i) (k + 1) (Ha i)) as inverse.
    rewrite powerRZ_add, powerRZ_1 in * by (pose proof (Ha i); lra).
    set (p := powerRZ (a i) k) in *. set (q := powerRZ (a i) (- (k + 1))) in *.
    set (η := lr _ i). set (w := wd _ i).
    replace (p * a i * η * (q * w)) with (q * (p * a i) * (η * w)) by ring. rewrite inverse. ring.
  Qed.

  (** *** Clipping and max-norm

      Clipping multiplies the gradient in the group of the parameter [i] by [min(1, τ_i / N_i(g))],
      [N_i] the norm of that group. One factor [a] for each group lets [N_i] scale with it, and
      [τ' = τ / a]. *)

  Definition clip (N : I -> (I -> R) -> R) (τ : I -> R) : sight I -> sight I :=
    fun '(θ, g) => (θ, fun i => Rmin 1 (τ i / N i g) * g i).

  Definition clipped N τ (step : optimizer I) : optimizer I :=
    fun seen => step (map (clip N τ) seen).

  Lemma clipped_corresponds : forall a N τ step step',
    positive a -> (forall i g, N i (a ^^ (-1) ⊙ g) = (a ^^ (-1)) i * N i g) ->
    corresponds a step step' ->
    corresponds a (clipped N τ step) (clipped N (a ^^ (-1) ⊙ τ) step').
  Proof.
    intros a N τ step step' Ha HN H seen. unfold clipped.
    replace (map (clip N (a ^^ (-1) ⊙ τ)) (map (rescaled a) seen))
      with (map (rescaled a) (map (clip N τ) seen)).
    - apply H.
    - rewrite !map_map. apply map_ext. intros [θ g]. unfold rescaled, clip. f_equal.
      extensionality i. rewrite HN. unfold scale.
      assert (nonzero : (a ^^ (-1)) i <> 0) by (apply powerRZ_NOR; pose proof (Ha i); lra).
      set (p := (a ^^ (-1)) i) in *. unfold Rdiv. rewrite Rinv_mult.
      replace (p * τ i * (/ p * / N i g)) with (p * / p * (τ i * / N i g)) by ring.
      rewrite Rinv_r by assumption. rewrite Rmult_1_l. ring.
  Qed.

  (** Max-norm shrinks the parameters after every step by factors [f] that it finds from the update,
      [γ T(θ)] in one run and [T(θ)] in the other. They are the same update, so nothing changes. *)

  Definition shrunk (update : (I -> R) -> K -> R) (f : (K -> R) -> I -> R) (step : optimizer I) :
      optimizer I :=
    fun seen => f (update (step seen)) ⊙ step seen.

  Lemma shrunk_corresponds : forall γ a f step step',
    (forall θ, T (a ⊙ θ) = γ ⊙ T θ) -> corresponds a step step' ->
    corresponds a (shrunk (fun θ => γ ⊙ T θ) f step) (shrunk T f step').
  Proof.
    intros γ a f step step' HT H seen. unfold shrunk. rewrite H, HT.
    extensionality i. unfold scale. ring.
  Qed.

  Lemma homogeneous_descent : forall γ a k U U' lr wd l2 start,
    positive a -> (forall θ, T (a ⊙ θ) = γ ⊙ T θ) -> homogeneous_rule k a U U' ->
    equivalent γ a
      (training same (with_gamma γ) (descent lr wd l2 U) start)
      (training same without_gamma (rescaled_descent a (k + 1) lr wd l2 U') (a ⊙ start)).
  Proof. intros. apply runs_correspond; [assumption .. | now apply descent_corresponds]. Qed.

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
      (training same without_gamma (rescaled_descent a (k + 1) lr wd l2 U') (a ⊙ start)).
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

    (** [γ_l], for the layer [l] of each entry of the updates. *)
    Definition γ_at : K -> R := fun k => γ (target k).

    (** [γ_l^(1/m_l)], for the layer [l] of each parameter. *)
    Definition γ_root : I -> R := fun i => root (m (layer i)) (γ (layer i)).
    Local Notation "'γ^(1/m)'" := γ_root.

    (** The training with [γ], *)
    Definition original (U : rule I) lr wd l2 start :=
      training same (with_gamma γ_at) (descent lr wd l2 U) start.

    (** and that without it, [γ] folded into its numbers:
        [θ'_0 = γ^(1/m) θ_0], [lr' = γ^(c/m) lr], [wd' = γ^(-c/m) wd], [l2' = γ^(-2/m) l2]. *)
    Definition folded (c : Z) (U : rule I) lr wd l2 start :=
      training same without_gamma (rescaled_descent γ^(1/m) c lr wd l2 U) (γ^(1/m) ⊙ start).

    (** For all [t], [θ'_t = γ^(1/m) θ_t] and [T(θ'_t) = γ T(θ_t)]. *)
    Definition same_training := equivalent γ_at γ^(1/m).

    Lemma γ_root_positive : positive γ^(1/m).
    Proof. intro i. now apply root_positive. Qed.

    (** [T(γ^(1/m) θ) = γ T(θ)] *)
    Lemma γ_root_folds : forall θ, T (γ^(1/m) ⊙ θ) = γ_at ⊙ T θ.
    Proof.
      intro θ. extensionality k. unfold scale, γ_root.
      rewrite (T_homogeneous (fun l => root (m l) (γ l))), root_power; try easy.
      intro l. now apply root_positive.
    Qed.

    (** **** The main theorem

        With an optimizer that is homogeneous of degree [k], training with [γ] is the training
        without it that is folded with [c = k + 1]. *)
    Theorem gamma_equivalence : forall (k : Z) (U U' : rule I) lr wd l2 start,
      homogeneous_rule k γ^(1/m) U U' ->
      same_training (original U lr wd l2 start) (folded (k + 1) U' lr wd l2 start).
    Proof. intros. apply homogeneous_descent; auto using γ_root_positive, γ_root_folds. Qed.

    (** The same with gradients clipped by group and with max-norm:
        [τ' = γ^(-1/m) τ], and the bound of max-norm stays. *)
    Theorem gamma_clipping_max_norm : forall (k : Z) (U U' : rule I) N τ f lr wd l2 start,
      homogeneous_rule k γ^(1/m) U U' ->
      (forall i g, N i (γ^(1/m) ^^ (-1) ⊙ g) = (γ^(1/m) ^^ (-1)) i * N i g) ->
      same_training
        (training same (with_gamma γ_at)
          (shrunk (fun θ => γ_at ⊙ T θ) f (clipped N τ (descent lr wd l2 U)))
          start)
        (training same without_gamma
          (shrunk T f (clipped N (γ^(1/m) ^^ (-1) ⊙ τ)
            (rescaled_descent γ^(1/m) (k + 1) lr wd l2 U')))
          (γ^(1/m) ⊙ start)).
    Proof.
      intros. apply runs_correspond; auto using γ_root_positive, γ_root_folds.
      apply shrunk_corresponds, clipped_corresponds, descent_corresponds;
        auto using γ_root_positive, γ_root_folds.
    Qed.

    (** **** The optimizers

        The learning rates and the decays are schedules, of their own for every parameter. *)

    (** SGD: [c = 2]. *)
    Theorem gamma_sgd : forall lr wd l2 start,
      same_training (original sgd lr wd l2 start) (folded 2 sgd lr wd l2 start).
    Proof. intros. apply (gamma_equivalence 1), sgd_homogeneous. Qed.

    (** SGD with momentum [μ] and dampening [τ]: [c = 2]. *)
    Theorem gamma_momentum : forall μ τ lr wd l2 start,
      same_training
        (original (momentum μ τ) lr wd l2 start) (folded 2 (momentum μ τ) lr wd l2 start).
    Proof. intros. apply (gamma_equivalence 1), momentum_homogeneous. Qed.

    (** Nesterov's momentum [μ]: [c = 2]. *)
    Theorem gamma_nesterov : forall μ lr wd l2 start,
      same_training (original (nesterov μ) lr wd l2 start) (folded 2 (nesterov μ) lr wd l2 start).
    Proof. intros. apply (gamma_equivalence 1), nesterov_homogeneous. Qed.

    (** Adam: [c = 1], [ε' = γ^(-1/m) ε], [l2' = γ^(-2/m) l2]. *)
    Theorem gamma_adam : forall β1 β2 ε lr l2 start,
      same_training
        (original (adam β1 β2 ε) lr no_wd l2 start)
        (folded 1 (adam β1 β2 (γ^(1/m) ^^ (-1) ⊙ ε)) lr no_wd l2 start).
    Proof. intros. apply (gamma_equivalence 0), adam_homogeneous, γ_root_positive. Qed.

    (** AdamW, Adam with decoupled decay: [c = 1], [ε' = γ^(-1/m) ε], [wd' = γ^(-1/m) wd]. *)
    Theorem gamma_adamw : forall β1 β2 ε lr wd start,
      same_training
        (original (adam β1 β2 ε) lr wd no_l2 start)
        (folded 1 (adam β1 β2 (γ^(1/m) ^^ (-1) ⊙ ε)) lr wd no_l2 start).
    Proof. intros. apply (gamma_equivalence 0), adam_homogeneous, γ_root_positive. Qed.

    (** RMSprop: [c = 1], [ε' = γ^(-1/m) ε]. *)
    Theorem gamma_rmsprop : forall α ε lr wd l2 start,
      same_training
        (original (rmsprop α ε) lr wd l2 start)
        (folded 1 (rmsprop α (γ^(1/m) ^^ (-1) ⊙ ε)) lr wd l2 start).
    Proof. intros. apply (gamma_equivalence 0), rmsprop_homogeneous, γ_root_positive. Qed.

    (** Adagrad: [c = 1], [ε' = γ^(-1/m) ε], and the first accumulator [acc' = γ^(-2/m) acc]. *)
    Theorem gamma_adagrad : forall acc ε lr wd l2 start,
      same_training
        (original (adagrad acc ε) lr wd l2 start)
        (folded 1 (adagrad (γ^(1/m) ^^ (-2) ⊙ acc) (γ^(1/m) ^^ (-1) ⊙ ε)) lr wd l2 start).
    Proof. intros. apply (gamma_equivalence 0), adagrad_homogeneous, γ_root_positive. Qed.

    (** Lion: [c = 1]. *)
    Theorem gamma_lion : forall β1 β2 lr wd l2 start,
      same_training (original (lion β1 β2) lr wd l2 start) (folded 1 (lion β1 β2) lr wd l2 start).
    Proof. intros. apply (gamma_equivalence 0), lion_homogeneous, γ_root_positive. Qed.

  End Layers.

End Equivalence.

(** ** 6. The degrees of the adapters

    A matrix is a function of its row and its column; what lies outside its shape is not looked at.
    Scaling the factors one by one shows the degree in each, which is what [gamma_blocks] asks;
    scaling them alike shows the degree of the update, which is what [gamma_equivalence] asks. *)

Definition matrix : Type := nat -> nat -> R.

(** [s X] *)
Definition times (s : R) (X : matrix) : matrix := fun i j => s * X i j.

(** [f(0) + ... + f(n - 1)] *)
Fixpoint sum_below (n : nat) (f : nat -> R) : R :=
  match n with
  | O => 0
  | S before => sum_below before f + f before
  end.

(** LoRA: [(B A)_ij = Σ_{p < r} B_ip A_pj] *)
Definition lora (r : nat) (B A : matrix) : matrix :=
  fun i j => sum_below r (fun p => B i p * A p j).

(** [(X ∘ Y)_ij = X_ij Y_ij] *)
Definition hadamard (X Y : matrix) : matrix := fun i j => X i j * Y i j.

(** LoHa: [(B1 A1) ∘ (B2 A2)] *)
Definition loha (r1 r2 : nat) (B1 A1 B2 A2 : matrix) : matrix :=
  hadamard (lora r1 B1 A1) (lora r2 B2 A2).

(** [C ⊗ D] for [D] with [h] rows and [w] columns: [C_{i/h, j/w} D_{i mod h, j mod w}] *)
Definition kronecker (h w : nat) (C D : matrix) : matrix :=
  fun i j => C (i / h)%nat (j / w)%nat * D (i mod h)%nat (j mod w)%nat.

(** A kernel has a matrix for every tap [x]. *)
Definition kernel : Type := nat -> matrix.

(** Tucker: [W_oix = Σ_{p < r} Σ_{q < r'} G_pqx B_op A_qi] *)
Definition tucker (r r' : nat) (G : kernel) (B A : matrix) : kernel :=
  fun x o i => sum_below r (fun p => sum_below r' (fun q => G x p q * B o p * A q i)).

Lemma sum_below_scaled : forall s n f g,
  (forall p, f p = s * g p) -> sum_below n f = s * sum_below n g.
Proof. intros s n f g H. induction n as [| n IH]; simpl; [| rewrite IH, H]; ring. Qed.

(** LoRA has degree 1 in [B] and in [A]. *)
Lemma lora_degrees : forall r b a B A,
  lora r (times b B) (times a A) = times (b * a) (lora r B A).
Proof.
  intros. extensionality i. extensionality j. apply sum_below_scaled. intro. unfold times. ring.
Qed.

Lemma hadamard_degrees : forall x y X Y,
  hadamard (times x X) (times y Y) = times (x * y) (hadamard X Y).
Proof. intros. extensionality i. extensionality j. unfold hadamard, times. ring. Qed.

(** LoHa has degree 1 in each of its four factors. *)
Lemma loha_degrees : forall r1 r2 b1 a1 b2 a2 B1 A1 B2 A2,
  loha r1 r2 (times b1 B1) (times a1 A1) (times b2 B2) (times a2 A2)
  = times (b1 * a1 * (b2 * a2)) (loha r1 r2 B1 A1 B2 A2).
Proof. intros. unfold loha. now rewrite !lora_degrees, hadamard_degrees. Qed.

(** LoKr has degree 1 in [C] and in [D]; *)
Lemma kronecker_degrees : forall h w c d C D,
  kronecker h w (times c C) (times d D) = times (c * d) (kronecker h w C D).
Proof. intros. extensionality i. extensionality j. unfold kronecker, times. ring. Qed.

(** in [C], [B], [A] for [C ⊗ (B A)]; *)
Lemma lokr_degrees : forall h w r c b a C B A,
  kronecker h w (times c C) (lora r (times b B) (times a A))
  = times (c * (b * a)) (kronecker h w C (lora r B A)).
Proof. intros. now rewrite lora_degrees, kronecker_degrees. Qed.

(** and in all four factors of [(C1 C2) ⊗ (B A)]. *)
Lemma lokr_both_degrees : forall h w r1 r2 c1 c2 b a C1 C2 B A,
  kronecker h w (lora r1 (times c1 C1) (times c2 C2)) (lora r2 (times b B) (times a A))
  = times (c1 * c2 * (b * a)) (kronecker h w (lora r1 C1 C2) (lora r2 B A)).
Proof. intros. now rewrite !lora_degrees, kronecker_degrees. Qed.

(** The Tucker form has degree 1 in the core [G], in [B] and in [A]; *)
Lemma tucker_degrees : forall r r' g b a G B A x,
  tucker r r' (fun x => times g (G x)) (times b B) (times a A) x
  = times (g * b * a) (tucker r r' G B A x).
Proof.
  intros. extensionality o. extensionality i. do 2 (apply sum_below_scaled; intro).
  unfold times. ring.
Qed.

(** so has LoHa of two Tucker forms, of degree 6, *)
Lemma loha_tucker_degrees : forall r1 r2 g1 b1 a1 g2 b2 a2 G1 B1 A1 G2 B2 A2 x,
  hadamard
    (tucker r1 r1 (fun x => times g1 (G1 x)) (times b1 B1) (times a1 A1) x)
    (tucker r2 r2 (fun x => times g2 (G2 x)) (times b2 B2) (times a2 A2) x)
  = times (g1 * b1 * a1 * (g2 * b2 * a2))
      (hadamard (tucker r1 r1 G1 B1 A1 x) (tucker r2 r2 G2 B2 A2 x)).
Proof. intros. now rewrite !tucker_degrees, hadamard_degrees. Qed.

(** and LoKr with a Tucker form on the right, of degree 4. *)
Lemma lokr_tucker_degrees : forall h w r r' c g b a C G B A x,
  kronecker h w (times c C) (tucker r r' (fun x => times g (G x)) (times b B) (times a A) x)
  = times (c * (g * b * a)) (kronecker h w C (tucker r r' G B A x)).
Proof. intros. now rewrite tucker_degrees, kronecker_degrees. Qed.

(** ** 7. One adapter in full: LoRA under AdamW

    Its parameters are the entries of [B] and [A]. *)

Inductive factor : Type := B | A.

(** An entry of a factor: its row and its column. *)
Definition entry : Type := factor * nat * nat.

Definition same_entry : forall i j : entry, {i = j} + {i <> j}.
Proof. repeat decide equality. Defined.

Definition factor_of : entry -> factor := fun '(f, _, _) => f.

Definition lora_update (r : nat) (θ : entry -> R) : nat * nat -> R :=
  fun '(i, j) => lora r (fun i p => θ (B, i, p)) (fun p j => θ (A, p, j)) i j.

Lemma lora_update_degrees : forall r (s : factor -> R) θ x,
  lora_update r (fun i => s (factor_of i) * θ i) x = s B * s A * lora_update r θ x.
Proof. intros r s θ [i j]. exact (equal_f (equal_f (lora_degrees r (s B) (s A) _ _) i) j). Qed.

(** Its degree, as [gamma_equivalence] asks for it. *)
Lemma lora_update_homogeneous : forall r (s : unit -> R) θ x,
  lora_update r (fun i => s tt * θ i) x = s tt ^ 2 * lora_update r θ x.
Proof. intros. rewrite (lora_update_degrees r (fun _ => s tt)). ring. Qed.

(** For any factors [a_B], [a_A] with [a_B a_A = γ], training [W0 + γ B A] with AdamW gives at every
    step the weights of training [W0 + B A] from [a_B B_0] and [a_A A_0], each factor with its own
    learning rate [a lr], decay [wd / a] and [ε / a]: with [a_B = a_A = √γ], or unevenly, which is
    Schulman's invariance. *)
Theorem gamma_lora_adamw : forall r γ (a : factor -> R) loss β1 β2 ε lr wd start θ θ',
  0 < a B -> 0 < a A -> a B * a A = γ ->
  training same_entry (fun t θ => loss t (fun x => γ * lora_update r θ x))
    (descent lr wd no_l2 (adam β1 β2 ε))
    start θ ->
  training same_entry (fun t θ => loss t (lora_update r θ))
    (descent (fun t i => a (factor_of i) * lr t i) (fun t i => / a (factor_of i) * wd t i) no_l2
      (adam β1 β2 (fun i => / a (factor_of i) * ε i)))
    (fun i => a (factor_of i) * start i) θ' ->
  forall t, (forall i, θ' t i = a (factor_of i) * θ t i)
    /\ (forall x, lora_update r (θ' t) x = γ * lora_update r (θ t) x).
Proof.
  intros r γ a loss β1 β2 ε lr wd start θ θ' positive_B positive_A folds run run'.
  set (s := fun i => a (factor_of i)).
  assert (a_positive : positive a) by now intros [|].
  assert (degrees : forall s : factor -> R, positive s -> forall θ x,
    lora_update r (fun i => s (factor_of i) * θ i) x
    = fold_right Rmult 1 (map (fun f => s f ^ 1) [B; A]) * lora_update r θ x).
  { intros. rewrite lora_update_degrees. simpl. ring. }
  assert (product : nat * nat -> fold_right Rmult 1 (map (fun f => a f ^ 1) [B; A]) = γ).
  { intros _. simpl. rewrite <- folds. ring. }
  destruct (gamma_blocks entry same_entry _ (lora_update r) loss factor [B; A] factor_of
    (fun _ _ => 1%nat) (fun _ => γ) a 0 _ _ lr wd no_l2 start degrees a_positive product
    (adam_homogeneous entry s (fun i => a_positive (factor_of i)) β1 β2 ε)) as [_ equal].
  fold s in equal. change (0 + 1)%Z with 1%Z in equal. unfold rescaled_descent in equal.
  change (- (1))%Z with (-1)%Z in equal.
  replace (s ^^ 1) with s in equal by (extensionality i; symmetry; apply powerRZ_1).
  replace (s ^^ (-1)) with (fun i => / s i) in equal
    by (extensionality i; unfold power; simpl; now rewrite Rmult_1_r).
  replace (s ^^ (-2) ⊙ no_l2) with (@no_l2 entry) in equal
    by (extensionality i; unfold scale, no_l2; ring).
  exact (equal θ θ' run run').
Qed.
