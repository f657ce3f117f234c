(** * The degrees of the adapters

    One lemma for each algorithm of the toolkit, by its name there: [NAME_degrees]. Scaling the tensors
    one by one shows the degree in each, which is what [gamma_blocks] asks; scaling them alike shows the
    degree of the update, which is what [gamma_equivalence] asks. Where the whole update has none, a map
    inside has, and [γ] stands there. *)

From Coq Require Import Reals List Lra FunctionalExtensionality.
From Gamma Require Import vectors training folding.
Open Scope R_scope.

(** [X + Y] *)
Definition plus (X Y : matrix) : matrix := fun i j => X i j + Y i j.

(** A kernel has a matrix for every tap [x]; a stack of blocks one for every block. *)
Definition kernel : Type := nat -> matrix.

(** ** The tensor itself *)

(** Full: [D] *)
Definition full (D : matrix) : matrix := D.

Lemma full_degrees : forall d D, full (times d D) = times d (full D).
Proof. reflexivity. Qed.

(** A normalisation layer's: a vector. *)
Definition shift (w : nat -> R) : nat -> R := w.

Lemma norm_degrees : forall d w, shift (fun i => d * w i) = (fun i => d * shift w i).
Proof. reflexivity. Qed.

(** (IA)³ on the output, [w_i W_ij], and on the input, [W_ij w_j] *)
Definition ia3 (w : nat -> R) (W : matrix) : matrix := fun i j => w i * W i j.
Definition ia3_on_input (w : nat -> R) (W : matrix) : matrix := fun i j => W i j * w j.

Lemma ia3_degrees : forall d w W, ia3 (fun i => d * w i) W = times d (ia3 w W).
Proof. intros. extensionality i. extensionality j. unfold ia3, times. ring. Qed.

Lemma ia3_on_input_degrees : forall d w W,
  ia3_on_input (fun i => d * w i) W = times d (ia3_on_input w W).
Proof. intros. extensionality i. extensionality j. unfold ia3_on_input, times. ring. Qed.

(** A scalar [σ] that is trained as well adds 1 to the degree. *)
Lemma scalar_degrees : forall s σ X, times (s * σ) X = times s (times σ X).
Proof. intros. extensionality i. extensionality j. unfold times. ring. Qed.

(** ** Products *)

(** LoRA: [(B A)_ij = Σ_{p < r} B_ip A_pj] *)
Definition lora (r : nat) (B A : matrix) : matrix :=
  fun i j => sum_below r (fun p => B i p * A p j).

(** LoRA has degree 1 in [B] and in [A]. *)
Lemma lora_degrees : forall r b a B A,
  lora r (times b B) (times a A) = times (b * a) (lora r B A).
Proof.
  intros. extensionality i. extensionality j. apply sum_below_scaled. intro. unfold times. ring.
Qed.

(** DyLoRA acts with the first [prefix] ranks of a LoRA, whichever they are in this step. *)
Definition dylora (prefix : nat) : matrix -> matrix -> matrix := lora prefix.

Lemma dylora_degrees : forall prefix b a B A,
  dylora prefix (times b B) (times a A) = times (b * a) (dylora prefix B A).
Proof. exact lora_degrees. Qed.

(** [(X ∘ Y)_ij = X_ij Y_ij] *)
Definition hadamard (X Y : matrix) : matrix := fun i j => X i j * Y i j.

(** LoHa: [(B1 A1) ∘ (B2 A2)] *)
Definition loha (r1 r2 : nat) (B1 A1 B2 A2 : matrix) : matrix :=
  hadamard (lora r1 B1 A1) (lora r2 B2 A2).

Lemma hadamard_degrees : forall x y X Y,
  hadamard (times x X) (times y Y) = times (x * y) (hadamard X Y).
Proof. intros. extensionality i. extensionality j. unfold hadamard, times. ring. Qed.

(** LoHa has degree 1 in each of its four factors. *)
Lemma loha_degrees : forall r1 r2 b1 a1 b2 a2 B1 A1 B2 A2,
  loha r1 r2 (times b1 B1) (times a1 A1) (times b2 B2) (times a2 A2)
  = times (b1 * a1 * (b2 * a2)) (loha r1 r2 B1 A1 B2 A2).
Proof. intros. unfold loha. now rewrite !lora_degrees, hadamard_degrees. Qed.

(** [C ⊗ D] for [D] with [h] rows and [w] columns: [C_{i/h, j/w} D_{i mod h, j mod w}] *)
Definition kronecker (h w : nat) (C D : matrix) : matrix :=
  fun i j => C (i / h)%nat (j / w)%nat * D (i mod h)%nat (j mod w)%nat.

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

(** Tucker: [W_oix = Σ_{p < r} Σ_{q < r'} G_pqx B_op A_qi] *)
Definition tucker (r r' : nat) (G : kernel) (B A : matrix) : kernel :=
  fun x o i => sum_below r (fun p => sum_below r' (fun q => G x p q * B o p * A q i)).

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

(** GLoRA: [Σ_i W_oix (A1 A2)_ij + (B1 B2x)_oj] at every tap [x], with [n] inputs. *)
Definition glora (n r : nat) (W : kernel) (A1 A2 B1 : matrix) (B2 : kernel) : kernel :=
  fun x o j => sum_below n (fun i => W x o i * lora r A1 A2 i j) + lora r B1 (B2 x) o j.

(** It has degree 1 in [A1] and [B1] together, and in [A2] and [B2] together. *)
Lemma glora_degrees : forall n r s u W A1 A2 B1 B2 x,
  glora n r W (times s A1) (times u A2) (times s B1) (fun x => times u (B2 x)) x
  = times (s * u) (glora n r W A1 A2 B1 B2 x).
Proof.
  intros. extensionality o. extensionality j. unfold glora. rewrite !lora_degrees.
  rewrite (sum_below_scaled (s * u) n _ (fun i => W x o i * lora r A1 A2 i j))
    by (intro; unfold times; ring).
  unfold times. ring.
Qed.

(** ** A map inside: T-LoRA *)

(** [(P diag(λ ∘ mask) Q)_ij], inside the update [γ P diag(λ ∘ mask) Q - P0 diag(λ0 ∘ mask) Q0] *)
Definition tlora (r : nat) (mask : nat -> R) (P : matrix) (λ : nat -> R) (Q : matrix) : matrix :=
  fun i j => sum_below r (fun p => P i p * (λ p * mask p) * Q p j).

(** T-LoRA's inner map has degree 1 in [P], in [λ] and in [Q], whatever ranks the mask keeps. *)
Lemma tlora_degrees : forall r mask p l q P λ Q,
  tlora r mask (times p P) (fun n => l * λ n) (times q Q)
  = times (p * l * q) (tlora r mask P λ Q).
Proof.
  intros. extensionality i. extensionality j. apply sum_below_scaled. intro. unfold times. ring.
Qed.

(** The ratio [alpha / rank] multiplies the frozen start as well, and is no such [γ]: no factors fold it,
    unless it is 1. *)
Lemma tlora_alpha_folds_nothing : forall r mask P λ Q i j p l q γ,
  let start := tlora r mask P λ Q i j in
  start <> 0 ->
  (forall P λ Q, tlora r mask (times p P) (fun n => l * λ n) (times q Q) i j - start
    = γ * (tlora r mask P λ Q i j - start)) ->
  γ = 1.
Proof.
  intros r mask P λ Q i j p l q γ start nonzero H.
  pose proof (H P λ Q) as at_start. pose proof (H (times 2 P) (fun n => 1 * λ n) (times 1 Q)) as on.
  rewrite tlora_degrees in at_start, on. rewrite tlora_degrees in on.
  unfold times at 1 in at_start. unfold times at 1 2 3 in on. fold start in at_start, on.
  apply (Rmult_eq_reg_r start); lra.
Qed.

(** ** A map inside: DoRA *)

(** [m_i V_ij / ‖V_i‖], where [V = W0 + γ ΔW] and [n] is the number of columns *)
Definition dora (n : nat) (m : nat -> R) (V : matrix) : matrix :=
  fun i j => m i * direction (seq 0 n) (V i) j.

(** DoRA's direction has degree 0 in [V], and the whole degree 1 in the magnitude [m]. *)
Lemma dora_degrees : forall n d c m V, 0 < c ->
  dora n (fun i => d * m i) (times c V) = times d (dora n m V).
Proof.
  intros n d c m V Hc. extensionality i. extensionality j. unfold dora, times.
  rewrite (direction_degrees nat (seq 0 n) c (V i) Hc). ring.
Qed.

(** [γ] stands before the inner update, and folds into its tensors: here LoRA's. *)
Lemma dora_inner_degrees : forall n r m W b a B A,
  dora n m (plus W (times (b * a) (lora r B A))) = dora n m (plus W (lora r (times b B) (times a A))).
Proof. intros. now rewrite lora_degrees. Qed.

(** ** A map inside: rotations *)

(** The generator of a rotation: [B - Bᵀ] *)
Definition generator (B : matrix) : matrix := fun i j => B i j - B j i.

Lemma generator_degrees : forall b B, generator (times b B) = times b (generator B).
Proof. intros. extensionality i. extensionality j. unfold generator, times. ring. Qed.

(** Diag-OFT: a generator for every block; what is made of them, their bound and the Cayley transform,
    is [rotated], any map. *)
Lemma diag_oft_degrees : forall (Weight : Type) (rotated : kernel -> Weight) γ (B : kernel),
  rotated (fun n => generator (times γ (B n))) = rotated (fun n => times γ (generator (B n))).
Proof. intros. f_equal. extensionality n. apply generator_degrees. Qed.

(** BOFT: the same in every stage. *)
Lemma boft_degrees : forall (Weight : Type) (rotated : (nat -> kernel) -> Weight) γ B,
  rotated (fun stage n => generator (times γ (B stage n)))
  = rotated (fun stage n => times γ (generator (B stage n))).
Proof. intros. f_equal. extensionality stage. extensionality n. apply generator_degrees. Qed.

(** OFTv2: a generator of what stands above the diagonal of every block; the series in it, its scale and what it
    turns are [rotated], any map. *)
Definition above (V : matrix) : matrix := fun i j => if Nat.ltb i j then V i j else 0.

Lemma oftv2_degrees : forall (Weight : Type) (rotated : kernel -> Weight) γ (V : kernel),
  rotated (fun n => generator (above (times γ (V n))))
  = rotated (fun n => times γ (generator (above (V n)))).
Proof.
  intros. f_equal. extensionality n. extensionality i. extensionality j.
  unfold generator, above, times. destruct (Nat.ltb i j), (Nat.ltb j i); ring.
Qed.

(** Outside, [γ (R - I)], there is no such factor. For two rows, with the generator [q]: *)
Definition cayley_diagonal (q : R) : R := (1 - q * q) / (1 + q * q) - 1.
Definition cayley_beside (q : R) : R := 2 * q / (1 + q * q).

Lemma cayley_folds_nothing : forall γ a,
  (forall q, cayley_diagonal (a * q) = γ * cayley_diagonal q) ->
  (forall q, cayley_beside (a * q) = γ * cayley_beside q) -> γ = 1 \/ γ = 0.
Proof.
  intros γ a diagonal beside. specialize (diagonal 1). specialize (beside 1).
  unfold cayley_diagonal in diagonal. unfold cayley_beside in beside. rewrite !Rmult_1_r in *.
  assert (positive : 0 < 1 + a * a) by nra.
  assert (on_diagonal : γ * (1 + a * a) = 2 * (a * a)) by (field_simplify_eq in diagonal; lra).
  assert (off_diagonal : γ * (1 + a * a) = 2 * a) by (field_simplify_eq in beside; lra).
  assert (roots : a * (a - 1) = 0) by lra.
  apply Rmult_integral in roots. destruct roots; [right | left]; nra.
Qed.
