(** * Vectors, powers, roots and sums

    Reading guide, for all files here. [R] is the set of real numbers. [A -> B] is the set of functions
    from [A] to [B], and also "A implies B". A vector over an index set [I] is a function [I -> R].
    Every theorem has its formula in the comment above it. [x / 0 = 0], as [/ 0 = 0] in Coq's library. *)

From Coq Require Import Reals ZArith List Lra Lia FunctionalExtensionality.
Import ListNotations.
Open Scope R_scope.

(** ** Products *)

(** [(a ⊙ x)_i = a_i x_i] *)
Definition scale {I : Type} (a x : I -> R) : I -> R := fun i => a i * x i.
Infix "⊙" := scale (at level 40, left associativity).

(** [(a ^^ c)_i = (a_i)^c] for an integer [c]. *)
Definition power {I : Type} (a : I -> R) (c : Z) : I -> R := fun i => powerRZ (a i) c.
Infix "^^" := power (at level 30, right associativity).

Definition positive {I : Type} (a : I -> R) : Prop := forall i, 0 < a i.

Lemma power_opposite : forall x (k : Z), 0 < x -> powerRZ x (- k) * powerRZ x k = 1.
Proof. intros x k positive. rewrite <- powerRZ_add by lra. now rewrite Z.add_opp_diag_l. Qed.

Lemma power_positive : forall I (a : I -> R) c, positive a -> positive (a ^^ c).
Proof. intros I a c Ha i. apply powerRZ_lt, Ha. Qed.

Lemma inverse_at : forall I (a : I -> R) i, (a ^^ (-1)) i = / a i.
Proof. intros. unfold power. simpl. now rewrite Rmult_1_r. Qed.

(** [(1/x)^k = x^-k] *)
Lemma power_of_inverse : forall x (k : Z), powerRZ (powerRZ x (-1)) k = powerRZ x (- k).
Proof.
  intros. replace (powerRZ x (-1)) with (/ x) by (simpl; now rewrite Rmult_1_r).
  now rewrite powerRZ_inv', powerRZ_neg'.
Qed.

(** [a ⊙ (b ⊙ x) = (a ⊙ b) ⊙ x] *)
Lemma scale_scale : forall I (a b x : I -> R), a ⊙ (b ⊙ x) = a ⊙ b ⊙ x.
Proof. intros. extensionality i. unfold scale. ring. Qed.

Lemma unscale : forall I (a x : I -> R), positive a -> a ⊙ (a ^^ (-1) ⊙ x) = x.
Proof.
  intros I a x Ha. extensionality i. unfold scale. rewrite inverse_at. field.
  pose proof (Ha i). lra.
Qed.

Lemma scale_injective : forall I (a x y : I -> R), positive a -> a ⊙ x = a ⊙ y -> x = y.
Proof. intros I a x y Ha H. extensionality i. apply equal_f with i in H. pose proof (Ha i).
  unfold scale in H. apply Rmult_eq_reg_l in H; lra.
Qed.

(** ** Roots *)

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

(** ** Sums over a matrix *)

(** A matrix is a function of its row and its column; what lies outside its shape is not looked at. *)
Definition matrix : Type := nat -> nat -> R.

(** [s X] *)
Definition times (s : R) (X : matrix) : matrix := fun i j => s * X i j.

(** [f(0) + ... + f(n - 1)] *)
Fixpoint sum_below (n : nat) (f : nat -> R) : R :=
  match n with
  | O => 0
  | S before => sum_below before f + f before
  end.

Lemma sum_below_scaled : forall s n f g,
  (forall p, f p = s * g p) -> sum_below n f = s * sum_below n g.
Proof. intros s n f g H. induction n as [| n IH]; simpl; [| rewrite IH, H]; ring. Qed.

Lemma sum_below_same : forall n f g, (forall p, f p = g p) -> sum_below n f = sum_below n g.
Proof. intros n f g H. now replace g with f by (extensionality p; apply H). Qed.

(** ** Sums over a part of the parameters: a tensor, a row, a group *)

Definition total {I : Type} (part : list I) (x : I -> R) : R := fold_right Rplus 0 (map x part).

(** [(x_1 + ... + x_n) / n] *)
Definition mean {I : Type} (part : list I) (x : I -> R) : R := total part x / INR (length part).

(** [√(x_1² + ... + x_n²)] *)
Definition norm {I : Type} (part : list I) (x : I -> R) : R := sqrt (total part (x ⊙ x)).

(** The root mean square: [√((x_1² + ... + x_n²) / n)]. *)
Definition rms {I : Type} (part : list I) (x : I -> R) : R := sqrt (mean part (x ⊙ x)).

(** [s] has one value on the part that each parameter is in. *)
Definition uniform {I : Type} (part : I -> list I) (s : I -> R) : Prop :=
  forall i j, In j (part i) -> s j = s i.

Lemma total_scaled : forall I c (part : list I) x y,
  (forall j, In j part -> x j = c * y j) -> total part x = c * total part y.
Proof.
  intros I c part x y. unfold total. induction part as [| j part IH]; simpl; intro H; [ring |].
  rewrite (H j), IH; auto. ring.
Qed.

Lemma mean_scaled : forall I c (part : list I) x y,
  (forall j, In j part -> x j = c * y j) -> mean part x = c * mean part y.
Proof. intros. unfold mean. rewrite (total_scaled _ c _ x y) by assumption. unfold Rdiv. ring. Qed.

Lemma squares_of_part_scaled : forall I (part : I -> list I) s x i,
  uniform part s -> forall j, In j (part i) -> (s ⊙ x ⊙ (s ⊙ x)) j = s i * s i * (x ⊙ x) j.
Proof. intros I part s x i H j in_part. unfold scale. rewrite (H i j in_part). ring. Qed.

(** [√(s² x) = s √x] for [s > 0]. *)
Lemma sqrt_scaled : forall s x, 0 < s -> sqrt (s * s * x) = s * sqrt x.
Proof. intros. now rewrite sqrt_mult_alt, sqrt_square by nra. Qed.

Lemma norm_scaled : forall I (part : I -> list I) s x i,
  positive s -> uniform part s -> norm (part i) (s ⊙ x) = s i * norm (part i) x.
Proof.
  intros I part s x i Hs H. unfold norm. rewrite <- sqrt_scaled by apply Hs. f_equal.
  now apply total_scaled, squares_of_part_scaled.
Qed.

(** A part of norm 0 is 0. *)
Lemma norm_zero : forall I (part : list I) x i, In i part -> norm part x <= 0 -> x i = 0.
Proof.
  intros I part x i H zero.
  assert (bounded : x i * x i <= total part (x ⊙ x)).
  { clear zero. unfold total, scale.
    assert (positive_tail : forall l, 0 <= fold_right Rplus 0 (map (fun j => x j * x j) l))
      by (induction l as [| j l IH]; simpl; nra).
    induction part as [| j part IH]; [easy |]. simpl. specialize (positive_tail part).
    destruct H as [-> | H]; [| specialize (IH H)]; nra. }
  destruct (Req_dec (x i) 0) as [| nonzero]; [assumption |].
  assert (0 < norm part x) by (apply sqrt_lt_R0; nra). lra.
Qed.

Lemma rms_scaled : forall I (part : I -> list I) s x i,
  positive s -> uniform part s -> rms (part i) (s ⊙ x) = s i * rms (part i) x.
Proof.
  intros I part s x i Hs H. unfold rms. rewrite <- sqrt_scaled by apply Hs. f_equal.
  now apply mean_scaled, squares_of_part_scaled.
Qed.

(** [(s x) / (s y) = x / y] for [s > 0], also where [y = 0]. *)
Lemma factor_cancels : forall s x y, 0 < s -> s * x / (s * y) = x / y.
Proof.
  intros s x y H. unfold Rdiv. rewrite Rinv_mult.
  replace (s * x * (/ s * / y)) with (s * / s * (x * / y)) by ring. rewrite Rinv_r; lra.
Qed.

(** [max(s x, s y) = s max(x, y)] for [s > 0]. *)
Lemma max_scaled : forall s x y, 0 < s -> Rmax (s * x) (s * y) = s * Rmax x y.
Proof. intros. unfold Rmax. repeat destruct Rle_dec; nra. Qed.

(** ** One norm over several factors

    The norm of [s ⊙ x] follows from that of [x] only if [s] has one value: why clipping by a norm over
    parameters with different factors cannot be repaired by another threshold. *)

(** [x] at [i], 0 elsewhere *)
Definition alone {I : Type} (same : forall i j : I, {i = j} + {i <> j}) (i : I) (x : R) : I -> R :=
  fun j => if same i j then x else 0.

Lemma total_alone : forall I same (part : list I) i x,
  NoDup part -> In i part -> total part (alone same i x) = x.
Proof.
  intros I same part i x. unfold total, alone. induction part as [| j part IH]; [easy |].
  intros distinct here. apply NoDup_cons_iff in distinct as [new distinct]. simpl.
  destruct (same i j) as [<- | other].
  - replace (map _ part) with (map (fun _ : I => 0) part).
    + clear. induction part as [| j part IH]; simpl; lra.
    + apply map_ext_in. intros j in_part. destruct (same i j) as [<- |]; [contradiction | easy].
  - rewrite IH; [ring | assumption |]. destruct here; [congruence | assumption].
Qed.

Theorem one_norm_only_if : forall I (same : forall i j : I, {i = j} + {i <> j}) (part : list I) s f,
  NoDup part -> positive s -> (forall x, norm part (s ⊙ x) = f (norm part x)) ->
  forall i j, In i part -> In j part -> s i = s j.
Proof.
  intros I same part s f distinct Hs H.
  assert (at_one : forall i, In i part -> s i = f 1).
  { intros i in_part.
    assert (length_of : forall x, 0 <= x -> norm part (alone same i x) = x).
    { intros x Hx. unfold norm.
      replace (alone same i x ⊙ alone same i x) with (alone same i (x * x))
        by (extensionality j; unfold scale, alone; destruct same; ring).
      rewrite total_alone by assumption. now apply sqrt_square. }
    rewrite <- (length_of 1) at 1 by lra. rewrite <- H.
    replace (s ⊙ alone same i 1) with (alone same i (s i))
      by (extensionality j; unfold scale, alone; destruct (same i j) as [<- |]; ring).
    now rewrite length_of by apply Rlt_le, Hs. }
  intros i j in_part in_part'. now rewrite (at_one i), (at_one j).
Qed.
