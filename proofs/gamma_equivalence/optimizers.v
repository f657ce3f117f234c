(** * The optimizers, each parameter by itself

    Every optimizer that the toolkit trains with, as it trains with it: a rule, and its degrees. In this
    file are those whose step along a parameter follows from the derivatives along it, and normalised
    SGD; in [matrices], [tensors] and [prodigy] are those that look at more. *)

From Coq Require Import Reals ZArith List Lra Lia FunctionalExtensionality.
From Gamma Require Import vectors training rules moments.
Import ListNotations.
Open Scope R_scope.

(** The derivatives along the parameter [i], the newest first. *)
Definition derivatives {I : Type} (i : I) (seen : list (sight I)) : list R :=
  map (fun '(_, g) => g i) seen.

(** A rule that treats every parameter alone. *)
Definition each {I : Type} (u : I -> list R -> R) : rule I := fun seen i => u i (derivatives i seen).

(** *** Linear in the gradients *)

(** [g_t] *)
Definition sgd {I : Type} : rule I := each (fun _ => newest).

(** [b_t = μ b_{t-1} + (1 - τ) g_t]; the toolkit trains without dampening, [τ = 0]. *)
Definition momentum {I : Type} (μ τ : R) : rule I := each (fun _ => buffer μ τ).

(** [g_t + μ b_t] *)
Definition nesterov {I : Type} (μ : R) : rule I := each (fun _ => lookahead μ).

(** *** Over the root of squares *)

(** [m̂_t / (√v̂_t + ε)], where [m̂] and [v̂] are corrected averages of [g] and of its squares. *)
Definition adam_direction (β1 β2 ε : R) (g : list R) : R :=
  corrected β1 g / (sqrt (corrected β2 (squares g)) + ε).

Definition adam {I : Type} (β1 β2 : R) (ε : I -> R) : rule I :=
  each (fun i => adam_direction β1 β2 (ε i)).

(** As it is computed, with the corrections [b1], [b2] taken together: the same quotient. *)
Lemma adam_as_computed : forall m v ε b1 b2, 0 < b2 ->
  m * (sqrt b2 / b1) / (sqrt v + ε * sqrt b2) = m / b1 / (sqrt (v / b2) + ε).
Proof.
  intros m v ε b1 b2 H. pose proof (sqrt_lt_R0 b2 H). rewrite sqrt_div_alt by assumption.
  rewrite <- (factor_cancels (sqrt b2) (m / b1)) by assumption.
  f_equal; [unfold Rdiv; ring | field; lra].
Qed.

(** [m̂_t / (√(max_{s ≤ t} v_s / (1 - β2^(t+1))) + ε)]: the largest of the averages, and then the
    correction of this step. *)
Definition amsgrad {I : Type} (β1 β2 : R) (ε : I -> R) : rule I :=
  each (fun i g =>
    corrected β1 g / (sqrt (largest β2 (squares g) / (1 - β2 ^ length g)) + ε i)).

(** [b_t = μ b_{t-1} + g_t / (√v_t + ε)] *)
Definition rmsprop {I : Type} (α μ : R) (ε : I -> R) : rule I :=
  each (fun i => filtered μ (fun g => newest g / (sqrt (average α (squares g)) + ε i))).

(** [g_t / (√(acc + g_t² + ... + g_0²) + ε)]; the toolkit starts at [acc = 0]. Its decay of the rate,
    [lr / (1 + t δ)], is a schedule [lr_t]. *)
Definition adagrad {I : Type} (acc ε : I -> R) : rule I :=
  each (fun i g => newest g / (sqrt (acc i + sum (squares g)) + ε i)).

(** [(m̂_t + β2 d̂_t) / (√n̂_t + ε)], where [m], [d] and [n] average [g_t], [g_t - g_{t-1}] and
    [(g_t + β2 (g_t - g_{t-1}))²]. *)
Definition adan {I : Type} (β1 β2 β3 : R) (ε : I -> R) : rule I :=
  each (fun i g =>
    (corrected β1 g + β2 * corrected β2 (differences g))
    / (sqrt (corrected β3 (squares (extrapolated β2 g))) + ε i)).

(** [μ_1 ... μ_n] *)
Fixpoint product_of (μ : nat -> R) (n : nat) : R :=
  match n with
  | O => 1
  | S before => product_of μ before * μ n
  end.

(** [(μ_{n+1} m_n / (1 - μ_1 ... μ_{n+1}) + (1 - μ_n) g_n / (1 - μ_1 ... μ_n)) / (√v̂_n + ε)], with
    steps counted from 1. The momenta are numbers, [β1 (1 - 0.96^(n ψ) / 2)] in training. *)
Definition nadam {I : Type} (β1 β2 : R) (μ : nat -> R) (ε : I -> R) : rule I :=
  each (fun i g =>
    let n := length g in
    (μ (S n) / (1 - product_of μ (S n)) * average β1 g
      + (1 - μ n) / (1 - product_of μ n) * newest g)
    / (sqrt (corrected β2 (squares g)) + ε i)).

(** *** Signs *)

(** [sign(g_t)] *)
Definition sign_sgd {I : Type} : rule I := each (fun _ g => sign (newest g)).

(** [sign(β1 m_{t-1} + (1 - β1) g_t)], where [m] averages [g] with [β2] *)
Definition lion {I : Type} (β1 β2 : R) : rule I :=
  each (fun _ g => sign (β1 * average β2 (tl g) + (1 - β1) * newest g)).

(** *** Measured by the steps before *)

(** The square of Adadelta's step is averaged too: [u_t = ρ u_{t-1} + (1 - ρ) δ_t²], where
    [δ_t = √(u_{t-1} + ε_δ) / √(v_t + ε_g) g_t] and [v] averages [g²]. *)
Fixpoint squared_steps (ρ ε_g ε_δ : R) (g : list R) : R :=
  match g with
  | [] => 0
  | now :: before =>
      let u := squared_steps ρ ε_g ε_δ before in
      ρ * u + (1 - ρ) * Rsqr (sqrt (u + ε_δ) / sqrt (average ρ (squares g) + ε_g) * now)
  end.

(** [δ_t] *)
Definition adadelta_step (ρ ε_g ε_δ : R) (g : list R) : R :=
  sqrt (squared_steps ρ ε_g ε_δ (tl g) + ε_δ) / sqrt (average ρ (squares g) + ε_g) * newest g.

Definition adadelta {I : Type} (ρ : R) (ε_g ε_δ : I -> R) : rule I :=
  each (fun i => adadelta_step ρ (ε_g i) (ε_δ i)).

(** *** Divided by a norm *)

(** [g_t / (N(g_t) + ε)], with [N] the norm of all gradients of a group. *)
Definition normalized_sgd {I : Type} (N : I -> (I -> R) -> R) (ε : I -> R) : rule I :=
  fun seen i =>
    match seen with
    | [] => 0
    | (_, g) :: _ => g i / (N i g + ε i)
    end.

(** ** Degrees *)

Section Degrees.

  Variable I : Type.
  Variables s t : I -> R.
  Hypothesis s_positive : positive s.
  Hypothesis t_positive : positive t.

  Lemma derivatives_rescaled : forall i seen,
    derivatives i (map (rescaled t s) seen) = map (Rmult (s i)) (derivatives i seen).
  Proof. intros. unfold derivatives. rewrite !map_map. apply map_ext. now intros [θ g]. Qed.

  (** It is enough to look at one parameter. *)
  Lemma each_homogeneous : forall k j u u',
    (forall i g, u' i (map (Rmult (s i)) g) = powerRZ (s i) k * powerRZ (t i) j * u i g) ->
    homogeneous_rule k j s t (each u) (each u').
  Proof. intros k j u u' H seen i. unfold each. now rewrite derivatives_rescaled. Qed.

  Lemma each_invariant : forall u u',
    (forall i g, u' i (map (Rmult (s i)) g) = u i g) ->
    homogeneous_rule 0 0 s t (each u) (each u').
  Proof. intros u u' H. apply each_homogeneous. intros. rewrite H. simpl. ring. Qed.

  Lemma each_linear : forall (u : I -> list R -> R),
    (forall i c g, u i (map (Rmult c) g) = c * u i g) ->
    homogeneous_rule 1 0 s t (each u) (each u).
  Proof. intros u H. apply each_homogeneous. intros. rewrite H, powerRZ_1, powerRZ_O. ring. Qed.

  (** SGD and momentum have degree 1 in the gradients, *)

  Lemma sgd_degree : homogeneous_rule 1 0 s t sgd sgd.
  Proof. apply each_linear. intros. apply newest_scaled. Qed.

  Lemma momentum_degree : forall μ τ, homogeneous_rule 1 0 s t (momentum μ τ) (momentum μ τ).
  Proof. intros. apply each_linear. intros. apply buffer_scaled. Qed.

  Lemma nesterov_degree : forall μ, homogeneous_rule 1 0 s t (nesterov μ) (nesterov μ).
  Proof. intros. apply each_linear. intros. apply lookahead_scaled. Qed.

  (** the adaptive rules and signs degree 0, with [ε' = s ε] and [acc' = s² acc]. *)

  Lemma adam_direction_scaled : forall β1 β2 i ε g,
    adam_direction β1 β2 (s i * ε) (map (Rmult (s i)) g) = adam_direction β1 β2 ε g.
  Proof.
    intros. unfold adam_direction.
    now rewrite squares_scaled, !corrected_scaled, quotient_scaled by apply s_positive.
  Qed.

  Lemma adam_degree : forall β1 β2 ε,
    homogeneous_rule 0 0 s t (adam β1 β2 ε) (adam β1 β2 (s ⊙ ε)).
  Proof. intros. apply each_invariant. intros. apply adam_direction_scaled. Qed.

  Lemma amsgrad_degree : forall β1 β2 ε,
    homogeneous_rule 0 0 s t (amsgrad β1 β2 ε) (amsgrad β1 β2 (s ⊙ ε)).
  Proof.
    intros. apply each_invariant. intros i g. pose proof (s_positive i).
    rewrite corrected_scaled, squares_scaled, largest_scaled, map_length by nra.
    rewrite (quotient_out (s i * s i)).
    now apply quotient_scaled.
  Qed.

  Lemma rmsprop_degree : forall α μ ε,
    homogeneous_rule 0 0 s t (rmsprop α μ ε) (rmsprop α μ (s ⊙ ε)).
  Proof.
    intros. apply each_invariant. intros i g. apply filtered_same. intro h.
    rewrite newest_scaled, squares_scaled, average_scaled. apply quotient_scaled, s_positive.
  Qed.

  Lemma adagrad_degree : forall acc ε,
    homogeneous_rule 0 0 s t (adagrad acc ε) (adagrad (s ^^ 2 ⊙ acc) (s ⊙ ε)).
  Proof.
    intros. apply each_invariant. intros i g.
    rewrite newest_scaled, squares_scaled, sum_scaled.
    replace ((s ^^ 2 ⊙ acc) i + s i * s i * sum (squares g))
      with (s i * s i * (acc i + sum (squares g))) by (unfold scale, power; simpl; ring).
    apply quotient_scaled, s_positive.
  Qed.

  Lemma adan_degree : forall β1 β2 β3 ε,
    homogeneous_rule 0 0 s t (adan β1 β2 β3 ε) (adan β1 β2 β3 (s ⊙ ε)).
  Proof.
    intros. apply each_invariant. intros i g.
    rewrite differences_scaled, extrapolated_scaled, squares_scaled, !corrected_scaled.
    symmetry. rewrite <- (quotient_scaled (s i)) by apply s_positive. f_equal. ring.
  Qed.

  Lemma nadam_degree : forall β1 β2 μ ε,
    homogeneous_rule 0 0 s t (nadam β1 β2 μ ε) (nadam β1 β2 μ (s ⊙ ε)).
  Proof.
    intros. apply each_invariant. intros i g. cbv zeta.
    rewrite map_length, newest_scaled, average_scaled, squares_scaled, corrected_scaled.
    symmetry. rewrite <- (quotient_scaled (s i)) by apply s_positive. f_equal. ring.
  Qed.

  Lemma sign_sgd_degree : homogeneous_rule 0 0 s t sign_sgd sign_sgd.
  Proof. apply each_invariant. intros. rewrite newest_scaled. apply sign_scaled, s_positive. Qed.

  Lemma lion_degree : forall β1 β2, homogeneous_rule 0 0 s t (lion β1 β2) (lion β1 β2).
  Proof.
    intros. apply each_invariant. intros i g. rewrite newest_scaled, tail_scaled, average_scaled.
    symmetry. rewrite <- (sign_scaled (s i)) by apply s_positive. f_equal. ring.
  Qed.

  (** Adadelta has degree 1 in the parameters: its steps are [t] times as long where [ε_g' = s² ε_g]
      and [ε_δ' = t² ε_δ]. *)

  Lemma adadelta_root_scaled : forall i u v ε_g ε_δ x,
    sqrt (t i * t i * u + (t ^^ 2 ⊙ ε_δ) i) / sqrt (s i * s i * v + (s ^^ 2 ⊙ ε_g) i) * (s i * x)
    = t i * (sqrt (u + ε_δ i) / sqrt (v + ε_g i) * x).
  Proof.
    intros. pose proof (s_positive i). pose proof (t_positive i).
    replace (t i * t i * u + (t ^^ 2 ⊙ ε_δ) i) with (t i * t i * (u + ε_δ i))
      by (unfold scale, power; simpl; ring).
    replace (s i * s i * v + (s ^^ 2 ⊙ ε_g) i) with (s i * s i * (v + ε_g i))
      by (unfold scale, power; simpl; ring).
    rewrite !sqrt_scaled by assumption. unfold Rdiv. rewrite Rinv_mult.
    set (y := sqrt (u + ε_δ i)). set (z := / sqrt (v + ε_g i)). field. lra.
  Qed.

  Lemma squared_steps_scaled : forall ρ ε_g ε_δ i g,
    squared_steps ρ ((s ^^ 2 ⊙ ε_g) i) ((t ^^ 2 ⊙ ε_δ) i) (map (Rmult (s i)) g)
    = t i * t i * squared_steps ρ (ε_g i) (ε_δ i) g.
  Proof.
    intros ρ ε_g ε_δ i g. induction g as [| now g IH]; [simpl; ring |].
    change (map (Rmult (s i)) (now :: g)) with (s i * now :: map (Rmult (s i)) g).
    cbn [squared_steps]. cbv zeta. rewrite IH.
    change (s i * now :: map (Rmult (s i)) g) with (map (Rmult (s i)) (now :: g)).
    rewrite squares_scaled, average_scaled, adadelta_root_scaled, Rsqr_mult. unfold Rsqr. ring.
  Qed.

  Lemma adadelta_degree : forall ρ ε_g ε_δ,
    homogeneous_rule 0 1 s t
      (adadelta ρ ε_g ε_δ) (adadelta ρ (s ^^ 2 ⊙ ε_g) (t ^^ 2 ⊙ ε_δ)).
  Proof.
    intros. apply each_homogeneous. intros i g. unfold adadelta_step.
    rewrite tail_scaled, squared_steps_scaled, squares_scaled, average_scaled, newest_scaled.
    rewrite adadelta_root_scaled, powerRZ_O, powerRZ_1. ring.
  Qed.

  (** Normalised SGD has degree 0, whatever measures the gradients. *)
  Lemma normalized_sgd_degree : forall N N' ε,
    measures s N N' ->
    homogeneous_rule 0 0 s t (normalized_sgd N ε) (normalized_sgd N' (s ⊙ ε)).
  Proof.
    intros N N' ε HN [| [θ g] before] i; [simpl; ring |].
    cbn [map rescaled normalized_sgd]. rewrite HN, !powerRZ_O, !Rmult_1_l. unfold scale.
    rewrite <- Rmult_plus_distr_l. apply factor_cancels, s_positive.
  Qed.

End Degrees.
