# The proofs in Coq: they compile, none has a gap, and they rest on no axioms but those of the
# standard library's real numbers and extensionality. Then the same check of broken copies fails.
set -euo pipefail

theorems=(
    gamma_equivalence gamma_blocks gamma_sgd gamma_momentum gamma_nesterov gamma_adam gamma_adamw
    gamma_rmsprop gamma_adagrad gamma_lion lora_degrees loha_degrees lokr_degrees tucker_degrees
)
axioms='ClassicalDedekindReals\.\w+|FunctionalExtensionality\.functional_extensionality_dep'
gaps='Admitted|admit|give_up|Axioms?|Conjectures?|Parameters?|Obligations?'
gaps+='|Declare|Primitive|Unset|bypass_check|Module'

install_coq() {
    local root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo -n)
    "${root[@]}" apt-get update -qq &&
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends coq
}

command -v coqc >/dev/null || install_coq >/dev/null || true
if ! command -v coqc >/dev/null; then
    echo "skipped: there is no Coq (coqc), and none could be installed"
    exit 0
fi

scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

# Innermost first, as comments nest.
without_comments() {
    perl -0777 -pe '1 while s/\(\*(?:(?!\(\*|\*\)).)*\*\)//gs' "$1"
}

# Checks `gamma_equivalence.v` of a directory; says what is wrong with it.
check() (
    cd "$1"
    without_comments gamma_equivalence.v >code
    ! grep -nwE "$gaps" code || { echo "that is a gap"; exit 1; }
    coqc -q gamma_equivalence.v || { echo "Coq refuses it"; exit 1; }

    mapfile -t stated < <(grep -oP '^\s*(Theorem|Lemma) \K\w+' code)
    for name in "${theorems[@]}"; do
        [[ " ${stated[*]} " == *" $name "* ]] || { echo "there is no theorem $name"; exit 1; }
    done

    # What all of them assume together. A name starts a line, its type may go on below.
    {
        echo 'Require gamma_equivalence.'
        echo 'Definition all := (tt'
        printf ', @gamma_equivalence.%s\n' "${stated[@]}"
        echo '). Print Assumptions all.'
    } >assumptions.v
    coqc -q assumptions.v >assumptions && grep -q '^Axioms:$' assumptions ||
        { echo "Coq does not say what is assumed"; exit 1; }
    ! grep -vE "^Axioms:$|^[[:space:]]|^($axioms)( |$)" assumptions ||
        { echo "that is assumed"; exit 1; }
    echo "${#stated[@]} theorems and lemmas hold, among them ${theorems[*]}"
)

# A copy of the proof that `perl` edits has to fail.
broken() {
    local what=$1 edit=$2 copy
    copy=$(mktemp -d -p "$scratch")
    perl -0777 -pe "$edit" proofs/gamma_equivalence.v >"$copy/gamma_equivalence.v"
    ! cmp -s proofs/gamma_equivalence.v "$copy/gamma_equivalence.v" ||
        { echo "there is no place for $what"; exit 1; }
    ! check "$copy" >"$copy/verdict" 2>&1 || { echo "passes with $what"; exit 1; }
    echo "fails with $what: $(grep . "$copy/verdict" | tail -n 1)"
}

mkdir "$scratch/proof"
cp proofs/gamma_equivalence.v "$scratch/proof"
check "$scratch/proof"

broken "a proof left out" 's/Theorem gamma_sgd.*?\KProof\..*?Qed\./Proof. Admitted./s'
broken "an axiom" 's/\z/\nAxiom gap : False.\n/'
broken "a hypothesis outside of a section" \
    's/\z/\nHypothesis gap : False.\nTheorem hollow : 0 = 1.\nProof. destruct gap. Qed.\n/'
broken "an axiom of the library that is not allowed" \
    's/\z/\nRequire Import Classical.\nLemma middle : forall P, P \\\/ ~ P.\nProof. exact classic. Qed.\n/'
broken "c = 1 for SGD" 's/Theorem gamma_sgd.*?\Kfolded 2/folded 1/s'
broken "epsilon kept in Adam" 's!Theorem gamma_adam .*?\K\(γ\^\(1/m\) \^\^ \(-1\) ⊙ ε\)!ε!s'
broken "a theorem lost" 's/Theorem gamma_lion/Theorem gamma_cat/'
