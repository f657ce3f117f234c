(** * One adapter in full: LoRA under AdamW

    Its parameters are the entries of [B] and [A]. *)

From Coq Require Import Reals ZArith List Lra FunctionalExtensionality.
From Gamma Require Import vectors training rules optimizers folding theorem adapters.
Import ListNotations.
Open Scope R_scope.

Inductive factor : Type := B | A.

(** An entry of a factor: its row and its column. *)
Definition entry : Type := factor * nat * nat.

Definition same_entry : forall i j : entry, {i = j} + {i <> j}.
Proof. repeat decide equality. Defined.

Definition factor_of : entry -> factor := fun '(f, _, _) => f.

Definition lora_update (r : nat) (θ : entry -> R) : nat * nat -> R :=
  fun '(i, j) => lora r (fun i p => θ (B, i, p)) (fun p j => θ (A, p, j)) i j.

(** Its degrees, as [gamma_blocks] asks for them. *)
Lemma lora_update_degrees : forall r,
  multi_homogeneous (lora_update r) [B; A] factor_of (fun _ _ => 1%nat).
Proof.
  intros r s _ θ [i j]. transitivity (s B * s A * lora_update r θ (i, j)).
  - exact (equal_f (equal_f (lora_degrees r (s B) (s A) _ _) i) j).
  - unfold product. simpl. ring.
Qed.

(** Its degree, as [gamma_equivalence] asks for it. *)
Lemma lora_update_homogeneous : forall r,
  homogeneous_layers (lora_update r) (fun _ => tt) (fun _ => tt) (fun _ => 2%nat).
Proof.
  intros r s Hs θ x.
  rewrite (lora_update_degrees r (fun _ => s tt) (fun _ => Hs tt)). unfold product. simpl. ring.
Qed.

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
  assert (a_positive : positive a) by now intros [|].
  assert (s_positive : positive (spread factor_of a)) by (intro; apply a_positive).
  set (s := spread factor_of a) in *.
  assert (product_is_γ : nat * nat -> product [B; A] (fun f => a f ^ 1) = γ)
    by (intros _; unfold product; simpl; rewrite <- folds; ring).
  destruct (gamma_blocks entry same_entry _ (lora_update r) loss factor [B; A] factor_of
    (fun _ _ => 1%nat) (fun _ => γ) a 0 0 _ _ lr wd no_l2 start (lora_update_degrees r) a_positive
    product_is_γ (adam_degree entry (s ^^ (-1)) s (power_positive _ _ _ s_positive) β1 β2 ε))
    as [_ equal].
  fold s in equal. unfold original, folded, rescaled_descent in equal.
  change (0 + 1 - 0)%Z with 1%Z in equal. change (- (1))%Z with (-1)%Z in equal.
  replace (s ^^ 1) with s in equal by (extensionality i; symmetry; apply powerRZ_1).
  replace (s ^^ (-1)) with (fun i => / s i) in equal
    by (extensionality i; symmetry; apply inverse_at).
  replace (s ^^ (-2) ⊙ no_l2) with (@no_l2 entry) in equal
    by (extensionality i; unfold scale, no_l2; ring).
  exact (equal θ θ' run run').
Qed.
