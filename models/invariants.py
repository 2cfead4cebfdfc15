"""Generations, floors and versions without bounds: inductive invariants for any number of crashes, messages, receivers,
keys and makers, checked by an SMT solver.

A `System` is its variables, how it begins, what it may do, and what always holds. Its invariant holds at the beginning
and is kept by every step, so it holds in every run, however long; the solver looks for a state and a step that break
it. Without a defence it looks for a run from the beginning instead, which is given step by step and can be played on
the real code (tests/unit/models/test_invariants.py). Knows nothing of the agents' code; docs/models.md maps it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.spin import CannotCheck

try:
    import z3
except ImportError as error:
    raise CannotCheck("z3-solver is not installed; the next step is: ./lab setup --with models") from error

_MOST_STEPS = 200_000_000
"""z3's count of its own work for one question: load does not change it. The hardest takes a thirtieth."""
Formula = Any
"""A Boolean term of z3, which has no types of its own for them."""


class State:
    """The variables of one moment: constants and functions with the moment's number in their names."""

    def __init__(self, variables: Mapping[str, Sequence[z3.SortRef]], moment: int) -> None:
        self._variables, self._moment = variables, moment
        for name, sorts in variables.items():
            named = f"{name}@{moment}"
            setattr(self, name, z3.Const(named, sorts[0]) if len(sorts) == 1 else z3.Function(named, *sorts))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def same(self, before: State, *changed: str) -> Formula:
        """All but these are as they were before."""
        kept = []
        for name, sorts in self._variables.items():
            if name in changed:
                continue
            if len(sorts) == 1:
                kept.append(getattr(self, name) == getattr(before, name))
            else:
                key = [z3.Const(f"{name}.{number}", sort) for number, sort in enumerate(sorts[:-1])]
                kept.append(z3.ForAll(key, getattr(self, name)(*key) == getattr(before, name)(*key)))
        return z3.And(*kept)

    def put(self, before: State, name: str, key: Sequence[Any], value: Any) -> Formula:
        """This function has the value at that place, and what it had elsewhere."""
        sorts = self._variables[name][:-1]
        at = [z3.Const(f"{name}.{number}", sort) for number, sort in enumerate(sorts)]
        here = z3.And(*(one == other for one, other in zip(at, key, strict=True)))
        now, was = getattr(self, name), getattr(before, name)
        return z3.ForAll(at, now(*at) == z3.If(here, value, was(*at)))


Act = Callable[[State, State, Mapping[str, Any], Callable[[str], bool]], Formula]


@dataclass(frozen=True)
class Step:
    """What may happen: `act` says how the state before and after and the step's own choices go together."""

    name: str
    choices: Mapping[str, z3.SortRef]
    act: Act


@dataclass(frozen=True)
class System:
    """`claims`: what must always hold; `invariant`: what makes that so, by name; `defences`: by name, with the claim
    that fails without it, and within how many steps a run shows that."""

    name: str
    variables: Mapping[str, Sequence[z3.SortRef]]
    begin: Callable[[State], Formula]
    steps: Sequence[Step]
    claims: Mapping[str, Callable[[State], Formula]]
    invariant: Mapping[str, Callable[[State], Formula]]
    defences: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """A step of a run, with what was chosen: whole numbers, and the names of routers, keys and processes."""

    name: str
    choices: Mapping[str, int | str]


def broken(system: System) -> list[str]:
    """Where the invariant does not begin, is not kept, or does not give a claim: none when all claims always hold.
    CannotCheck when the solver does not know."""
    before, after = State(system.variables, 0), State(system.variables, 1)
    names = []
    whole = z3.And(*(each(before) for each in system.invariant.values()))
    for name, part in system.invariant.items():
        if _possible(system.begin(before), z3.Not(part(before))):
            names.append(f"{name} at the beginning")
    for step in system.steps:
        choices = _choices(step, 0)
        does = step.act(before, after, choices, lambda _defence: True)
        if not _possible(whole, does):
            names.append(f"{step.name} can never happen")
        names += [
            f"{name} after {step.name}"
            for name, part in system.invariant.items()
            if _possible(whole, does, z3.Not(part(after)))
        ]
    names += [
        f"{name} does not follow" for name, claim in system.claims.items() if _possible(whole, z3.Not(claim(before)))
    ]
    return names


