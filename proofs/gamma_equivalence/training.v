(** * Training

    A training starts somewhere and follows an optimizer down a sequence of losses. Two trainings
    correspond where the second optimizer moves rescaled points as the first moves the points. *)

From Coq Require Import Reals ZArith List Lra FunctionalExtensionality.
From Gamma Require Import vectors.
Import ListNotations.
Open Scope R_scope.

(** ** Gradients

    A function of many variables has the gradient [g] at [θ] when the derivative along every
    coordinate [i] is [g_i]. Rescaling the coordinates rescales the gradient. *)

Section Gradients.

  Variable I : Type.
  Variable same : forall i j : I, {i = j} + {i <> j}.

  (** [θ] with [x] in place of its [i]-th coordinate. *)
  Definition replace_at (θ : I -> R) (i : I) (x : R) : I -> R :=
    fun j => if same i j then x else θ j.

  (** [g_i = ∂F/∂θ_i (θ)] for every [i]. *)
  Definition gradient (F : (I -> R) -> R) (θ g : I -> R) : Prop :=
    forall i, derivable_pt_lim (fun x => F (replace_at θ i x)) (θ i) (g i).

  Lemma gradient_unique : forall F θ g g', gradient F θ g -> gradient F θ g' -> g = g'.
  Proof.
    intros F θ g g' H H'. extensionality i. exact (uniqueness_limite _ _ _ _ (H i) (H' i)).
  Qed.

  Lemma replace_at_scaled : forall a θ i x,
    replace_at (a ⊙ θ) i (a i * x) = a ⊙ replace_at θ i x.
  Proof. intros. extensionality j. unfold scale, replace_at. now destruct (same i j) as [<- |]. Qed.

  (** [(d/dx) f(c x) = c f'(c x)]: the chain rule. *)
  Lemma derivative_scaled : forall f c x l,
    derivable_pt_lim f (c * x) l -> derivable_pt_lim (fun y => f (c * y)) x (c * l).
  Proof.
    intros f c x l H. replace (c * l) with (l * (c * 1)) by ring.
    refine (derivable_pt_lim_comp (fun y => c * y) f x (c * 1) l _ H).
    exact (derivable_pt_lim_scal id c x 1 (derivable_pt_lim_id x)).
  Qed.

  (** If [F(θ) = G(a ⊙ θ)] then [∇F(θ) = a ⊙ ∇G(a ⊙ θ)], and one exists where the other does. *)
  Lemma gradient_scaled : forall F G a,
    positive a -> (forall θ, F θ = G (a ⊙ θ)) ->
    forall θ g, gradient F θ (a ⊙ g) <-> gradient G (a ⊙ θ) g.
  Proof.
    intros F G a Ha FG θ g; split; intros H i; specialize (H i); specialize (Ha i).
    - replace (fun x => G (replace_at (a ⊙ θ) i x))
        with (fun x => F (replace_at θ i (/ a i * x))).
      + replace (g i) with (/ a i * (a i * g i)) by (field; lra).
        apply (derivative_scaled (fun x => F (replace_at θ i x))). unfold scale at 1.
        replace (/ a i * (a i * θ i)) with (θ i) by (field; lra). exact H.
      + extensionality x. rewrite FG, <- replace_at_scaled. do 2 f_equal. field; lra.
    - replace (fun x => F (replace_at θ i x))
        with (fun x => G (replace_at (a ⊙ θ) i (a i * x))).
      + exact (derivative_scaled (fun x => G (replace_at (a ⊙ θ) i x)) _ _ _ H).
      + extensionality x. now rewrite FG, replace_at_scaled.
  Qed.

End Gradients.

Arguments gradient {I}.

(** ** Runs

    An optimizer maps what a run has seen, the points [θ_t, ..., θ_0] and the gradients
    [g_t, ..., g_0] there, the newest first, to the next point. It may keep any state, which is a
    function of these. *)

(** A point and the gradient there: [(θ_t, g_t)] *)
Definition sight (I : Type) : Type := (I -> R) * (I -> R).

Definition optimizer (I : Type) : Type := list (sight I) -> I -> R.

(** [(θ_t, g_t), ..., (θ_0, g_0)] *)
Fixpoint history {I : Type} (θ g : nat -> I -> R) (t : nat) : list (sight I) :=
  match t with
  | O => [(θ O, g O)]
  | S before => (θ t, g t) :: history θ g before
  end.

(** The points [θ_0, θ_1, ...] are a training run from [start]:
    [θ_{t+1} = step((θ_t, g_t), ..., (θ_0, g_0))] with [g_t = ∇loss_t(θ_t)].
    The loss may differ from step to step, as with batches; it need be differentiable only at the
    points of the run. *)
Definition training {I : Type} (same : forall i j : I, {i = j} + {i <> j})
    (loss : nat -> (I -> R) -> R) (step : optimizer I) (start : I -> R)
    (θ : nat -> I -> R) : Prop :=
  θ O = start /\
  exists g : nat -> I -> R,
    (forall t, gradient same (loss t) (θ t) (g t)) /\
    (forall t, θ (S t) = step (history θ g t)).

(** Every parameter times [t], every gradient times [s]. *)
Definition rescaled {I : Type} (t s : I -> R) : sight I -> sight I :=
  fun '(θ, g) => (t ⊙ θ, s ⊙ g).

(** Where the run [a θ] has the gradients [g / a], [step'] goes from it to [a] times what [step] goes
    to, on every history whose newest point is [alive], *)
Definition corresponds_while {I : Type} (alive : (I -> R) -> Prop) (a : I -> R)
    (step step' : optimizer I) : Prop :=
  forall θ g before, alive θ ->
    step' (map (rescaled a (a ^^ (-1))) ((θ, g) :: before)) = a ⊙ step ((θ, g) :: before).

(** or on every history. *)
Definition always {I : Type} : (I -> R) -> Prop := fun _ => True.
Definition corresponds {I : Type} (a : I -> R) : optimizer I -> optimizer I -> Prop :=
  corresponds_while always a.

(** ** The core: any optimizer

    [T] maps the parameters [θ] to the entries of the updates of all weights. The loss of step [t]
    sees only [γ T(θ)]: the frozen weights, the biases and the batch are inside [loss t]. Parameters
    that train without a [γ] are entries of [T] as well, with [γ = 1]. Where [T] changes from step to
    step, as with rank dropout, it has entries for each of its forms, and [loss t] sees its own. *)

Section Core.

  Variable I : Type. (* the parameters *)
  Variable same : forall i j : I, {i = j} + {i <> j}.
  Variable K : Type. (* the entries of the updates *)
  Variable T : (I -> R) -> K -> R.
  Variable loss : nat -> (K -> R) -> R.
  Variable γ : K -> R.
  Variable a : I -> R.

  (** The loss of step [t] as a function of the parameters: [loss_t(γ T(θ))], *)
  Definition with_gamma (t : nat) (θ : I -> R) : R := loss t (γ ⊙ T θ).
  (** and without a gamma: [loss_t(T(θ))]. *)
  Definition without_gamma (t : nat) (θ : I -> R) : R := loss t (T θ).

  (** The factors [a] fold [γ] into the tensors: [T(a θ) = γ T(θ)]. *)
  Definition folds : Prop := forall θ, T (a ⊙ θ) = γ ⊙ T θ.

  (** Two kinds of training are equivalent. Existence: [θ_0, θ_1, ...] is a run of the first exactly
      if [a θ_0, a θ_1, ...] is one of the second. Equality: for every run [θ] of the first, every
      run [θ'] of the second, and all [t], [θ'_t = a θ_t] and [T(θ'_t) = γ T(θ_t)]: the same weights
      at every step. *)
  Definition equivalent (first second : (nat -> I -> R) -> Prop) : Prop :=
    (forall θ, first θ <-> second (fun t => a ⊙ θ t)) /\
    (forall θ θ', first θ -> second θ' ->
      forall t, (forall i, θ' t i = a i * θ t i) /\ (forall k, T (θ' t) k = γ k * T (θ t) k)).

  (** The same of the runs of the first whose points are all [alive]. *)
  Definition equivalent_while (alive : (I -> R) -> Prop)
      (first second : (nat -> I -> R) -> Prop) : Prop :=
    (forall θ, (forall t, alive (θ t)) -> first θ <-> second (fun t => a ⊙ θ t)) /\
    (forall θ θ', (forall t, alive (θ t)) -> first θ -> second θ' ->
      forall t, (forall i, θ' t i = a i * θ t i) /\ (forall k, T (θ' t) k = γ k * T (θ t) k)).

  Hypothesis a_positive : positive a.
  Hypothesis a_folds : folds.

  Lemma history_rescaled : forall (b c : I -> R) θ g t,
    history (fun τ => b ⊙ θ τ) (fun τ => c ⊙ g τ) t = map (rescaled b c) (history θ g t).
  Proof. intros b c θ g. induction t as [| t IH]; simpl; [| rewrite IH]; reflexivity. Qed.

  (** [∇_θ loss_t(γ T(θ)) = a ∇loss_t(T)(a θ)] *)
  Lemma gradient_folded : forall t θ g,
    gradient same (with_gamma t) θ (a ⊙ g) <-> gradient same (without_gamma t) (a ⊙ θ) g.
  Proof.
    intro t. apply gradient_scaled; [assumption |].
    intro θ. unfold with_gamma, without_gamma. now rewrite a_folds.
  Qed.

  Variable alive : (I -> R) -> Prop.
  Variables (step step' : optimizer I) (start : I -> R).
  Hypothesis steps_correspond : corresponds_while alive a step step'.

  Let first := training same with_gamma step start.
  Let second := training same without_gamma step' (a ⊙ start).

  Lemma step_rescaled : forall θ g t, alive (θ t) ->
    step' (map (rescaled a (a ^^ (-1))) (history θ g t)) = a ⊙ step (history θ g t).
  Proof. intros θ g [| t] H; now apply steps_correspond. Qed.

  Lemma run_folds : forall θ, (forall t, alive (θ t)) -> first θ -> second (fun t => a ⊙ θ t).
  Proof.
    intros θ living (begins & g & gradients & steps). split; [now rewrite begins |].
    exists (fun t => a ^^ (-1) ⊙ g t). split; intro t.
    - apply gradient_folded. now rewrite unscale.
    - rewrite history_rescaled, steps, step_rescaled; auto.
  Qed.

  Lemma run_unfolds : forall θ, (forall t, alive (θ t)) -> second (fun t => a ⊙ θ t) -> first θ.
  Proof.
    intros θ living (begins & g & gradients & steps).
    split; [now apply (scale_injective _ a) |].
    exists (fun t => a ⊙ g t). split; intro t; [now apply gradient_folded |].
    apply (scale_injective _ a); [assumption |].
    rewrite <- step_rescaled, steps, <- history_rescaled by auto.
    do 2 f_equal. extensionality τ. apply (scale_injective _ a); [| rewrite unscale]; easy.
  Qed.

  (** Two runs of the same training are one: induction over the steps. *)
  Lemma run_unique : forall θ θ', second θ -> second θ' -> θ = θ'.
  Proof.
    intros θ θ' (begins & g & gradients & steps) (begins' & g' & gradients' & steps').
    assert (sights : forall t, θ t = θ' t -> (θ t, g t) = (θ' t, g' t)).
    { intros t H. specialize (gradients t). rewrite H in gradients |- *.
      now rewrite (gradient_unique _ _ _ _ _ _ gradients (gradients' t)). }
    assert (histories : forall t, history θ g t = history θ' g' t).
    { induction t as [| t IH]; simpl; rewrite sights; congruence. }
    extensionality t. destruct t as [| t]; [congruence |].
    now rewrite steps, steps', histories.
  Qed.

  Theorem runs_correspond_while : equivalent_while alive first second.
  Proof.
    split; [intros θ H; split; [now apply run_folds | now apply run_unfolds] |].
    intros θ θ' living H H' t.
    rewrite (run_unique θ' (fun t => a ⊙ θ t) H' (run_folds θ living H)).
    split; [easy |]. intro k. now rewrite a_folds.
  Qed.

End Core.

Section Always.

  Variables (I : Type) (same : forall i j : I, {i = j} + {i <> j}) (K : Type).
  Variables (T : (I -> R) -> K -> R) (loss : nat -> (K -> R) -> R) (γ : K -> R) (a : I -> R).

  (** If rescaling the parameters multiplies [T] by [γ], and [step'] moves rescaled points as [step]
      moves the points, then the runs correspond. *)
  Theorem runs_correspond : forall step step' start,
    positive a -> folds I K T γ a -> corresponds a step step' ->
    equivalent I K T γ a
      (training same (with_gamma I K T loss γ) step start)
      (training same (without_gamma I K T loss) step' (a ⊙ start)).
  Proof.
    intros step step' start Ha HT H.
    destruct (runs_correspond_while I same K T loss γ a Ha HT always step step' start H)
      as [existence equality].
    split; [intro θ; now apply existence | intros θ θ' run run'; now apply equality].
  Qed.

End Always.

Arguments folds {I K}.
Arguments equivalent {I K}.
Arguments equivalent_while {I K}.
Arguments with_gamma {I K}.
Arguments without_gamma {I K}.
