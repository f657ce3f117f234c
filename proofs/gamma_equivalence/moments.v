(** * What optimizers keep of the gradients

    Averages, sums, momenta and signs of the derivatives of one parameter, [g_t, ..., g_0], the newest
    first, and how they scale when all of them are multiplied by [s > 0]. *)

From Coq Require Import Reals List Lra.
From Gamma Require Import vectors.
Import ListNotations.
Open Scope R_scope.

Definition newest (g : list R) : R := hd 0 g.
Definition sum (g : list R) : R := fold_right Rplus 0 g.
Definition squares (g : list R) : list R := map Rsqr g.

(** [v_t = (1 - w_t) v_{t-1} + w_t g_t], [v_0 = 0], with steps counted from 1 *)
Fixpoint weighted (w : nat -> R) (g : list R) : R :=
  match g with
  | [] => 0
  | now :: before => (1 - w (length g)) * weighted w before + w (length g) * now
  end.

(** [v_t = β v_{t-1} + (1 - β) g_t], [v_{-1} = 0] *)
Fixpoint average (β : R) (g : list R) : R :=
  match g with
  | [] => 0
  | now :: before => β * average β before + (1 - β) * now
  end.

(** An average without its bias to zero: [v_t / (1 - β^(t+1))] *)
Definition corrected (β : R) (g : list R) : R := average β g / (1 - β ^ length g).

(** The largest average so far. It is taken of squares, so that the 0 to begin with is never it. *)
Fixpoint largest (β : R) (g : list R) : R :=
  match g with
  | [] => 0
  | _ :: before => Rmax (largest β before) (average β g)
  end.

(** [b_t = μ b_{t-1} + (1 - τ) g_t], [b_0 = g_0]: momentum [μ] with dampening [τ] *)
Fixpoint buffer (μ τ : R) (g : list R) : R :=
  match g with
  | [] => 0
  | [first] => first
  | now :: before => μ * buffer μ τ before + (1 - τ) * now
  end.

(** Nesterov's momentum: [g_t + μ b_t] *)
Definition lookahead (μ : R) (g : list R) : R := newest g + μ * buffer μ 0 g.

(** Momentum of directions: [b_t = μ b_{t-1} + u(g_t, ..., g_0)] *)
Fixpoint filtered (μ : R) (u : list R -> R) (g : list R) : R :=
  match g with
  | [] => 0
  | _ :: before => μ * filtered μ u before + u g
  end.

(** [g_t - g_{t-1}, ..., g_1 - g_0, 0] *)
Fixpoint differences (g : list R) : list R :=
  match g with
  | now :: (previous :: _) as before => (now - previous) :: differences before
  | _ => map (fun _ => 0) g
  end.

(** [g_t + β (g_t - g_{t-1}), ..., g_1 + β (g_1 - g_0), g_0] *)
Fixpoint extrapolated (β : R) (g : list R) : list R :=
  match g with
  | now :: (previous :: _) as before => (now + β * (now - previous)) :: extrapolated β before
  | _ => g
  end.

Definition sign (x : R) : R :=
  if Rlt_dec 0 x then 1 else if Rlt_dec x 0 then -1 else 0.

Lemma quotient_out : forall s x c, s * x / c = s * (x / c).
Proof. intros. unfold Rdiv. ring. Qed.

Lemma squares_scaled : forall s g, squares (map (Rmult s) g) = map (Rmult (s * s)) (squares g).
Proof. intros s g. unfold squares. rewrite !map_map. apply map_ext. intro. apply Rsqr_mult. Qed.

Section Scaled.

  Variable s : R.

  Lemma newest_scaled : forall g, newest (map (Rmult s) g) = s * newest g.
  Proof. destruct g; simpl; ring. Qed.
  Lemma tail_scaled : forall g, tl (map (Rmult s) g) = map (Rmult s) (tl g).
  Proof. now destruct g. Qed.
  Lemma sum_scaled : forall g, sum (map (Rmult s) g) = s * sum g.
  Proof. induction g as [| now g IH]; simpl; [| rewrite IH]; ring. Qed.
  Lemma average_scaled : forall β g, average β (map (Rmult s) g) = s * average β g.
  Proof. induction g as [| now g IH]; simpl; [| rewrite IH]; ring. Qed.
  Lemma corrected_scaled : forall β g, corrected β (map (Rmult s) g) = s * corrected β g.
  Proof. intros. unfold corrected. now rewrite average_scaled, map_length, quotient_out. Qed.

  Lemma weighted_scaled : forall w g, weighted w (map (Rmult s) g) = s * weighted w g.
  Proof. induction g as [| now g IH]; simpl; [| rewrite IH, map_length]; ring. Qed.

  Lemma buffer_scaled : forall μ τ g, buffer μ τ (map (Rmult s) g) = s * buffer μ τ g.
  Proof.
    induction g as [| now [| next g] IH]; [simpl; ring .. |].
    cbn [map buffer] in *. rewrite IH. ring.
  Qed.

  Lemma lookahead_scaled : forall μ g, lookahead μ (map (Rmult s) g) = s * lookahead μ g.
  Proof. intros. unfold lookahead. rewrite newest_scaled, buffer_scaled. ring. Qed.

  Lemma differences_scaled : forall g,
    differences (map (Rmult s) g) = map (Rmult s) (differences g).
  Proof.
    induction g as [| now [| previous g] IH]; [reflexivity | simpl; f_equal; ring |].
    cbn [map differences] in *. rewrite IH. f_equal. ring.
  Qed.

  Lemma extrapolated_scaled : forall β g,
    extrapolated β (map (Rmult s) g) = map (Rmult s) (extrapolated β g).
  Proof.
    induction g as [| now [| previous g] IH]; [reflexivity .. |].
    cbn [map extrapolated] in *. rewrite IH. f_equal. ring.
  Qed.

  Lemma filtered_same : forall μ u u' g,
    (forall g, u' (map (Rmult s) g) = u g) -> filtered μ u' (map (Rmult s) g) = filtered μ u g.
  Proof.
    intros μ u u' g H. induction g as [| now g IH]; [reflexivity |].
    cbn [map filtered]. rewrite IH. f_equal. apply (H (now :: g)).
  Qed.

  Hypothesis s_positive : 0 < s.

  Lemma largest_scaled : forall β g, largest β (map (Rmult s) g) = s * largest β g.
  Proof.
    induction g as [| now g IH]; [simpl; ring |].
    change (Rmax (largest β (map (Rmult s) g)) (average β (map (Rmult s) (now :: g)))
      = s * Rmax (largest β g) (average β (now :: g))).
    rewrite IH, average_scaled. now apply max_scaled.
  Qed.

  Lemma sign_scaled : forall x, sign (s * x) = sign x.
  Proof. intro x. unfold sign. repeat destruct Rlt_dec; nra. Qed.

  (** [s x / (√(s² v) + s ε) = x / (√v + ε)]: the factor cancels, also where the denominator is zero. *)
  Lemma quotient_scaled : forall x v ε,
    s * x / (sqrt (s * s * v) + s * ε) = x / (sqrt v + ε).
  Proof.
    intros. rewrite sqrt_scaled, <- Rmult_plus_distr_l by assumption. now apply factor_cancels.
  Qed.

End Scaled.