def run_without(system: System, claim: str, without: Collection[str], steps: int) -> list[Taken] | None:
    """The shortest run of at most so many steps after which the claim does not hold; None when there is none.
    CannotCheck when the solver does not know."""
    for length in range(1, steps + 1):
        states = [State(system.variables, moment) for moment in range(length + 1)]
        solver = _solver()
        solver.add(system.begin(states[0]), z3.Not(system.claims[claim](states[-1])))
        which = [z3.Int(f"step@{moment}") for moment in range(length)]
        chosen = [[_choices(step, moment) for step in system.steps] for moment in range(length)]
        for moment in range(length):
            for number, step in enumerate(system.steps):
                act = step.act(states[moment], states[moment + 1], chosen[moment][number], lambda d: d not in without)
                solver.add(z3.Implies(which[moment] == number, act))
            solver.add(which[moment] >= 0, which[moment] < len(system.steps))
        answer = solver.check()
        if answer == z3.unknown:
            raise CannotCheck(f"{system.name}, {claim}: the solver does not know: {solver.reason_unknown()}")
        if answer == z3.sat:
            model = solver.model()
            numbers = [model.eval(each).as_long() for each in which]
            return [
                _taken(system.steps[number], choices[number], model)
                for number, choices in zip(numbers, chosen, strict=True)
            ]
    return None


def _taken(step: Step, choices: Mapping[str, Any], model: z3.ModelRef) -> Taken:
    values: dict[str, int | str] = {}
    for name, constant in choices.items():
        value = model.eval(constant, model_completion=True)
        values[name] = value.as_long() if z3.is_int_value(value) else str(value)
    return Taken(step.name, values)


def _choices(step: Step, moment: int) -> dict[str, Any]:
    return {name: z3.Const(f"{step.name}.{name}@{moment}", sort) for name, sort in step.choices.items()}


def _possible(*formulas: Formula) -> bool:
    solver = _solver()
    solver.add(*formulas)
    answer = solver.check()
    if answer == z3.unknown:
        raise CannotCheck(f"the solver does not know: {solver.reason_unknown()}")
    return bool(answer == z3.sat)


def _solver() -> z3.Solver:
    solver = z3.Solver()
    solver.set("rlimit", _MOST_STEPS)
    return solver


# -- generations of one group --------------------------------------------------------------------------

_INT, _BOOL = z3.IntSort(), z3.BoolSort()
_PROCESS, _ROUTER, _KEY = (z3.DeclareSort(name) for name in ("Process", "Router", "Key"))
_g, _p, _q = z3.Int("g"), z3.Const("p", _PROCESS), z3.Const("q", _PROCESS)


def _odd(number: Any) -> Formula:
    return number % 2 == 1


def _make(s: State, t: State, number: Any) -> list[Formula]:
    """A key for this number goes out."""
    return [t.twice == z3.Or(s.twice, s.used(number)), t.put(s, "used", [number], True)]


