"""What hypothesis draws from: words that people type, command lines of every verb, and files gone wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

NAMES = (
    "good.yaml", "broken.yaml", "unknown.yaml", "octets.yaml", "folder.yaml", "loop.yaml", "none.yaml", "sweep.yaml",
    "twice.yaml", "nothing.py", "cannot.py", "octets", "nothing", "empty", "none", "results", "half", "gone", "other",
    "later", "reference", "results/runs", "cut.pcap", "keys", "store", "store/policy.db", "r1.pub", "wrong.toml",
    "broken.toml", "results/summary.json", "x/y/z", ".", "..", "../x", "x", "-", "new", "out.svg", "cut.json",
)  # fmt: skip
"""Paths, all of them below the desk or a little above it."""
WORDS = (
    "", " ", "-", "--", "-x", "--nosuch", "0", "1", "-1", "2", "3.5", "1e999", "nan", "99999999999999999999", "x",
    "a b", "ü", "名", "\U0001f511", "\udcff", "\x1b[31m", "a\nb", "'", '"', "%s", "{}", "[", "[bold]", "null", "true",
    "a" * 255, "1,2", ",", "=", "a=b", "nodes=r1", "segment=r1--r2", "loss_percent=500", "power_off", "link_netem",
    "r1", "r2", "r9", "r1:eth0", "r2:eth0", "r1--r2", "r1-eth0", "ring:4", "ring:0", "grid:2x2", "grid:99x99",
    "line:x", "abilene", "link_cut", "storm_at_scale", "none", "lks", "none,lks", "virtual", "uml", "native", "clear",
    "required", "ospf", "10.0.0.1", "10.9.0.1/30", "fe80::1", "::1", "127.0.0.1", "read", "home", "sizes=6", "mode=x",
    "captures=all", 'policy={"nope":1}', "boot_jitter_s=abc", "transform=rot13", "tcp://127.0.0.1:1", "ike", "dos",
    "topology_file", "0,1", "1,2,4", "alice", "first", "ikev2_message", "1970-01-01", "/dev/null",
)  # fmt: skip
word = st.one_of(
    st.sampled_from(WORDS), st.sampled_from(NAMES),
    st.text(st.characters(exclude_characters="\x00/", codec="utf-8"), max_size=12),
)  # fmt: skip


def lines_of(every: dict[tuple[str, ...], Any]) -> st.SearchStrategy[list[str]]:
    """Command lines: of a command some of its own options, values that fit and values that do not, words too many."""

    @st.composite
    def line(draw: st.DrawFn) -> list[str]:
        path = draw(st.sampled_from(sorted(every)))
        words = list(path)
        if path[0] == "policy" and draw(st.integers(0, 3)):
            words[1:1] = ["--store", draw(st.sampled_from(("store", "store", "empty", "none", "octets")))]
        params = getattr(every[path], "params", ())
        for each in params:
            if each.param_type_name == "argument":
                for _ in range(draw(st.sampled_from((1, 1, 1, 1, 0, 2)))):
                    words.append(draw(word))
            elif each.opts and draw(st.integers(0, 2 if each.required else 4)) == (0 if not each.required else 1):
                words.append(draw(st.sampled_from(each.opts)))
                if not each.is_flag:
                    words.append(draw(word))
        if path[0] in ("dks", "lks"):
            options = ("--config", "--socket", "--ike-log", "--export", "--json")
            for option in draw(st.lists(st.sampled_from(options), max_size=3)):
                words += [option] if option == "--json" else [option, draw(word)]
        words += draw(st.lists(word, max_size=1))
        return [each.replace("\x00", "") for each in words]

    return line()


# -- files gone wrong


def octets(whole: bytes) -> st.SearchStrategy[bytes]:
    """A file cut, with a part of it replaced, doubled or thrown away."""

    def bent(place: float, length: int, new: bytes, how: str) -> bytes:
        at = int(place * len(whole))
        match how:
            case "cut":
                return whole[:at]
            case "replace":
                return whole[:at] + new + whole[at + len(new) :]
            case "insert":
                return whole[:at] + new + whole[at:]
            case "double":
                return whole[:at] + whole[max(0, at - length) : at] * 2 + whole[at:]
            case _:
                return whole[:at] + whole[at + length :]

    some = st.one_of(
        st.binary(min_size=1, max_size=8), st.sampled_from((b"\n", b"\x00", b"}", b'"', b":", b"-", b"9" * 30))
    )
    how = st.sampled_from(("cut", "replace", "insert", "double", "remove"))
    return st.builds(bent, st.floats(0, 1), st.integers(1, 60), some, how)


ODD = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**63,
    1e300,
    "",
    "x",
    "../x",
    "a" * 300,
    [],
    {},
    [[]],
    [1, "a"],
    {"a": 1},
    "ring:4",
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a JSON value."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in parts:
        yield from leaves(each, (*path, key))


def document(whole: str) -> st.SearchStrategy[bytes]:
    """A JSON document with a part that is something else, is gone, or has a strange neighbour."""
    places = list(leaves(json.loads(whole)))

    def bent(path: tuple[Any, ...], odd: Any, how: str) -> bytes:
        told = {"whole": json.loads(whole)}
        holder: Any = told
        path = ("whole", *path)
        for key in path[:-1]:
            holder = holder[key]
        if how == "gone" and len(path) > 1:
            del holder[path[-1]]
        elif how == "more" and isinstance(holder, dict):
            holder["no_such"] = odd
        else:
            holder[path[-1]] = odd
        return json.dumps(told["whole"], indent=1).encode()

    return st.builds(
        bent, st.sampled_from(places), st.sampled_from(ODD), st.sampled_from(("odd", "odd", "gone", "more"))
    )


TOPOLOGY = """name: mine
defaults: {delay: 2ms}
routers:
  r1: {loopback: 10.255.0.1}
  r2: {}
  r3: {}
  r4: {}
