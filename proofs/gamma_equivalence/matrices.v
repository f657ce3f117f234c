(** * The optimizers of matrices: Muon and Shampoo *)

From Coq Require Import Reals ZArith List Lra Arith FunctionalExtensionality.
From Gamma Require Import vectors training rules moments optimizers.
Import ListNotations.
Open Scope R_scope.

(** Muon and Shampoo are for matrices: vectors take another rule, AdamW's. *)
Definition by_shape {I : Type} (is_vector : I -> bool) (matrices vectors : rule I) : rule I :=
  fun seen i => if is_vector i then vectors seen i else matrices seen i.

(** ** Muon *)

(** [F(B_t / max(floor, ‖B_t‖))] with Nesterov's momentum [B]. [F] is any map of what has been
    normalised: five steps of Newton and Schulz's iteration, times [√max(1, rows / columns)]. *)
Definition muon {I : Type} (tensor : I -> list I) (F : (I -> R) -> I -> R) (μ : R) (floor : I -> R) :
    rule I :=
  fun seen =>
    let B j := lookahead μ (derivatives j seen) in
    F (fun j => B j / Rmax (floor j) (norm (tensor j) B)).

Section Shapes.

  Variable I : Type.
  Variables s t : I -> R.
  Hypothesis s_positive : positive s.

  Lemma muon_degree : forall tensor F μ floor, uniform tensor s ->
    homogeneous_rule 0 0 s t (muon tensor F μ floor) (muon tensor F μ (s ⊙ floor)).
  Proof.
    intros tensor F μ floor H seen i. rewrite !powerRZ_O, !Rmult_1_l. unfold muon.
    f_equal. extensionality j.
    set (B := fun j => lookahead μ (derivatives j seen)).
    replace (fun j => lookahead μ (derivatives j (map (rescaled t s) seen))) with (s ⊙ B)
      by (extensionality k; now rewrite derivatives_rescaled, lookahead_scaled).
    rewrite derivatives_rescaled, lookahead_scaled, norm_scaled by assumption.
    unfold scale. rewrite max_scaled by apply s_positive. apply factor_cancels, s_positive.
  Qed.

  Lemma by_shape_degree : forall k j is_vector (U U' V V' : rule I),
    homogeneous_rule k j s t U U' -> homogeneous_rule k j s t V V' ->
    homogeneous_rule k j s t (by_shape is_vector U V) (by_shape is_vector U' V').
  Proof.
    intros k j is_vector U U' V V' HU HV seen i. unfold by_shape.
    destruct (is_vector i); [apply HV | apply HU].
  Qed.

End Shapes.

(** ** Shampoo *)

Section Shampoo.

  Variable I : Type.
  (** The parameter at a row and a column of the matrix that [i] is in, and where [i] itself is. *)
  Variable entry : I -> nat -> nat -> I.
  Variables height width row column : I -> nat.

  (** The inverse fourth root of a matrix with [n] rows, [X^(-1/4)]. Nothing else is asked of it than
      its degree: [(s⁴ X)^(-1/4) = s^-1 X^(-1/4)]. *)
  Variable inverse_root : nat -> matrix -> matrix.
  Definition inverts : Prop :=
    forall n X s, 0 < s -> inverse_root n (times (s ^ 4) X) = times (/ s) (inverse_root n X).

  (** [ridge] on the diagonal *)
  Definition diagonal (ridge : R) : matrix := fun p q => if Nat.eq_dec p q then ridge else 0.

  (** [L = G_0 G_0ᵀ + ... + G_t G_tᵀ + ridge] *)
  Definition left_squares (ridge : I -> R) (seen : list (sight I)) (i : I) : matrix :=
    fun p q =>
      sum (map (fun '(_, g) =>
        sum_below (width i) (fun c => g (entry i p c) * g (entry i q c))) seen)
      + diagonal (ridge i) p q.

  (** [R = G_0ᵀ G_0 + ... + G_tᵀ G_t + ridge] *)
  Definition right_squares (ridge : I -> R) (seen : list (sight I)) (i : I) : matrix :=
    fun p q =>
      sum (map (fun '(_, g) =>
        sum_below (height i) (fun r => g (entry i r p) * g (entry i r q))) seen)
      + diagonal (ridge i) p q.

  (** [L^(-1/4) G_t R^(-1/4)] *)
  Definition shampoo (ridge : I -> R) : rule I :=
    fun seen i =>
      match seen with
      | [] => 0
      | (_, g) :: _ =>
          let L := inverse_root (height i) (left_squares ridge seen i) in
          let R := inverse_root (width i) (right_squares ridge seen i) in
          sum_below (height i) (fun p => sum_below (width i) (fun q =>
            L (row i) p * R q (column i) * g (entry i p q)))
      end.

  Variables s t : I -> R.
  Hypothesis s_positive : positive s.
  Hypothesis s_uniform : forall i p q, s (entry i p q) = s i.
  Hypothesis inverse_root_inverts : inverts.

  Lemma squares_of_matrices_scaled : forall ridge (f f' : sight I -> R) seen i p q,
    (forall now, f' (rescaled t s now) = s i * s i * f now) ->
    sum (map f' (map (rescaled t s) seen)) + diagonal ((s ^^ 2 ⊙ ridge) i) p q
    = s i * s i * (sum (map f seen) + diagonal (ridge i) p q).
  Proof.
    intros ridge f f' seen i p q H. rewrite map_map, (map_ext _ _ H), <- (map_map f), sum_scaled.
    unfold diagonal, scale, power. destruct Nat.eq_dec; simpl; ring.
  Qed.

  Lemma left_squares_scaled : forall ridge seen i,
    left_squares (s ^^ 2 ⊙ ridge) (map (rescaled t s) seen) i
    = times (s i * s i) (left_squares ridge seen i).
  Proof.
    intros. extensionality p. extensionality q. apply squares_of_matrices_scaled. intros [θ g].
    apply sum_below_scaled. intro c. unfold scale. rewrite !s_uniform. ring.
  Qed.

  Lemma right_squares_scaled : forall ridge seen i,
    right_squares (s ^^ 2 ⊙ ridge) (map (rescaled t s) seen) i
    = times (s i * s i) (right_squares ridge seen i).
  Proof.
    intros. extensionality p. extensionality q. apply squares_of_matrices_scaled. intros [θ g].
    apply sum_below_scaled. intro r. unfold scale. rewrite !s_uniform. ring.
  Qed.

  (** [(s² X)^(-1/4) = s^(-1/2) X^(-1/4)] *)
  Lemma inverse_root_of_squares : forall i n X,
    inverse_root n (times (s i * s i) X) = times (/ sqrt (s i)) (inverse_root n X).
  Proof.
    intros i n X. pose proof (s_positive i). rewrite <- inverse_root_inverts by now apply sqrt_lt_R0.
    do 2 f_equal. rewrite <- (sqrt_sqrt (s i)) at 1 2 by lra. ring.
  Qed.

  (** [s^(-1/2) s s^(-1/2) = 1]: degree 0 with [ridge' = s² ridge]. *)
  Lemma shampoo_degree : forall ridge,
    homogeneous_rule 0 0 s t (shampoo ridge) (shampoo (s ^^ 2 ⊙ ridge)).
  Proof.
    intros ridge [| [θ g] before] i; [simpl; ring |].
    unfold shampoo. rewrite left_squares_scaled, right_squares_scaled, !inverse_root_of_squares.
    cbn [map rescaled]. rewrite !powerRZ_O, !Rmult_1_l.
    do 2 (apply sum_below_same; intro).
    pose proof (sqrt_lt_R0 _ (s_positive i)). unfold times, scale. rewrite s_uniform.
    rewrite <- (sqrt_sqrt (s i)) at 3 by (pose proof (s_positive i); lra). field. lra.
  Qed.

End Shampoo.