def _boot(s: State, t: State, _c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    return z3.And(z3.Not(s.on), t.on, t.cur == s.mark, t.pick == 0, t.same(s, "on", "cur", "pick"))


def _choose(s: State, t: State, c: Mapping[str, Any], on: Callable[[str], bool]) -> Formula:
    parity = _odd(c["g"]) if on("PARITY") else True
    return z3.And(
        s.on,
        s.pick == 0,
        c["g"] > s.cur,
        c["g"] > 0,
        parity,
        t.pick == c["g"],
        t.cur == c["g"],
        t.same(s, "pick", "cur"),
    )


def _reserve(s: State, t: State, c: Mapping[str, Any], on: Callable[[str], bool]) -> Formula:
    if not on("RESERVE"):
        return z3.And(s.on, s.pick != 0, t.same(s))
    return z3.And(s.on, s.pick > s.mark, c["mark"] >= s.pick, t.mark == c["mark"], t.same(s, "mark"))


def _use(s: State, t: State, _c: Mapping[str, Any], on: Callable[[str], bool]) -> Formula:
    kept = s.mark >= s.pick if on("DISK_FIRST") and on("RESERVE") else True
    return z3.And(s.on, s.pick != 0, kept, *_make(s, t, s.pick), t.pick == 0, t.same(s, "twice", "used", "pick"))


def _crash(s: State, t: State, _c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    return z3.And(s.on, z3.Not(t.on), t.pick == 0, t.same(s, "on", "pick"))


def _look(s: State, t: State, c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    return z3.And(s.ready(c["p"]) == 0, t.put(s, "seen", [c["p"]], s.ledger), t.same(s, "seen"))


def _ledger(s: State, t: State, c: Mapping[str, Any], on: Callable[[str], bool]) -> Formula:
    """The ledger is written, and then the number is ready to be given a key; in one transaction with the look."""
    p, g = c["p"], c["g"]
    fresh = s.seen(p) == s.ledger if on("TRANSACTION") else True
    parity = z3.Not(_odd(g)) if on("PARITY") else True
    written = t.ledger == z3.If(g > s.ledger, g, s.ledger) if on("LEDGER_FIRST") else t.ledger == s.ledger
    free = z3.And(s.ready(p) == 0, g > s.seen(p), g > 0, s.seen(p) >= 0)
    return z3.And(free, fresh, parity, written, t.put(s, "ready", [p], g), t.same(s, "ledger", "ready"))


def _issue(s: State, t: State, c: Mapping[str, Any], on: Callable[[str], bool]) -> Formula:
    p = c["p"]
    late = t.ledger == s.ledger if on("LEDGER_FIRST") else t.ledger == z3.If(c["kept"], s.ready(p), s.ledger)
    return z3.And(
        s.ready(p) != 0,
        late,
        *_make(s, t, s.ready(p)),
        t.put(s, "ready", [p], 0),
        t.same(s, "twice", "used", "ready", "ledger"),
    )


def _stop(s: State, t: State, c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    return z3.And(t.put(s, "ready", [c["p"]], 0), t.put(s, "seen", [c["p"]], -1), t.same(s, "ready", "seen"))


def _given(s: State, t: State, c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    """The LKS is given a number of the DKS to go on with."""
    higher = z3.If(c["g"] > s.cur, c["g"], s.cur)
    mark = z3.If(c["g"] > s.mark, c["g"], s.mark)
    return z3.And(s.on, s.pick == 0, t.cur == higher, t.mark == mark, t.same(s, "cur", "mark"))


def _reported(s: State, t: State, c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    return z3.And(c["g"] > s.ledger, t.ledger == c["g"], t.same(s, "ledger"))


GENERATIONS = System(
    "generations",
    {
        "on": (_BOOL,),
        "mark": (_INT,),
        "cur": (_INT,),
        "pick": (_INT,),
        "ledger": (_INT,),
        "twice": (_BOOL,),
        "used": (_INT, _BOOL),
        "seen": (_PROCESS, _INT),
        "ready": (_PROCESS, _INT),
    },
    lambda s: z3.And(
        z3.Not(s.on),
        s.mark == 0,
        s.cur == 0,
        s.pick == 0,
        s.ledger == 0,
        z3.Not(s.twice),
        z3.ForAll([_g], z3.Not(s.used(_g))),
        z3.ForAll([_p], z3.And(s.seen(_p) == -1, s.ready(_p) == 0)),
    ),
    (
        Step("boot", {}, _boot),
        Step("choose", {"g": _INT}, _choose),
        Step("reserve", {"mark": _INT}, _reserve),
        Step("use", {}, _use),
        Step("crash", {}, _crash),
        Step("look", {"p": _PROCESS}, _look),
        Step("ledger", {"p": _PROCESS, "g": _INT}, _ledger),
        Step("issue", {"p": _PROCESS, "kept": _BOOL}, _issue),
        Step("stop", {"p": _PROCESS}, _stop),
        Step("given", {"g": _INT}, _given),
        Step("report", {"g": _INT}, _reported),
    ),
    {"one_key_made": lambda s: z3.Not(s.twice)},
    {
        "no number twice": lambda s: z3.Not(s.twice),
        "odd ones are below the mark": lambda s: z3.ForAll(
            [_g], z3.Implies(z3.And(s.used(_g), _odd(_g)), z3.And(_g <= s.mark, z3.Implies(s.on, _g <= s.cur)))
        ),
        "even ones are in the ledger": lambda s: z3.ForAll(
            [_g], z3.Implies(z3.And(s.used(_g), z3.Not(_odd(_g))), _g <= s.ledger)
        ),
        "what is chosen is odd and new": lambda s: z3.Implies(
            s.pick != 0, z3.And(_odd(s.pick), s.pick == s.cur, z3.Not(s.used(s.pick)))
        ),
        "what is ready is even, new, and in the ledger": lambda s: z3.ForAll(
            [_p],
            z3.Implies(
                s.ready(_p) != 0,
                z3.And(z3.Not(_odd(s.ready(_p))), s.ready(_p) <= s.ledger, z3.Not(s.used(s.ready(_p)))),
            ),
        ),
        "two processes have two numbers": lambda s: z3.ForAll(
            [_p, _q], z3.Implies(z3.And(_p != _q, s.ready(_p) != 0), s.ready(_p) != s.ready(_q))
        ),
    },
    {
        "PARITY": ("one_key_made", 7),
        "RESERVE": ("one_key_made", 8),
        "DISK_FIRST": ("one_key_made", 7),
        "TRANSACTION": ("one_key_made", 6),
        "LEDGER_FIRST": ("one_key_made", 6),
    },
)

# -- what receivers take ---------------------------------------------------------------------------------

_r, _k, _l = z3.Const("r", _ROUTER), z3.Const("k", _KEY), z3.Const("l", _KEY)


def _allowed(s: State, r: Any, v: Any, g: Any, on: Callable[[str], bool]) -> Formula:
    """`Retained.check`, from what is in memory."""
    if not on("FLOOR"):
        return z3.BoolVal(True)

    def all_of(what: Callable[[Any], Formula]) -> Formula:
        return z3.ForAll([_l], z3.Implies(s.counts(r, _l), what(_l)))

    if not on("HIGHEST"):  # the highest pair alone is looked at, which may hide a higher generation of another key

        def pair(key: Any, other: Any) -> Formula:
            return z3.Or(
                s.v(r, key) > s.v(r, other), z3.And(s.v(r, key) == s.v(r, other), s.g(r, key) >= s.g(r, other))
            )

        top = z3.And(s.counts(r, _k), all_of(lambda other: pair(_k, other)))
        later = z3.Or(v > s.v(r, _k), z3.And(v == s.v(r, _k), g >= s.g(r, _k)))
        return z3.Exists([_k], z3.And(top, z3.Or(later, z3.And(s.v(r, _k) > s.own(r), g > s.g(r, _k)))))
    reached = all_of(lambda key: z3.Or(v >= s.v(r, key), s.v(r, key) > s.own(r)) if on("REACHED") else True)
    fresh = z3.Or(all_of(lambda key: v >= s.v(r, key)), all_of(lambda key: g > s.g(r, key)))
    return z3.And(all_of(lambda key: g >= s.g(r, key)), reached, fresh)


def _take(s: State, t: State, c: Mapping[str, Any], on: Callable[[str], bool]) -> Formula:
    r, k, v, g = c["r"], c["k"], c["v"], c["g"]
    lower = z3.Exists([_l], z3.And(s.counts(r, _l), g < s.had(r, _l)))
    back = z3.Exists([_l], z3.And(s.counts(r, _l), v < s.v(r, _l), s.v(r, _l) <= s.own(r)))
    disk = [t.put(s, "disk_v", [r, k], v), t.put(s, "disk_g", [r, k], g)] if on("DISK_FIRST") else []
    written = ("disk_v", "disk_g") if on("DISK_FIRST") else ()
    return z3.And(
        s.counts(r, k), v > 0, g > 0, _allowed(s, r, v, g, on), *disk,
        t.put(s, "v", [r, k], v), t.put(s, "g", [r, k], g),
        t.put(s, "had", [r, k], z3.If(g > s.had(r, k), g, s.had(r, k))),
        t.lower == z3.Or(s.lower, lower), t.back == z3.Or(s.back, back),
        t.same(s, "v", "g", "had", "lower", "back", *written),
    )  # fmt: skip


def _write(s: State, t: State, c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    r, k = c["r"], c["k"]
    return z3.And(
        t.put(s, "disk_v", [r, k], s.v(r, k)), t.put(s, "disk_g", [r, k], s.g(r, k)), t.same(s, "disk_v", "disk_g")
    )


def _restart(s: State, t: State, c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    here = _r == c["r"]
    return z3.And(
        z3.ForAll([_r, _k], z3.And(t.v(_r, _k) == z3.If(here, s.disk_v(_r, _k), s.v(_r, _k)),
                                   t.g(_r, _k) == z3.If(here, s.disk_g(_r, _k), s.g(_r, _k)))),
        t.same(s, "v", "g"),
    )  # fmt: skip


def _policy(s: State, t: State, c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    """A newer policy, under which other keys may count."""
    now, was = t.counts, s.counts
    others = z3.ForAll([_r, _k], z3.Or(_r == c["r"], now(_r, _k) == was(_r, _k)))
    return z3.And(c["v"] > s.own(c["r"]), t.put(s, "own", [c["r"]], c["v"]), others, t.same(s, "own", "counts"))


FLOORS = System(
    "floors",
    {
        "own": (_ROUTER, _INT), "counts": (_ROUTER, _KEY, _BOOL),
        "v": (_ROUTER, _KEY, _INT), "g": (_ROUTER, _KEY, _INT), "had": (_ROUTER, _KEY, _INT),
        "disk_v": (_ROUTER, _KEY, _INT), "disk_g": (_ROUTER, _KEY, _INT), "lower": (_BOOL,), "back": (_BOOL,),
    },
    lambda s: z3.And(
        z3.Not(s.lower), z3.Not(s.back), z3.ForAll([_r], s.own(_r) == 1),
        z3.ForAll([_r, _k], z3.And(s.v(_r, _k) == 0, s.g(_r, _k) == 0, s.had(_r, _k) == 0,
                                   s.disk_v(_r, _k) == 0, s.disk_g(_r, _k) == 0)),
    ),
    (
        Step("take", {"r": _ROUTER, "k": _KEY, "v": _INT, "g": _INT}, _take),
        Step("write", {"r": _ROUTER, "k": _KEY}, _write),
        Step("restart", {"r": _ROUTER}, _restart),
        Step("policy", {"r": _ROUTER, "v": _INT}, _policy),
    ),
    {"no_lower": lambda s: z3.Not(s.lower), "no_version_back": lambda s: z3.Not(s.back)},
    {
        "none was lower": lambda s: z3.Not(s.lower),
        "no version went back": lambda s: z3.Not(s.back),
        "a mark is the highest that was taken": lambda s: z3.ForAll([_r, _k], s.g(_r, _k) == s.had(_r, _k)),
        "and is on the disk": lambda s: z3.ForAll(
            [_r, _k], z3.And(s.g(_r, _k) == s.disk_g(_r, _k), s.v(_r, _k) == s.disk_v(_r, _k))
        ),
    },
    {
        "FLOOR": ("no_lower", 2),
        "DISK_FIRST": ("no_lower", 3),
        "HIGHEST": ("no_lower", 4),
        "REACHED": ("no_version_back", 4),
    },
)  # fmt: skip

# -- versions of policy, and of the list ------------------------------------------------------------------

_SIGNER = z3.DeclareSort("Signer")
_a, _b = z3.Const("a", _SIGNER), z3.Const("b", _SIGNER)


def _adopt(s: State, t: State, c: Mapping[str, Any], on: Callable[[str], bool]) -> Formula:
    r, a, v = c["r"], c["a"], c["v"]
    counting = z3.Or(_b == a, z3.Not(s.told(r, _b)))
    newer = z3.ForAll([_b], z3.Implies(counting, v >= s.mark(r, _b))) if on("MARK") else True
    signed = z3.Not(s.told(r, a)) if on("REVOKED") else True
    back = z3.Exists([_b], z3.And(z3.Not(s.told(r, _b)), v < s.acted(r, _b)))
    disk = [t.put(s, "disk", [r, a], v)] if on("DISK_FIRST") else []
    return z3.And(
        v > 0, signed, newer, *disk, t.put(s, "mark", [r, a], v),
        t.put(s, "acted", [r, a], z3.If(v > s.acted(r, a), v, s.acted(r, a))),
        t.back == z3.Or(s.back, back), t.by_revoked == z3.Or(s.by_revoked, s.told(r, a)),
        t.same(s, "mark", "acted", "back", "by_revoked", *(("disk",) if on("DISK_FIRST") else ())),
    )  # fmt: skip


def _tell(s: State, t: State, c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    return z3.And(t.put(s, "told", [c["r"], c["a"]], True), t.same(s, "told"))


def _boot_policy(s: State, t: State, c: Mapping[str, Any], _on: Callable[[str], bool]) -> Formula:
    here = _r == c["r"]
    kept = z3.ForAll([_r, _a], t.mark(_r, _a) == z3.If(here, s.disk(_r, _a), s.mark(_r, _a)))
    return z3.And(kept, t.same(s, "mark"))


VERSIONS = System(
    "versions",
    {
        "mark": (_ROUTER, _SIGNER, _INT), "disk": (_ROUTER, _SIGNER, _INT), "acted": (_ROUTER, _SIGNER, _INT),
        "told": (_ROUTER, _SIGNER, _BOOL), "back": (_BOOL,), "by_revoked": (_BOOL,),
    },
    lambda s: z3.And(
        z3.Not(s.back), z3.Not(s.by_revoked),
        z3.ForAll([_r, _a], z3.And(s.mark(_r, _a) == 0, s.disk(_r, _a) == 0, s.acted(_r, _a) == 0,
                                   z3.Not(s.told(_r, _a)))),
    ),
    (
        Step("adopt", {"r": _ROUTER, "a": _SIGNER, "v": _INT}, _adopt),
        Step("tell", {"r": _ROUTER, "a": _SIGNER}, _tell),
        Step("restart", {"r": _ROUTER}, _boot_policy),
    ),
    {"no_step_back": lambda s: z3.Not(s.back), "no_revoked": lambda s: z3.Not(s.by_revoked)},
    {
        "none went back": lambda s: z3.Not(s.back),
        "none was a revoked one's": lambda s: z3.Not(s.by_revoked),
        "a mark is what was acted on": lambda s: z3.ForAll([_r, _a], s.mark(_r, _a) == s.acted(_r, _a)),
        "and is on the disk": lambda s: z3.ForAll([_r, _a], s.mark(_r, _a) == s.disk(_r, _a)),
    },
    {"MARK": ("no_step_back", 2), "DISK_FIRST": ("no_step_back", 3), "REVOKED": ("no_revoked", 2)},
)  # fmt: skip

SYSTEMS = {each.name: each for each in (GENERATIONS, FLOORS, VERSIONS)}


def counterexample(system: System, defence: str) -> list[Taken] | None:
    """The run that breaks a claim of the system without this defence."""
    claim, steps = system.defences[defence]
    return run_without(system, claim, {defence}, steps)