links:
  - r1-r2
  - {between: [r2, r3], cost: 10, delay: 5ms, loss: 1%}
lans:
  lan1: {routers: [r1, r3, r4], priority: {r1: 5}}
hosts:
  h1: {on: r1}
ospf: {hello: 1s, dead: 4s, versions: [2]}
dks: {attach: r1}
"""
SWEEP = """experiment: link_cut
factors:
  topology: [ring:4, grid:2x2]
  keying: [none, lks]
  boot_jitter_s: [0.5, 1]
seeds: 2
kernel: virtual
options: {captures: all}
"""
EXPERIMENT = """from testbed.runner.experiment import Adjacencies, Criterion, Experiment, Measures, step


class Mine(Experiment):
    name = "mine"
    title = "t"
    question = "q"
    method = "m"
    topology = "line:3"
    keyings = ("none", "lks")
    seeds = 1
    duration_s = 60.0
    options = {"boot_jitter_s": 1.0}

    def timeline(self, topology, rng):
        return [step(5, "mark", name="a"), step(10, "link_carrier_down", segment="r1--r2")]

    def flows(self, topology):
        return []

    def measure(self, run):
        return Measures(1.0, Adjacencies(1, 1))
"""
TOML = 'name = "r1"\nstate_dir = "state"\nsocket = "none"\nworkers = 2\nport = 848\ntimings = true\n'


def lines(text: str) -> st.SearchStrategy[bytes]:
    """A file of lines with one of them gone, doubled, indented otherwise, or of another value; or bent as octets."""
    rows = text.splitlines(keepends=True)

    def bent(number: int, value: str, how: str) -> bytes:
        changed = list(rows)
        head, mark, _old = changed[number].rstrip("\n").partition("=" if "=" in changed[number] else ":")
        match how:
            case "gone":
                del changed[number]
            case "double":
                changed.insert(number, changed[number])
            case "indent":
                changed[number] = "  " + changed[number]
            case _:
                changed[number] = f"{head}{mark} {value}\n"
        return "".join(changed).encode("utf-8", "surrogateescape")

    values = st.one_of(
        word, st.sampled_from(("[1]", "{a: 1}", "-1", "1e999", "&a [*a]", "!!python/object:os.system x", "1 / 0"))
    )
    line = st.builds(
        bent, st.integers(0, len(rows) - 1), values, st.sampled_from(("value", "value", "gone", "double", "indent"))
    )
    return st.one_of(line, line, octets(text.encode()))
