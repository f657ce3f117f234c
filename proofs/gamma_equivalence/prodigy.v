(** * Prodigy, which looks at all parameters of a group *)

From Coq Require Import Reals ZArith List Lra FunctionalExtensionality.
From Gamma Require Import vectors training rules moments optimizers.
Import ListNotations.
Open Scope R_scope.

Section Prodigy.

  Variable I : Type.
  Variable group : I -> list I.
  Variables β1 β2 : R.
  Variable lr : nat -> I -> R. (* the learning rate, which is in the estimate as well *)

  (** [θ_0] *)
  Definition origin (seen : list (sight I)) : I -> R := fst (last seen (fun _ => 0, fun _ => 0)).

  (** [d], [r] and [σ] after the steps that were [seen], one [d] and one [r] for each group:
      [σ' = √β2 σ + (1 - √β2) lr d² g], [r' = √β2 r + (1 - √β2) lr d² ⟨g, θ_0 - θ⟩] and
      [d' = max(d, r' / ‖σ'‖_1)]. *)
  Fixpoint estimate (d0 : I -> R) (seen : list (sight I)) : (I -> R) * (I -> R) * (I -> R) :=
    match seen with
    | [] => (d0, fun _ => 0, fun _ => 0)
    | (θ, g) :: before =>
        let '(d, r, σ) := estimate d0 before in
        let weight i := (1 - sqrt β2) * lr (length before) i * (d i * d i) in
        let σ' i := sqrt β2 * σ i + weight i * g i in
        let r' i :=
          sqrt β2 * r i + weight i * total (group i) (fun j => g j * (origin seen j - θ j)) in
        (fun i => Rmax (d i) (r' i / total (group i) (fun j => Rabs (σ' j))), r', σ')
    end.

  (** [d] *)
  Definition distance (d0 : I -> R) (seen : list (sight I)) : I -> R := fst (fst (estimate d0 seen)).

  (** [d_t g_t, ..., d_0 g_0] *)
  Fixpoint measured (d0 : I -> R) (seen : list (sight I)) (i : I) : list R :=
    match seen with
    | [] => []
    | (_, g) :: before => distance d0 before i * g i :: measured d0 before i
    end.

  (** [d_t (λ θ_t + m_t / (√v_t + d_t ε))], where [m] and [v] average [d g] and its squares. *)
  Definition prodigy (λ ε d0 : I -> R) : rule I :=
    fun seen i =>
      match seen with
      | [] => 0
      | (θ, _) :: before =>
          let d := distance d0 before i in
          let h := measured d0 seen i in
          d * (λ i * θ i + average β1 h / (sqrt (average β2 (squares h)) + d * ε i))
      end.

  Variables s t : I -> R.
  Hypothesis s_positive : positive s.
  Hypothesis t_positive : positive t.
  Hypothesis s_uniform : uniform group s.
  Hypothesis t_uniform : uniform group t.

  Lemma origin_rescaled : forall seen, origin (map (rescaled t s) seen) = t ⊙ origin seen.
  Proof.
    intro seen. unfold origin. induction seen as [| [θ g] [| next before] IH].
    - extensionality i. unfold scale. simpl. ring.
    - reflexivity.
    - exact IH.
  Qed.

  (** With [d0' = t d0]: [d' = t d], [r' = s t³ r], [σ' = s t² σ]. *)
  Lemma estimate_scaled : forall d0 seen,
    estimate (t ⊙ d0) (map (rescaled t s) seen)
    = let '(d, r, σ) := estimate d0 seen in (t ⊙ d, s ⊙ (t ^^ 3 ⊙ r), s ⊙ (t ^^ 2 ⊙ σ)).
  Proof.
    intros d0 seen. induction seen as [| [θ g] before IH].
    - cbn [map estimate]. f_equal; [f_equal |]; extensionality i; unfold scale; ring.
    - change (map (rescaled t s) ((θ, g) :: before))
        with ((t ⊙ θ, s ⊙ g) :: map (rescaled t s) before).
      cbn [estimate]. rewrite IH, map_length.
      change ((t ⊙ θ, s ⊙ g) :: map (rescaled t s) before)
        with (map (rescaled t s) ((θ, g) :: before)).
      rewrite origin_rescaled. destruct (estimate d0 before) as [[d r] σ].
      set (w := fun i => (1 - sqrt β2) * lr (length before) i).
      set (o := origin ((θ, g) :: before)).
      assert (inner : forall i,
        total (group i) (fun j => (s ⊙ g) j * ((t ⊙ o) j - (t ⊙ θ) j))
        = s i * t i * total (group i) (fun j => g j * (o j - θ j))).
      { intro i. apply total_scaled. intros j in_group. unfold scale.
        rewrite (s_uniform i j), (t_uniform i j) by assumption. ring. }
      assert (length_of_σ : forall i,
        total (group i) (fun j => Rabs (sqrt β2 * (s ⊙ (t ^^ 2 ⊙ σ)) j
          + w j * ((t ⊙ d) j * (t ⊙ d) j) * (s ⊙ g) j))
        = s i * (t i * t i)
          * total (group i) (fun j => Rabs (sqrt β2 * σ j + w j * (d j * d j) * g j))).
      { intro i. apply total_scaled. intros j in_group.
        pose proof (s_positive i). pose proof (t_positive i).
        rewrite <- (Rabs_pos_eq (s i * (t i * t i))) by (apply Rmult_le_pos; nra).
        rewrite <- Rabs_mult. f_equal. unfold scale, power.
        rewrite (s_uniform i j), (t_uniform i j) by assumption. simpl. ring. }
      f_equal; [f_equal |]; extensionality i; pose proof (s_positive i); pose proof (t_positive i).
      + rewrite inner. fold (w i). rewrite length_of_σ.
        set (x := total _ _) at 1. set (y := total _ _) at 1.
        transitivity (t i * Rmax (d i) ((sqrt β2 * r i + w i * (d i * d i) * x) / y));
          [| reflexivity].
        rewrite <- max_scaled, <- quotient_out by assumption. f_equal.
        symmetry. rewrite <- (factor_cancels (s i * (t i * t i))) by (apply Rmult_lt_0_compat; nra).
        f_equal. unfold scale, power. simpl. ring.
      + rewrite inner. change (origin ((θ, g) :: before)) with o.
        unfold scale, power. simpl. ring.
      + unfold scale, power. simpl. ring.
  Qed.

  Lemma distance_scaled : forall d0 seen,
    distance (t ⊙ d0) (map (rescaled t s) seen) = t ⊙ distance d0 seen.
  Proof.
    intros. unfold distance. rewrite estimate_scaled. now destruct (estimate d0 seen) as [[d r] σ].
  Qed.

  Lemma measured_scaled : forall d0 seen i,
    measured (t ⊙ d0) (map (rescaled t s) seen) i = map (Rmult (t i * s i)) (measured d0 seen i).
  Proof.
    intros d0 seen i. induction seen as [| [θ g] before IH]; [reflexivity |].
    cbn [map rescaled measured]. rewrite IH, distance_scaled. f_equal. unfold scale. ring.
  Qed.

  (** Degree 0 in the gradients and 1 in the parameters with [d0' = t d0], [λ' = λ / t], [ε' = s ε]. *)
  Lemma prodigy_degree : forall λ ε d0,
    homogeneous_rule 0 1 s t (prodigy λ ε d0) (prodigy (t ^^ (-1) ⊙ λ) (s ⊙ ε) (t ⊙ d0)).
  Proof.
    intros λ ε d0 [| [θ g] before] i; [simpl; ring |].
    unfold prodigy. rewrite measured_scaled. cbn [map rescaled]. rewrite distance_scaled.
    rewrite squares_scaled, !average_scaled, powerRZ_O, powerRZ_1. unfold scale at 1 2 3 4 5.
    set (d := distance d0 before i).
    replace (t i * d * (s i * ε i)) with (t i * s i * (d * ε i)) by ring.
    pose proof (s_positive i). pose proof (t_positive i). rewrite quotient_scaled by nra.
    rewrite inverse_at. set (q := average _ _ / _). field. lra.
  Qed.

End Prodigy.
