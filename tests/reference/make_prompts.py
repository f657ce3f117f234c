"""How the web UI reads a prompt: its weights, and what of it changes from step to step.

Pinned: diffusion-prompt-embedder 0.4.2 (MIT) reads weights as the web UI does. What changes is read below by the rules that the
web UI's documentation states.

    pip install diffusion-prompt-embedder==0.4.2
    python -B tests/reference/make_prompts.py

Writes `diffusion/prompts.json`, and `diffusion/chunks.json`: how many tokens the web UI puts into each chunk of a long prompt. When a
chunk is full and no comma comes next, what follows its last comma goes into the next chunk, if that is less than the limit of
its settings, 20 tokens unless changed. Every word there is one token.

In the first file `null` stands for a prompt in which the web UI finds no change since a sign of it belongs to nothing.
"""

import json
import random
import re
import sys
import types
from pathlib import Path

# The package imports torch and transformers, which parsing does not need.
for name in ("torch", "transformers"):
    module = types.ModuleType(name)
    module.__getattr__ = lambda attribute: type(attribute, (), {})
    sys.modules[name] = module

from diffusion_prompt_embedder.core.parser import parse_prompt_attention

OUT = Path(__file__).parent / "diffusion" / "prompts.json"

WORDS = re.compile(r"(?:[^\\\[\]():|]|\\.)+", re.DOTALL)
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\]")


def read(prompt, at):
    """Words and whole brackets from a place on, and where they end."""
    parts = []
    while at < len(prompt):
        words = WORDS.match(prompt, at)
        found = (words[0], words.end()) if words else bracket(prompt, at)
        if found is None:
            break
        parts.append(found[0])
        at = found[1]
    return parts, at


def bracket(prompt, at):
    """A bracket that is closed, and where it ends: emphasis, `("turns", texts)` or `("switch", before, after, number)`."""
    first, end = read(prompt, at + 1)
    sign = prompt[end : end + 1]
    if prompt[at] == "(" and sign == ")":
        return ["(", *first, ")"], end + 1
    if prompt[at] == "(" and sign == ":":
        second, end = read(prompt, end + 1)
        return (["(", *first, ":", *second, ")"], end + 1) if prompt[end : end + 1] == ")" else None
    if prompt[at] == "[" and sign == "]":
        return ["[", *first, "]"], end + 1
    if prompt[at] == "[" and sign == "|":
        texts = [first]
        while prompt[end : end + 1] == "|":
            text, end = read(prompt, end + 1)
            texts.append(text)
        return (("turns", texts), end + 1) if prompt[end : end + 1] == "]" else None
    if prompt[at] == "[" and sign == ":":
        if number := NUMBER.match(prompt, end + 1):
            return ("switch", [], first, number[1]), number.end()
        second, end = read(prompt, end + 1)
        if prompt[end : end + 1] == ":" and (number := NUMBER.match(prompt, end + 1)):
            return ("switch", first, second, number[1]), number.end()
    return None


def parts(prompt):
    """All of it; brackets and colons that belong to nothing are text, other signs are an error."""
    found, at = read(prompt, 0)
    while at < len(prompt):
        if prompt[at] in "|\\":
            raise ValueError(prompt[at])
        more, end = read(prompt, at + 1)
        found += [prompt[at], *more]
        at = end
    return found


def last(number, steps):
    """The last step before a change: a number with a point is a share of the steps."""
    return min(steps, int(float(number) * (steps if "." in number else 1)))


def ends(part, steps):
    """The steps after which a text changes."""
    match part:
        case str():
            return set()
        case ("switch", before, after, number):
            return {last(number, steps)} | ends(before, steps) | ends(after, steps)
        case ("turns", texts):
            return set(range(1, steps + 1)) | ends(texts, steps)
        case list():
            return set().union(*(ends(inner, steps) for inner in part))


def shown(part, step, steps):
    """The text at a step, of those that are counted from 1."""
    match part:
        case str():
            return part
        case ("switch", before, after, number):
            return shown(before if step <= last(number, steps) else after, step, steps)
        case ("turns", texts):
            return shown(texts[(step - 1) % len(texts)], step, steps)
        case list():
            return "".join(shown(inner, step, steps) for inner in part)


def stages(prompt, steps):
    try:
        text = parts(prompt)
    except ValueError:
        return None
    return [[step, shown(text, step, steps)] for step in sorted(ends(text, steps) | {steps}) if step >= 1]


