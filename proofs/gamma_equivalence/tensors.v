(** * The optimizers that look at the tensor that a parameter is in: Adafactor and LAMB

    A part of the parameters, such as a tensor, a row or a column, is the list of them. *)

From Coq Require Import Reals ZArith List Lra FunctionalExtensionality.
From Gamma Require Import vectors training rules moments optimizers.
Import ListNotations.
Open Scope R_scope.

(** ** Adafactor, with the parameter scale *)

Section Adafactor.

  Variable I : Type.
  (** The row, the column and the tensor that a parameter is in. A vector's rows and columns are its
      entries. *)
  Variables row column tensor : I -> list I.

  (** The mean of [g² + ε] over a row or a column, averaged over the steps with the weights [w_n],
      which are [n^-0.8] in training. *)
  Definition mean_squares (w : nat -> R) (part : I -> list I) (ε : I -> R)
      (seen : list (sight I)) (i : I) : R :=
    weighted w (map (fun '(_, g) => mean (part i) (g ⊙ g) + ε i) seen).

  (** [u = g_t / √(v_row / mean(v_row)) / √v_column] *)
  Definition factored (w : nat -> R) (ε : I -> R) (seen : list (sight I)) (i : I) : R :=
    match seen with
    | [] => 0
    | (_, g) :: _ =>
        let rows := mean_squares w row ε seen in
        g i / sqrt (rows i / mean (column i) rows) / sqrt (mean_squares w column ε seen i)
    end.

  (** [max(ε2, rms(θ_t)) u / max(1, rms(u) / d)] *)
  Definition adafactor (w : nat -> R) (d : R) (ε1 ε2 : I -> R) : rule I :=
    fun seen i =>
      match seen with
      | [] => 0
      | (θ, _) :: _ =>
          let u := factored w ε1 seen in
          Rmax (ε2 i) (rms (tensor i) θ) * (u i / Rmax 1 (rms (tensor i) u / d))
      end.

  Variables s t : I -> R.
  Hypothesis s_positive : positive s.
  Hypothesis t_positive : positive t.
  Hypothesis row_uniform : uniform row s.
  Hypothesis column_uniform : uniform column s.
  Hypothesis tensor_uniform : uniform tensor t.

  Lemma mean_squares_scaled : forall w part ε seen i, uniform part s ->
    mean_squares w part (s ^^ 2 ⊙ ε) (map (rescaled t s) seen) i
    = s i * s i * mean_squares w part ε seen i.
  Proof.
    intros w part ε seen i H. unfold mean_squares.
    rewrite <- weighted_scaled, !map_map. f_equal. apply map_ext. intros [θ g]. unfold rescaled.
    rewrite (mean_scaled _ (s i * s i) _ _ (g ⊙ g)) by now apply squares_of_part_scaled.
    unfold scale, power. simpl. ring.
  Qed.

  Lemma factored_scaled : forall w ε seen,
    factored w (s ^^ 2 ⊙ ε) (map (rescaled t s) seen) = factored w ε seen.
  Proof.
    intros w ε [| [θ g] before]; [reflexivity |]. extensionality i. pose proof (s_positive i).
    set (seen := @cons (sight I) (θ, g) before).
    change (factored w (s ^^ 2 ⊙ ε) (map (rescaled t s) seen) i)
      with ((s ⊙ g) i
        / sqrt (mean_squares w row (s ^^ 2 ⊙ ε) (map (rescaled t s) seen) i
          / mean (column i) (mean_squares w row (s ^^ 2 ⊙ ε) (map (rescaled t s) seen)))
        / sqrt (mean_squares w column (s ^^ 2 ⊙ ε) (map (rescaled t s) seen) i)).
    rewrite !mean_squares_scaled by assumption.
    rewrite (mean_scaled _ (s i * s i) _ _ (mean_squares w row ε seen))
      by (intros j in_column; rewrite mean_squares_scaled, (column_uniform i j) by assumption; easy).
    rewrite factor_cancels, sqrt_scaled by nra. unfold scale.
    rewrite quotient_out. now apply factor_cancels.
  Qed.

  (** Degree 0 in the gradients with [ε1' = s² ε1], degree 1 in the parameters with [ε2' = t ε2]. *)
  Lemma adafactor_degree : forall w d ε1 ε2,
    homogeneous_rule 0 1 s t (adafactor w d ε1 ε2) (adafactor w d (s ^^ 2 ⊙ ε1) (t ⊙ ε2)).
  Proof.
    intros w d ε1 ε2 [| [θ g] before] i; [simpl; ring |].
    unfold adafactor. rewrite factored_scaled. cbn [map rescaled].
    rewrite rms_scaled by assumption. unfold scale at 1. rewrite max_scaled by apply t_positive.
    rewrite powerRZ_O, powerRZ_1. ring.
  Qed.

End Adafactor.

(** ** LAMB *)

Section Lamb.

  Variable I : Type.
  Variable tensor : I -> list I.

  (** [x / y] where both are positive, 1 elsewhere. *)
  Definition trust (x y : R) : R :=
    if Rlt_dec 0 x then if Rlt_dec 0 y then x / y else 1 else 1.

  (** [r + λ θ], with [r] Adam's direction *)
  Definition pulled (β1 β2 : R) (λ ε : I -> R) (seen : list (sight I)) (i : I) : R :=
    match seen with
    | [] => 0
    | (θ, _) :: _ => adam β1 β2 ε seen i + λ i * θ i
    end.

  (** [‖θ‖ / ‖r + λ θ‖ (r + λ θ)] *)
  Definition lamb (β1 β2 : R) (λ ε : I -> R) : rule I :=
    fun seen i =>
      match seen with
      | [] => 0
      | (θ, _) :: _ =>
          let u := pulled β1 β2 λ ε seen in trust (norm (tensor i) θ) (norm (tensor i) u) * u i
      end.

  (** No tensor is zero. *)
  Definition nonzero (θ : I -> R) : Prop := forall i, 0 < norm (tensor i) θ.

  Variables s t : I -> R.
  Hypothesis s_positive : positive s.
  Hypothesis t_positive : positive t.
  Hypothesis tensor_uniform : uniform tensor t.
  Hypothesis in_tensor : forall i, In i (tensor i).

  (** [λ' = λ / t] *)
  Lemma pulled_scaled : forall β1 β2 λ ε seen,
    pulled β1 β2 (t ^^ (-1) ⊙ λ) (s ⊙ ε) (map (rescaled t s) seen) = pulled β1 β2 λ ε seen.
  Proof.
    intros β1 β2 λ ε [| [θ g] before]; [reflexivity |]. extensionality i. unfold pulled.
    pose proof (adam_degree I s t s_positive β1 β2 ε ((θ, g) :: before) i) as adam_same.
    cbn [map rescaled] in *. rewrite adam_same, !powerRZ_O, !Rmult_1_l. f_equal.
    unfold scale. rewrite inverse_at. field. pose proof (t_positive i). lra.
  Qed.

  (** Degree 0 in the gradients and 1 in the parameters while no tensor is zero. *)
  Lemma lamb_degree : forall β1 β2 λ ε θ g before, nonzero θ ->
    homogeneous_at 0 1 s t
      (lamb β1 β2 λ ε) (lamb β1 β2 (t ^^ (-1) ⊙ λ) (s ⊙ ε)) ((θ, g) :: before).
  Proof.
    intros β1 β2 λ ε θ g before living i. unfold lamb. rewrite pulled_scaled.
    cbn [map rescaled]. rewrite norm_scaled, powerRZ_O, powerRZ_1 by assumption.
    set (u := pulled _ _ _ _ _). pose proof (t_positive i) as Ht. specialize (living i).
    unfold trust. destruct (Rlt_dec 0 (norm (tensor i) θ)) as [_ | not]; [| lra].
    destruct (Rlt_dec 0 (t i * norm (tensor i) θ)) as [_ | not]; [| nra].
    destruct (Rlt_dec 0 (norm (tensor i) u)) as [_ | no_step]; [unfold Rdiv; ring |].
    rewrite (norm_zero _ (tensor i) u i) by (auto; lra). ring.
  Qed.

  (** Of a tensor that is zero the degree in the parameters is 0: there [c] would be 1, not 0. *)
  Lemma lamb_degree_at_zero : forall β1 β2 λ ε θ g before, (forall i, norm (tensor i) θ = 0) ->
    homogeneous_at 0 0 s t
      (lamb β1 β2 λ ε) (lamb β1 β2 (t ^^ (-1) ⊙ λ) (s ⊙ ε)) ((θ, g) :: before).
  Proof.
    intros β1 β2 λ ε θ g before zero i. unfold lamb. rewrite pulled_scaled.
    cbn [map rescaled]. rewrite norm_scaled, zero, Rmult_0_r, !powerRZ_O by assumption.
    unfold trust. destruct (Rlt_dec 0 0); [lra |]. ring.
  Qed.

End Lamb.
