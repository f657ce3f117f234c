"""How the web UI reads a prompt: its weights, and what of it changes from step to step.

Pinned: diffusion-prompt-embedder 0.4.2 (MIT) reads weights as the web UI does; lark 1.3.1 (MIT) finds the changes by the
grammar below, which says what the web UI's documentation says.

    pip install diffusion-prompt-embedder==0.4.2 lark==1.3.1
    python -B tests/reference/make_prompts.py

Writes `diffusion/prompts.json`. `null` stands for a prompt in which the web UI finds no change since a sign of it belongs to
nothing.
"""

import json
import random
import sys
import types
from pathlib import Path

# The package imports torch and transformers, which parsing does not need.
for name in ("torch", "transformers"):
    module = types.ModuleType(name)
    module.__getattr__ = lambda attribute: type(attribute, (), {})
    sys.modules[name] = module

import lark
from diffusion_prompt_embedder.core.parser import parse_prompt_attention

OUT = Path(__file__).parent / "diffusion" / "prompts.json"

GRAMMAR = lark.Lark(
    r"""
    !start: (text | /[\[\]():]/)*
    text: (round | square | switch | turns | WORD | SPACE)*
    !round: "(" text ")" | "(" text ":" text ")"
    !square: "[" text "]"
    switch: "[" [text ":"] text ":" [SPACE] NUMBER [SPACE] "]"
    turns: "[" text ("|" text)+ "]"
    SPACE: /\s+/
    WORD: /(?:[^\\\[\]():|]|\\.)+/
    %import common.SIGNED_NUMBER -> NUMBER
    """
)


def last(number, steps):
    """The last step before a change: a number with a point is a share of the steps."""
    return min(steps, int(float(number) * (steps if "." in number else 1)))


def ends(tree, steps):
    """The steps after which a text changes."""
    found = {steps}
    for part in tree.iter_subtrees():
        if part.data == "switch":
            found.add(last(part.children[3], steps))
        elif part.data == "turns":
            found.update(range(1, steps + 1))
    return sorted(step for step in found if step >= 1)


def shown(part, step, steps):
    """The text at a step, of those that are counted from 1."""
    if not isinstance(part, lark.Tree):
        return str(part or "")
    children = part.children
    if part.data == "switch":
        children = [children[0] if step <= last(children[3], steps) else children[1]]
    elif part.data == "turns":
        children = [children[(step - 1) % len(children)]]
    return "".join(shown(child, step, steps) for child in children)


def stages(prompt, steps):
    try:
        tree = GRAMMAR.parse(prompt)
    except lark.exceptions.LarkError:
        return None
    return [[step, shown(tree, step, steps)] for step in ends(tree, steps)]


BY_HAND = [
    "", " ", "a red lily", "(red:1.5) lily", "((red)) lily", "[red] lily", "[[red]] (lily)", r"a \(red\) lily", r"\\(red)",
    "(red", "red)", "(red:1.2:3)", "(red:1.2, lily:0.5)", "(red: 1.3 )", "(red:-1)", "(red:+.5)", "(red:5.)", "(red:0)",
    "(red:1e1)", "([red)]", "[(red])", "(a (b (c:2):0.5) d:1.5)", "red:1.4", "text:1.4)", "(:1.3)", "()", "[]", "(red:)",
    "(red lily:1.2) (blue:0.8), [x:1.3]", r"\o/ lily", r"red\ lily", "\\", r"a\\", r"(red\):1.3) lily", r"(\(red\):1.3)",
    "(red:1.3", "a[b]c(d)e", "(red)(lily)", "(red:1.1)(lily:1.1)", "Ünïcode (薔薇:1.3) 🌸", "(red\nlily:1.3)",
    "red   (  lily  :1.3)", "(red:inf)", "(red:nan)", "((red:1.2):1.2)", "(red:1.3)(:0.5)",
    "red BREAK blue", "red BREAK BREAK blue", "BREAK red BREAK", "a\nBREAK\n(b:1.2)", "BREAKfast in no_BREAK", r"\BREAK a: BREAK",
    # Of the documentation of the web UI.
    "a [b:3]", "a [b: 3]", "a [[[b]]:2]", "[(a:2):3]", "a [b : c : 1] d", "a[b:[c:d:2]:1]e", "a [unbalanced", "a [b:.5] c",
    "a [{b|d{:.5] c", "((a][:b:c [d:3]", "[a|(b:1.1)]", "[fe|]male", "[fe|||]male", "[cow|horse] in a field",
    "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75][ in foreground::0.6][: in background:0.25]"
    " [shoddy:masterful:0.5]",
    # Numbers, nests, brackets that belong to nothing.
    "[a:b:0.5]", "[a:b:1.0]", "[a:b:1]", "[a:b:0]", "[a:b:0.0]", "[a:b:-1]", "[a:b:1e1]", "[a:b:5e-1]", "[a:b:+.25 ]", "[a:b:99]",
    "[a::4]", "[:a:4]", "[::4]", "[3:5]", "[a:3:5]", "[a:b:c:0.5]", "[a:b]", "[a:b:x]", "[a:0.5", "(a:b:0.5]", "[a|b:0.5]",
    "a | b [c:d:2]", "a|b", "(a|b)", "[a|[b:c:3]]", "[[a|b]:c:3]", "[a:[b|c]:3]", "([a:b:2]:1.3)", "[(a:1.2):(b:0.8):4]",
    "[(a]:b:3]", "[a:[b:3]", "[[a:b:2]", r"\[a:b:2\]", r"[a\:b:c:2]", "[a:b:2] \\", "[ : a : 2 ]", "[a\n:b:2]", "[a:b:2]]", "[]:3]",
]


def random_prompts(count):
    rng = random.Random(0)
    signs = ["[", "]", "(", ")", ":", "a", "b", " ", "2", "0.5", ":0.5]", ":3]", "[a:", "[c|", "[a|b]", "(a:b)"]
    return ["".join(rng.choices(signs, k=rng.randrange(3, 14))) for _ in range(count)]


if __name__ == "__main__":
    cases = []
    for prompt in BY_HAND + random_prompts(150):
        try:
            weights = parse_prompt_attention(prompt)
        except ValueError:
            weights = None
        cases.append(dict(prompt=prompt, weights=weights, stages=stages(prompt, 10)))
    lines = ",\n".join(json.dumps(case) for case in cases)
    OUT.write_text(f"[\n{lines}\n]\n")