BY_HAND = [
    "", " ", "a red lily", "(red:1.5) lily", "((red)) lily", "[red] lily", "[[red]] (lily)", r"a \(red\) lily", r"\\(red)",
    "(red", "red)", "(red:1.2:3)", "(red:1.2, lily:0.5)", "(red: 1.3 )", "(red:-1)", "(red:+.5)", "(red:5.)", "(red:0)",
    "(red:1e1)", "([red)]", "[(red])", "(a (b (c:2):0.5) d:1.5)", "red:1.4", "text:1.4)", "(:1.3)", "()", "[]", "(red:)",
    "(red lily:1.2) (blue:0.8), [x:1.3]", r"\o/ lily", r"red\ lily", "\\", r"a\\", r"(red\):1.3) lily", r"(\(red\):1.3)",
    "(red:1.3", "a[b]c(d)e", "(red)(lily)", "(red:1.1)(lily:1.1)", "Ünïcode (薔薇:1.3) 🌸", "(red\nlily:1.3)",
    "red   (  lily  :1.3)", "(red:inf)", "(red:nan)", "((red:1.2):1.2)", "(red:1.3)(:0.5)",
    "red BREAK blue", "red BREAK BREAK blue", "BREAK red BREAK", "a\nBREAK\n(b:1.2)", "BREAKfast in no_BREAK", r"\BREAK a: BREAK",
    # Of the documentation of the web UI.
    "[cow|horse] in a field",
    "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75][ in foreground::0.6][: in background:0.25]"
    " [shoddy:masterful:0.5]",
    # Numbers, nests, brackets that belong to nothing.
    "[a:b:0.5]", "[a:b:1.0]", "[a:b:1]", "[a:b:0]", "[a:b:0.0]", "[a:b:-1]", "[a:b:1e1]", "[a:b:5e-1]", "[a:b:+.25 ]", "[a:b:99]",
    "[a::4]", "[:a:4]", "[::4]", "[3:5]", "[a:3:5]", "[a:b:c:0.5]", "[a:b]", "[a:b:x]", "[a:0.5", "(a:b:0.5]", "[a|b:0.5]",
    "a | b [c:d:2]", "a|b", "(a|b)", "[a|[b:c:3]]", "[[a|b]:c:3]", "[a:[b|c]:3]", "([a:b:2]:1.3)", "[(a:1.2):(b:0.8):4]",
    "[(a]:b:3]", "[a:[b:3]", "[[a:b:2]", r"\[a:b:2\]", r"[a\:b:c:2]", "[a:b:2] \\", "[ : a : 2 ]", "[a\n:b:2]", "[a:b:2]]", "[]:3]",
    "the [lily:3]", "the [lily: 3]", "[[red] lily:2]", "[(red:2):3]", "a [red : wet : 1] lily", "a[b:[c:[d:3]:2]:1]", "a [lily",
    "a [lily:.5] b", "a [{|lily{:.5] b", "[red|(wet:1.1)]", "[red |]lily", "[|red||] lily",
]


def random_prompts(count):
    rng = random.Random(0)
    signs = ["[", "]", "(", ")", ":", "a", "b", " ", "2", "0.5", ":0.5]", ":3]", "[a:", "[c|", "[a|b]", "(a:b)"]
    return ["".join(rng.choices(signs, k=rng.randrange(3, 14))) for _ in range(count)]


def lengths(words, limit, room=75):
    """Tokens of each chunk; the words come one by one."""
    done, chunk = [], []
    for word in words:
        if word == "BREAK":
            done.append(len(chunk))
            chunk = []
            continue
        if len(chunk) == room and word != ",":
            tail = chunk[::-1].index(",") if "," in chunk else room
            if tail < limit:
                done.append(room - tail)
                chunk = chunk[room - tail :]
        if len(chunk) == room:
            done.append(room)
            chunk = []
        chunk.append(word)
    return done + [len(chunk)] if chunk or not done else done


def long_prompts(count):
    rng = random.Random(1)
    for _ in range(count):
        comma = rng.choice([0.02, 0.05, 0.1, 0.2, 0.5])
        words = [("," if rng.random() < comma else rng.choice(["a", "red"])) for _ in range(rng.randrange(70, 260))]
        if rng.random() < 0.3:
            words.insert(rng.randrange(1, len(words)), "BREAK")
        # The tokenizer takes commas without a space between them for another token.
        yield words, rng.choice([20, 20, 20, 0, 1, 5, 74])


if __name__ == "__main__":
    cases = [
        dict(prompt=" ".join(words), backtrack=limit, lengths=lengths(words, limit))
        for words, limit in long_prompts(60)
    ]
    (OUT.parent / "chunks.json").write_text("[\n%s\n]\n" % ",\n".join(json.dumps(case) for case in cases))
    cases = []
    for prompt in BY_HAND + random_prompts(150):
        try:
            weights = parse_prompt_attention(prompt)
        except ValueError:
            weights = None
        cases.append(dict(prompt=prompt, weights=weights, stages=stages(prompt, 10)))
    lines = ",\n".join(json.dumps(case) for case in cases)
    OUT.write_text(f"[\n{lines}\n]\n")
