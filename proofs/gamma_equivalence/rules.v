(** * Rules and their degrees

    A rule [U] is what an optimizer steps along. It has the degree [k] in the gradients and [j] in the
    parameters, and then so does what decay, clipping and max-norm make of it, with other numbers. *)

From Coq Require Import Reals ZArith List Lra FunctionalExtensionality.
From Gamma Require Import vectors training.
Import ListNotations.
Open Scope R_scope.

(** A rule maps the points and the gradients so far, the newest first, to a direction. *)
Definition rule (I : Type) : Type := list (sight I) -> I -> R.

Section Rules.

  Variable I : Type.

  (** [U(s g; t θ) = s^k t^j U(g; θ)] after what a run has seen, where [U'] is [U] with its own
      constants ([ε] and the like) rescaled, or [U] itself if it has none. *)
  Definition homogeneous_at (k j : Z) (s t : I -> R) (U U' : rule I) (seen : list (sight I)) : Prop :=
    forall i, U' (map (rescaled t s) seen) i = powerRZ (s i) k * powerRZ (t i) j * U seen i.

  (** [U] has degree [k] in the gradients and [j] in the parameters. *)
  Definition homogeneous_rule k j s t U U' : Prop := forall seen, homogeneous_at k j s t U U' seen.

  (** ** Descent *)

  (** The gradient of a loss with the penalty [l2 θ² / 2]: [g + l2 θ] *)
  Definition penalised (l2 : I -> R) : sight I -> sight I :=
    fun '(θ, g) => (θ, fun i => g i + l2 i * θ i).

  (** An optimizer with learning rate [lr], decoupled weight decay [wd] (AdamW's) and coupled weight
      decay [l2] (that of a penalty on the loss), each a number of its own for every parameter, the
      first two also for every step:
      [θ_{t+1} = (1 - lr_t wd_t) θ_t - lr_t U(d_t, ..., d_0; θ_t, ..., θ_0)], [d_t = g_t + l2 θ_t]. *)
  Definition descent (lr wd : nat -> I -> R) (l2 : I -> R) (U : rule I) : optimizer I :=
    fun seen i =>
      match seen with
      | [] => 0
      | (θ, _) :: before =>
          let t := length before in
          (1 - lr t i * wd t i) * θ i - lr t i * U (map (penalised l2) seen) i
      end.

  (** Proximal weight decay (Adan's): [θ_{t+1} = (θ_t - lr_t U) / (1 + lr_t wd_t)]. *)
  Definition proximal (lr wd : nat -> I -> R) (U : rule I) : optimizer I :=
    fun seen i =>
      match seen with
      | [] => 0
      | (θ, _) :: before =>
          let t := length before in (θ i - lr t i * U seen i) / (1 + lr t i * wd t i)
      end.

  Definition no_l2 : I -> R := fun _ => 0.
  Definition no_wd : nat -> I -> R := fun _ _ => 0.

  (** [s g + (s/t l2) (t θ) = s (g + l2 θ)] at [s = 1/a], [t = a]. *)
  Lemma penalised_rescaled : forall (a l2 : I -> R) seen,
    positive a ->
    map (penalised (a ^^ (-2) ⊙ l2)) (map (rescaled a (a ^^ (-1))) seen)
    = map (rescaled a (a ^^ (-1))) (map (penalised l2) seen).
  Proof.
    intros a l2 seen Ha. rewrite !map_map. apply map_ext. intros [θ g].
    unfold penalised, rescaled. f_equal. extensionality i.
    unfold scale, power. simpl. field. pose proof (Ha i). lra.
  Qed.

  (** [(1/a)^k a^j a^(k + 1 - j) = a]: why [c = k + 1 - j]. *)
  Lemma degrees_cancel : forall x k j, 0 < x ->
    powerRZ x (k + 1 - j) * (powerRZ (powerRZ x (-1)) k * powerRZ x j) = x.
  Proof.
    intros x k j Hx. rewrite power_of_inverse, <- !powerRZ_add by lra.
    now replace (k + 1 - j + (- k + j))%Z with 1%Z by ring; rewrite powerRZ_1.
  Qed.

  (** The rate times the decay stays. *)
  Lemma rate_times_decay : forall x c (η w : R), 0 < x ->
    powerRZ x c * η * (powerRZ x (- c) * w) = η * w.
  Proof.
    intros x c η w Hx.
    replace (powerRZ x c * η * (powerRZ x (- c) * w))
      with (powerRZ x (- c) * powerRZ x c * (η * w)) by ring.
    rewrite power_opposite by assumption. ring.
  Qed.

  Lemma power_scale_at : forall (a x : I -> R) c i, (a ^^ c ⊙ x) i = powerRZ (a i) c * x i.
  Proof. reflexivity. Qed.

  (** The rate takes the rest: [lr' U' = a lr U]. *)
  Lemma rate_times_rule : forall a k j (U U' : rule I) seen (η : R) i,
    positive a -> homogeneous_at k j (a ^^ (-1)) a U U' seen ->
    powerRZ (a i) (k + 1 - j) * η * U' (map (rescaled a (a ^^ (-1))) seen) i = a i * (η * U seen i).
  Proof.
    intros a k j U U' seen η i Ha HU. rewrite HU. unfold power.
    pose proof (degrees_cancel (a i) k j (Ha i)) as cancel.
    rewrite <- cancel at 4. ring.
  Qed.

  (** [descent] with [lr' = a^c lr], [wd' = a^-c wd], [l2' = a^-2 l2]. *)
  Definition rescaled_descent (a : I -> R) (c : Z) lr wd l2 (U : rule I) : optimizer I :=
    descent (fun t => a ^^ c ⊙ lr t) (fun t => a ^^ (- c) ⊙ wd t) (a ^^ (-2) ⊙ l2) U.

  Definition rescaled_proximal (a : I -> R) (c : Z) lr wd (U : rule I) : optimizer I :=
    proximal (fun t => a ^^ c ⊙ lr t) (fun t => a ^^ (- c) ⊙ wd t) U.

  (** Descent along a rule that is homogeneous where the newest point is [alive] corresponds there. *)
  Lemma descent_corresponds_while : forall (alive : (I -> R) -> Prop) a k j U U' lr wd l2,
    positive a ->
    (forall θ g before, alive θ -> homogeneous_at k j (a ^^ (-1)) a U U' ((θ, g) :: before)) ->
    corresponds_while alive a (descent lr wd l2 U) (rescaled_descent a (k + 1 - j) lr wd l2 U').
  Proof.
    intros alive a k j U U' lr wd l2 Ha HU θ g before living. extensionality i.
    unfold rescaled_descent, descent. rewrite penalised_rescaled by assumption.
    cbn [map rescaled]. rewrite map_length, !power_scale_at, rate_times_decay by apply Ha.
    pose proof (fun η => rate_times_rule a k j U U' (map (penalised l2) ((θ, g) :: before)) η i Ha
      (HU _ _ _ living)) as rest.
    cbn [map penalised rescaled] in rest |- *. rewrite rest. unfold scale. ring.
  Qed.

  Lemma descent_corresponds : forall a k j U U' lr wd l2,
    positive a -> homogeneous_rule k j (a ^^ (-1)) a U U' ->
    corresponds a (descent lr wd l2 U) (rescaled_descent a (k + 1 - j) lr wd l2 U').
  Proof. intros a k j U U' lr wd l2 Ha HU. apply descent_corresponds_while; auto. Qed.

  Lemma proximal_corresponds : forall a k j U U' lr wd,
    positive a -> homogeneous_rule k j (a ^^ (-1)) a U U' ->
    corresponds a (proximal lr wd U) (rescaled_proximal a (k + 1 - j) lr wd U').
  Proof.
    intros a k j U U' lr wd Ha HU θ g before _. extensionality i.
    unfold rescaled_proximal, proximal. cbn [map rescaled].
    rewrite map_length, !power_scale_at, rate_times_decay by apply Ha.
    pose proof (fun η => rate_times_rule a k j U U' ((θ, g) :: before) η i Ha (HU _)) as rest.
    cbn [map rescaled] in rest. rewrite rest. unfold sight, scale, Rdiv. ring.
  Qed.

  (** ** Clipping and max-norm *)

  (** [N i] measures a vector in the group of the parameter [i], as a norm does. Where the group is
      [s] times as large, [N'] finds [s] times as much; [N'] is [N], or [N] in other units. *)
  Definition measures (s : I -> R) (N N' : I -> (I -> R) -> R) : Prop :=
    forall i x, N' i (s ⊙ x) = s i * N i x.

  (** The norm of a part with one factor measures it. *)
  Lemma norm_measures : forall (part : I -> list I) s,
    positive s -> uniform part s ->
    measures s (fun i => norm (part i)) (fun i => norm (part i)).
  Proof. intros part s Hs H i x. now apply norm_scaled. Qed.

  (** Clipping multiplies the gradient in the group of the parameter [i] by [min(1, τ_i / N_i(g))]. *)
  Definition clip (N : I -> (I -> R) -> R) (τ : I -> R) : sight I -> sight I :=
    fun '(θ, g) => (θ, fun i => Rmin 1 (τ i / N i g) * g i).

  Definition clipped N τ (step : optimizer I) : optimizer I :=
    fun seen => step (map (clip N τ) seen).

  Lemma clipped_corresponds : forall (alive : (I -> R) -> Prop) a N N' τ step step',
    positive a -> measures (a ^^ (-1)) N N' -> corresponds_while alive a step step' ->
    corresponds_while alive a (clipped N τ step) (clipped N' (a ^^ (-1) ⊙ τ) step').
  Proof.
    intros alive a N N' τ step step' Ha HN H θ g before living. unfold clipped.
    transitivity (step' (map (rescaled a (a ^^ (-1))) (map (clip N τ) ((θ, g) :: before))));
      [| now apply H].
    f_equal. rewrite !map_map. apply map_ext. intros [ϑ h]. unfold rescaled, clip. f_equal.
    extensionality i. rewrite HN. unfold scale.
    assert (nonzero : (a ^^ (-1)) i <> 0) by (pose proof (power_positive _ _ (-1) Ha i); lra).
    set (p := (a ^^ (-1)) i) in *. unfold Rdiv. rewrite Rinv_mult.
    replace (p * τ i * (/ p * / N i h)) with (p * / p * (τ i * / N i h)) by ring.
    rewrite Rinv_r by assumption. rewrite Rmult_1_l. ring.
  Qed.

  (** Max-norm shrinks the parameters after every step by factors [f] that it finds from the update,
      [γ T(θ)] in one run and [T(θ)] in the other. They are the same update, so nothing changes. *)
  Definition shrunk {K : Type} (update : (I -> R) -> K -> R) (f : (K -> R) -> I -> R)
      (step : optimizer I) : optimizer I :=
    fun seen => f (update (step seen)) ⊙ step seen.

  Lemma shrunk_corresponds :
    forall (alive : (I -> R) -> Prop) K (T : (I -> R) -> K -> R) γ a f step step',
    folds T γ a -> corresponds_while alive a step step' ->
    corresponds_while alive a (shrunk (fun θ => γ ⊙ T θ) f step) (shrunk T f step').
  Proof.
    intros alive K T γ a f step step' HT H θ g before living. unfold shrunk.
    rewrite H, HT by assumption. extensionality i. unfold scale. ring.
  Qed.

End Rules.

Arguments homogeneous_at {I}.
Arguments homogeneous_rule {I}.
Arguments penalised {I}.
Arguments descent {I}.
Arguments proximal {I}.
Arguments no_l2 {I}.
Arguments no_wd {I}.
Arguments rescaled_descent {I}.
Arguments rescaled_proximal {I}.
Arguments measures {I}.
Arguments clipped {I}.
Arguments shrunk {I K}.
