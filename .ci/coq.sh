# The proofs in Coq: they compile, none has a gap, they rest on no axioms but those of the standard
# library's real numbers and extensionality, and each optimizer and each algorithm of the toolkit has
# its theorem. Then the same check of broken copies fails, each where it is broken.
set -euo pipefail
. .ci/skip

proofs=proofs/gamma_equivalence
optimizers=crates/higanbana-train/src/optimizers
algorithms=crates/higanbana-adapters/src/registry.rs

general=(
    gamma_equivalence gamma_blocks gamma_shared gamma_degree_zero gamma_descent gamma_descent_while
    gamma_proximal gamma_clipping_max_norm gamma_lora_adamw lamb_degree_at_zero one_norm_only_if
    blocks_fold_only_if shared_alike_only_if degree_zero_folds_nothing direction_folds_nothing
    tlora_alpha_folds_nothing cayley_folds_nothing
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
command -v coqc >/dev/null || skip "there is no Coq (coqc), and none could be installed"

scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

# The names of the optimizers in the list of a directory, as they stand on the command line.
optimizers_of() {
    perl -0777 -e '
        my ($from) = @ARGV;
        sub text { open my $file, "<", "$from/$_[0].rs" or die "$from/$_[0].rs: $!\n"; <$file> }
        my ($list) = text("mod") =~ /fn optimizers\(\).*?\{(.*?)\n\}/s or die "no list of optimizers\n";
        while ($list =~ /(\w+)::(\w+),/g) {
            text($1) =~ /const $2: Rule = Rule \{\s*name: "(\w+)"/ or die "$1.rs has no name of $2\n";
            print "$1\n";
        }' "$1"
}
# The modules of the algorithms that are registered.
algorithms_of() {
    perl -0777 -ne 'print "$1\n" while /use crate::algorithms::\{(.*?)\}/s && $1 =~ /(\w+)::/g' "$1"
}

# Innermost first, as comments nest.
without_comments() {
    perl -0777 -pe '1 while s/\(\*(?:(?!\(\*|\*\)).)*\*\)//gs' "$1"
}

# Compiles what has changed, and what stands below it.
compile() {
    local file said changed=
    for file in $(coqdep -Q . Gamma -sort ./*.v); do
        [ -n "$changed" ] || [ ! -e "${file}o" ] || [ "$file" -nt "${file}o" ] || continue
        changed=yes
        if ! said=$(coqc -q -Q . Gamma "$file" 2>&1); then
            echo "$said"
            echo "Coq refuses $(place "$file" "$said")"
            return 1
        fi
    done
}
# The lemma that the first error is in.
place() {
    local line
    line=$(grep -oP '", line \K\d+' <<<"$2" | head -n 1)
    head -n "${line:-1}" "$1" | grep -oP '^\s*(Theorem|Lemma) \K\w+' | tail -n 1 || echo "$1"
}

# Checks the proofs in a directory against the optimizers in another; says what is wrong with them.
check() (
    cd "$1"
    without_comments <(cat ./*.v) >code
    ! grep -nwE "$gaps" code || { echo "that is a gap"; exit 1; }
    compile || exit 1

    mapfile -t stated < <(grep -oP '^\s*(Theorem|Lemma) \K\w+' code)
    names=$(optimizers_of "$2") || exit 1
    modules=$(algorithms_of "$3") || exit 1
    mapfile -t wanted < <(printf '%s\n' "${general[@]}"; sed 's/^/gamma_/' <<<"$names"
        sed 's/$/_degrees/' <<<"$modules")
    for name in "${wanted[@]}"; do
        [[ " ${stated[*]} " == *" $name "* ]] || { echo "there is no theorem $name"; exit 1; }
    done
    # That of an optimizer is about two trainings, with the rule of that name.
    for name in $names; do
        rule=${name/#adamw/adam}
        perl -0777 -ne "exit !(/Theorem gamma_$name\b(.*?)\n\s*Proof\b/s
            && \$1 =~ /\boriginal.*\b$rule\b.*\bfolded.*\b$rule\b/s)" code ||
            { echo "gamma_$name is not about $rule"; exit 1; }
    done

    # What all of them assume together. A name starts a line, its type may go on below.
    {
        echo "From Gamma Require $(basename -s .v -a ./*.v | xargs). Definition all := (tt"
        for file in ./*.v; do
            without_comments "$file" | grep -oP '^\s*(Theorem|Lemma) \K\w+' |
                sed "s/^/, @Gamma.$(basename -s .v "$file")./"
        done
        echo '). Print Assumptions all.'
    } >all
    mv all all.v
    coqc -q -Q . Gamma all.v >assumed && grep -q '^Axioms:$' assumed ||
        { echo "Coq does not say what is assumed"; exit 1; }
    rm all.*
    ! grep -vE "^Axioms:$|^[[:space:]]|^($axioms)( |$)" assumed || { echo "that is assumed"; exit 1; }
    echo "${#stated[@]} theorems and lemmas hold, among them ${wanted[*]}"
)

# A copy of the proofs in which `perl` edits a file has to fail, and to say why.
broken() {
    local what=$1 file=$2 edit=$3 because=$4 copy
    copy=$(mktemp -d -p "$scratch")
    cp -a "$scratch/proofs" "$scratch/optimizers" "$copy"
    perl -0777 -i -pe "$edit" "$copy/$file"
    ! cmp -s "$scratch/$file" "$copy/$file" || { echo "there is no place for $what"; exit 1; }
    ! check "$copy/proofs" "$copy/optimizers" "$scratch/registry.rs" >"$copy/verdict" 2>&1 ||
        { echo "passes with $what"; exit 1; }
    grep -qF "$because" "$copy/verdict" || { cat "$copy/verdict"; echo "that is not for $what"; exit 1; }
    echo "fails with $what: $because"
    rm -r "$copy"
}
# One in which a theorem or lemma says something else: Coq refuses its proof.
false_claim() {
    local what=$1 file=$2 name=$3 from=$4 to=$5
    broken "$what" "proofs/$file.v" \
        "s/(Theorem|Lemma) $name :(?:(?!Proof\\.).)*?\\K\\Q$from\\E/$to/s" "Coq refuses $name"
}

mkdir "$scratch/proofs"
cp "$proofs"/*.v "$scratch/proofs"
cp -r "$optimizers" "$scratch/optimizers"
cp "$algorithms" "$scratch/registry.rs"
check "$scratch/proofs" "$scratch/optimizers" "$scratch/registry.rs"

instances=proofs/instances.v
broken "a proof left out" $instances 's/Theorem gamma_sgd.*?\KProof\..*?Qed\./Proof. Admitted./s' \
    "that is a gap"
broken "an axiom" $instances 's/\z/\nAxiom gap : False.\n/' "that is a gap"
broken "a hypothesis outside of a section" $instances \
    's/\z/\nHypothesis gap : False.\nTheorem hollow : 0 = 1.\nProof. destruct gap. Qed.\n/' \
    "that is assumed"
broken "an axiom of the library that is not allowed" $instances \
    's/\z/\nRequire Import Classical.\nLemma middle : forall P, P \\\/ ~ P.\nProof. exact classic. Qed.\n/' \
    "that is assumed"
broken "a theorem lost" $instances 's/Theorem gamma_lion/Theorem gamma_cat/' \
    "there is no theorem gamma_lion"
broken "an optimizer that is new" optimizers/lion.rs 's/name: "lion"/name: "tiger"/' \
    "there is no theorem gamma_tiger"
broken "an optimizer without a name" optimizers/mod.rs 's/lion::LION/lion::TIGER/' \
    "lion.rs has no name of TIGER"
broken "a theorem about something else" $instances \
    's/Theorem gamma_muon.*?Qed\./Theorem gamma_muon : 0 = 0.\n  Proof. reflexivity. Qed./s' \
    "gamma_muon is not about muon"
broken "an algorithm's degrees lost" proofs/adapters.v 's/Lemma glora_degrees/Lemma gpl_degrees/' \
    "there is no theorem glora_degrees"

for name in $(optimizers_of "$optimizers"); do
    broken "another c for $name" $instances \
        "s/Theorem gamma_$name\\b.*?\\bfolded(?:_proximal same T loss a)? \\K(\\d)/\$1 + 1/se" \
        "Coq refuses gamma_$name"
done
false_claim "the degree in the parameters left out of c" theorem gamma_descent "(k + 1 - j)" "(k + 1)"
false_claim "coupled decay as decoupled" rules penalised_rescaled "(a ^^ (-2)" "(a ^^ (-1)"
false_claim "epsilon kept in Adam" instances gamma_adam "(a ^^ (-1) ⊙ ε)" "ε"
false_claim "epsilon kept in NAdam" instances gamma_nadam "(a ^^ (-1) ⊙ ε)" "ε"
false_claim "epsilon kept under a norm" instances gamma_normalized_sgd "(a ^^ (-1) ⊙ ε)" "ε"
false_claim "epsilon of a square in AMSGrad" instances gamma_amsgrad "(a ^^ (-1)" "(a ^^ (-2)"
false_claim "epsilon kept in RMSprop" instances gamma_rmsprop "(a ^^ (-1) ⊙ ε)" "ε"
false_claim "an accumulator kept" instances gamma_adagrad "(a ^^ (-2) ⊙ acc)" "acc"
false_claim "Muon's floor kept" instances gamma_muon "(a ^^ (-1) ⊙ floor)" "floor"
false_claim "tensors of several factors in Muon" instances gamma_muon "uniform tensor a" "positive a"
false_claim "Shampoo's ridge kept" instances gamma_shampoo "(a ^^ (-2) ⊙ ridge)" "ridge"
false_claim "one epsilon for Adadelta" instances gamma_adadelta "(a ^^ 2 ⊙ ε_δ)" "(a ^^ (-2) ⊙ ε_δ)"
false_claim "Adafactor's floor kept" instances gamma_adafactor "(a ⊙ ε2)" "ε2"
false_claim "LAMB from zero as from elsewhere" tensors lamb_degree_at_zero "homogeneous_at 0 0" \
    "homogeneous_at 0 1"
false_claim "Prodigy's estimate kept" instances gamma_prodigy "(a ⊙ d0)" "d0"
false_claim "Prodigy with several factors" instances gamma_prodigy "uniform group a" "positive a"
false_claim "one norm over several factors" rules norm_measures "uniform part s" "positive s"
false_claim "shared layers of two ratios" folding shared_alike_only_if "d k b = d k' b" "d k b = d k b"
false_claim "a ratio of tensors of degree 0" folding degree_zero_folds "(fun _ => 1)" "(fun _ => 2)"
