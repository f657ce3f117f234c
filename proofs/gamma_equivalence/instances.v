(** * The theorem of every optimizer

    One for each optimizer that the toolkit trains with, by its name there: [gamma_NAME]. Each holds
    for any factors with [T(a θ) = γ T(θ)], those of [folding]; [c] and the powers of [a] are in the
    comments, and in [rules] those of the decays: [wd' = a^-c wd], [l2' = a^-2 l2].

    Learning rates and decays are schedules, of their own for every parameter. *)

From Coq Require Import Reals ZArith List Lra FunctionalExtensionality.
From Gamma Require Import vectors training rules optimizers matrices tensors prodigy theorem.
Open Scope R_scope.

Section Instances.

  Variable I : Type.
  Variable same : forall i j : I, {i = j} + {i <> j}.
  Variable K : Type.
  Variable T : (I -> R) -> K -> R.
  Variable loss : nat -> (K -> R) -> R.
  Variable γ : K -> R.
  Variable a : I -> R.
  Hypothesis a_positive : positive a.
  Hypothesis a_folds : folds T γ a.

  Local Notation original := (original same T loss γ).
  Local Notation folded := (folded same T loss a).
  Local Notation same_training := (same_training T γ a).

  Let inverse_positive : positive (a ^^ (-1)) := power_positive _ _ _ a_positive.

  (** [(1/a)² x = a^-2 x] *)
  Lemma inverse_squared : forall x, (a ^^ (-1)) ^^ 2 ⊙ x = a ^^ (-2) ⊙ x.
  Proof. intro x. extensionality i. unfold scale, power. now rewrite power_of_inverse. Qed.

  (** [(1/a) x] has one value in a part where [a] has. *)
  Lemma inverse_uniform : forall part, uniform part a -> uniform part (a ^^ (-1)).
  Proof. intros part H i j in_part. unfold power. now rewrite (H i j in_part). Qed.

  (** ** Degree 1 in the gradients: [c = 2] *)

  Theorem gamma_sgd : forall lr wd l2 start,
    same_training (original sgd lr wd l2 start) (folded 2 sgd lr wd l2 start).
  Proof. intros. now apply (gamma_descent _ _ _ _ _ _ _ a_positive a_folds 1 0), sgd_degree. Qed.

  (** Momentum [μ] and dampening [τ] stay. *)
  Theorem gamma_momentum : forall μ τ lr wd l2 start,
    same_training
      (original (momentum μ τ) lr wd l2 start) (folded 2 (momentum μ τ) lr wd l2 start).
  Proof.
    intros. now apply (gamma_descent _ _ _ _ _ _ _ a_positive a_folds 1 0), momentum_degree.
  Qed.

  Theorem gamma_nesterov : forall μ lr wd l2 start,
    same_training (original (nesterov μ) lr wd l2 start) (folded 2 (nesterov μ) lr wd l2 start).
  Proof.
    intros. now apply (gamma_descent _ _ _ _ _ _ _ a_positive a_folds 1 0), nesterov_degree.
  Qed.

  (** ** Degree 0: [c = 1] *)

  Local Notation "'degree_0'" := (gamma_descent _ _ _ _ _ _ _ a_positive a_folds 0 0).

  (** [ε' = ε / a]; the decay is coupled. *)
  Theorem gamma_adam : forall β1 β2 ε lr l2 start,
    same_training
      (original (adam β1 β2 ε) lr no_wd l2 start)
      (folded 1 (adam β1 β2 (a ^^ (-1) ⊙ ε)) lr no_wd l2 start).
  Proof. intros. now apply degree_0, adam_degree. Qed.

  (** [ε' = ε / a]; the decay is coupled. *)
  Theorem gamma_amsgrad : forall β1 β2 ε lr l2 start,
    same_training
      (original (amsgrad β1 β2 ε) lr no_wd l2 start)
      (folded 1 (amsgrad β1 β2 (a ^^ (-1) ⊙ ε)) lr no_wd l2 start).
  Proof. intros. now apply degree_0, amsgrad_degree. Qed.

  (** Adam with decoupled decay: [ε' = ε / a], [wd' = wd / a]. *)
  Theorem gamma_adamw : forall β1 β2 ε lr wd start,
    same_training
      (original (adam β1 β2 ε) lr wd no_l2 start)
      (folded 1 (adam β1 β2 (a ^^ (-1) ⊙ ε)) lr wd no_l2 start).
  Proof. intros. now apply degree_0, adam_degree. Qed.

  (** With momentum: [ε' = ε / a]. *)
  Theorem gamma_rmsprop : forall α μ ε lr l2 start,
    same_training
      (original (rmsprop α μ ε) lr no_wd l2 start)
      (folded 1 (rmsprop α μ (a ^^ (-1) ⊙ ε)) lr no_wd l2 start).
  Proof. intros. now apply degree_0, rmsprop_degree. Qed.

  (** [ε' = ε / a], and the first accumulator [acc' = acc / a²]. *)
  Theorem gamma_adagrad : forall acc ε lr l2 start,
    same_training
      (original (adagrad acc ε) lr no_wd l2 start)
      (folded 1 (adagrad (a ^^ (-2) ⊙ acc) (a ^^ (-1) ⊙ ε)) lr no_wd l2 start).
  Proof. intros. rewrite <- inverse_squared. now apply degree_0, adagrad_degree. Qed.

  (** With proximal decay: [ε' = ε / a], [wd' = wd / a]. *)
  Theorem gamma_adan : forall β1 β2 β3 ε lr wd start,
    same_training
      (original_proximal same T loss γ (adan β1 β2 β3 ε) lr wd start)
      (folded_proximal same T loss a 1 (adan β1 β2 β3 (a ^^ (-1) ⊙ ε)) lr wd start).
  Proof.
    intros. now apply (gamma_proximal _ _ _ _ _ _ _ a_positive a_folds 0 0), adan_degree.
  Qed.

  (** [ε' = ε / a]; the decay is decoupled. *)
  Theorem gamma_nadam : forall β1 β2 μ ε lr wd start,
    same_training
      (original (nadam β1 β2 μ ε) lr wd no_l2 start)
      (folded 1 (nadam β1 β2 μ (a ^^ (-1) ⊙ ε)) lr wd no_l2 start).
  Proof. intros. now apply degree_0, nadam_degree. Qed.

  Theorem gamma_sign_sgd : forall lr wd start,
    same_training (original sign_sgd lr wd no_l2 start) (folded 1 sign_sgd lr wd no_l2 start).
  Proof. intros. now apply degree_0, sign_sgd_degree. Qed.

  Theorem gamma_lion : forall β1 β2 lr wd start,
    same_training
      (original (lion β1 β2) lr wd no_l2 start) (folded 1 (lion β1 β2) lr wd no_l2 start).
  Proof. intros. now apply degree_0, lion_degree. Qed.

  (** [ε' = ε / a], the norm being over a group; [N'] has to find [1/a] times what [N] finds. *)
  Theorem gamma_normalized_sgd : forall N N' ε lr wd start,
    measures (a ^^ (-1)) N N' ->
    same_training
      (original (normalized_sgd N ε) lr wd no_l2 start)
      (folded 1 (normalized_sgd N' (a ^^ (-1) ⊙ ε)) lr wd no_l2 start).
  Proof. intros. now apply degree_0, normalized_sgd_degree. Qed.

  (** [floor' = floor / a]; vectors take AdamW, [ε' = ε / a]. A tensor has one [a]. *)
  Theorem gamma_muon : forall is_vector tensor F μ floor β1 β2 ε lr wd start,
    uniform tensor a ->
    same_training
      (original (by_shape is_vector (muon tensor F μ floor) (adam β1 β2 ε)) lr wd no_l2 start)
      (folded 1
        (by_shape is_vector
          (muon tensor F μ (a ^^ (-1) ⊙ floor)) (adam β1 β2 (a ^^ (-1) ⊙ ε)))
        lr wd no_l2 start).
  Proof.
    intros. apply degree_0, by_shape_degree; [apply muon_degree | apply adam_degree];
      auto using inverse_uniform.
  Qed.

  (** [ridge' = ridge / a²]; vectors take AdamW, [ε' = ε / a]. A matrix has one [a]. *)
  Theorem gamma_shampoo :
    forall is_vector entry height width row column inverse_root ridge β1 β2 ε lr wd start,
    inverts inverse_root -> (forall i p q, a (entry i p q) = a i) ->
    let shampoo := shampoo I entry height width row column inverse_root in
    same_training
      (original (by_shape is_vector (shampoo ridge) (adam β1 β2 ε)) lr wd no_l2 start)
      (folded 1
        (by_shape is_vector
          (shampoo (a ^^ (-2) ⊙ ridge)) (adam β1 β2 (a ^^ (-1) ⊙ ε)))
        lr wd no_l2 start).
  Proof.
    intros ? entry ? ? ? ? ? ? ? ? ? ? ? ? ? one_factor ?. rewrite <- inverse_squared.
    apply degree_0, by_shape_degree; [apply shampoo_degree | apply adam_degree]; auto.
    intros. unfold power. now rewrite one_factor.
  Qed.

  (** ** Degree 1 in the parameters: [c = 0], the learning rate stays *)

  Local Notation "'degree_1'" := (gamma_descent _ _ _ _ _ _ _ a_positive a_folds 0 1).

  (** [ε_g' = ε_g / a²] beside squares of gradients, [ε_δ' = a² ε_δ] beside squares of steps. *)
  Theorem gamma_adadelta : forall ρ ε_g ε_δ lr l2 start,
    same_training
      (original (adadelta ρ ε_g ε_δ) lr no_wd l2 start)
      (folded 0 (adadelta ρ (a ^^ (-2) ⊙ ε_g) (a ^^ 2 ⊙ ε_δ)) lr no_wd l2 start).
  Proof. intros. rewrite <- inverse_squared. now apply degree_1, adadelta_degree. Qed.

  (** With the parameter scale: [ε1' = ε1 / a²], [ε2' = a ε2]. A tensor has one [a]. *)
  Theorem gamma_adafactor : forall row column tensor w d ε1 ε2 lr wd start,
    uniform row a -> uniform column a -> uniform tensor a ->
    let adafactor := adafactor I row column tensor w d in
    same_training
      (original (adafactor ε1 ε2) lr wd no_l2 start)
      (folded 0 (adafactor (a ^^ (-2) ⊙ ε1) (a ⊙ ε2)) lr wd no_l2 start).
  Proof.
    intros. rewrite <- inverse_squared.
    apply degree_1, adafactor_degree; auto using inverse_uniform.
  Qed.

  (** [λ' = λ / a], [ε' = ε / a], in every run in which no tensor is ever zero. A tensor has one [a]. *)
  Theorem gamma_lamb : forall tensor β1 β2 λ ε lr start,
    uniform tensor a -> (forall i, In i (tensor i)) ->
    let lamb := lamb I tensor β1 β2 in
    equivalent_while T γ a (nonzero I tensor)
      (original (lamb λ ε) lr no_wd no_l2 start)
      (folded 0 (lamb (a ^^ (-1) ⊙ λ) (a ^^ (-1) ⊙ ε)) lr no_wd no_l2 start).
  Proof.
    intros. apply (gamma_descent_while _ _ _ _ _ _ _ a_positive a_folds _ 0 1).
    intros. now apply lamb_degree.
  Qed.

  (** [d0' = a d0], [λ' = λ / a], [ε' = ε / a]. A group, which has one estimate [d], has one [a]. *)
  Theorem gamma_prodigy : forall group β1 β2 λ ε d0 lr start,
    uniform group a ->
    let prodigy := prodigy I group β1 β2 lr in
    same_training
      (original (prodigy λ ε d0) lr no_wd no_l2 start)
      (folded 0 (prodigy (a ^^ (-1) ⊙ λ) (a ^^ (-1) ⊙ ε) (a ⊙ d0)) lr no_wd no_l2 start).
  Proof.
    intros. apply degree_1, prodigy_degree; auto using inverse_uniform.
  Qed.

End Instances.
