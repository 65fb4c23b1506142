"""The search space: flat or conditional, of fixed values, choices and ranges."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cnnbench.nearest import alternatives

Value = str | int | float | bool | None


class KnobLike(Protocol):
    """What a study may give a hyperparameter (see training.recipe.Knob)."""

    @property
    def allowed(self) -> str: ...
    @property
    def choices(self) -> tuple[str, ...]: ...
    @property
    def default(self) -> Value: ...
    @property
    def belongs_to(self) -> Mapping[str, tuple[str, ...]]: ...
    def accepts(self, value: object) -> bool: ...


def unknown_value(name: str, knob: KnobLike, value: object) -> str:
    """What is said of a ``value`` that the hyperparameter ``name`` does not take."""
    instead = (
        alternatives(value, knob.choices, f"cnnbench choices {name}") if knob.choices else f"choose from {knob.allowed}"
    )
    return f"unknown value {value!r}; {instead}"


@dataclass(frozen=True)
class Fixed:
    """One value for every trial."""

    value: Value


@dataclass(frozen=True)
class Choice:
    """One of several values, each with the parameters that exist only under it."""

    options: Mapping[Value, Mapping[str, "Domain"]]


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from low to high, both included."""

    low: int
    high: int
    log: bool = False
    step: int = 1


@dataclass(frozen=True)
class FloatRange:
    """Numbers from low to high."""

    low: float
    high: float
    log: bool = False


Domain = Fixed | Choice | IntRange | FloatRange
Space = Mapping[str, Domain]


def walk(space: Space, prefix: str = "") -> Iterator[tuple[str, str, Domain]]:
    """Every (name, path, domain) of a space; the path also names the choices above: ``schedule.step.gamma``."""
    for name, domain in space.items():
        yield name, f"{prefix}{name}", domain
        if isinstance(domain, Choice):
            for option, below in domain.options.items():
                yield from walk(below, f"{prefix}{name}.{option}.")


def without(space: Space, names: Collection[str]) -> dict[str, Domain]:
    """The space less the hyperparameters ``names``, wherever they stand, and all that exists only under them."""
    kept: dict[str, Domain] = {}
    for name, domain in space.items():
        if name in names:
            continue
        if isinstance(domain, Choice):
            domain = Choice({option: without(below, names) for option, below in domain.options.items()})
        kept[name] = domain
    return kept


def values_of(domain: Domain) -> tuple[Value, ...]:
    """The values that a fixed parameter or a choice can take; nothing for a range."""
    if isinstance(domain, Fixed):
        return (domain.value,)
    return tuple(domain.options) if isinstance(domain, Choice) else ()


@dataclass
class _SpaceParser:
    knobs: Mapping[str, KnobLike]
    errors: list[str] = field(default_factory=list)

    def space(self, tree: object, path: str, under: Mapping[str, Collection[Value]]) -> dict[str, Domain]:
        """``under``: the values that each hyperparameter above may have here."""
        if not isinstance(tree, dict):
            self.errors.append(f"{path}: should be a mapping of hyperparameters, got {tree!r}")
            return {}
        domains: dict[str, Domain] = {}
        flat = {name: self._possible(name, domain) for name, domain in tree.items() if isinstance(name, str)}
        for name, domain_tree in tree.items():
            where = f"{path}.{name}"
            knob = self.knobs.get(name) if isinstance(name, str) else None
            if knob is None:
                self.errors.append(f"{where}: unknown name; {alternatives(name, self.knobs, 'cnnbench choices space')}")
                continue
            if name in under:
                self.errors.append(f"{where}: {name} is given further up already")
            for parent, needed in knob.belongs_to.items():
                default = self.knobs[parent].default
                possible = under.get(parent, flat.get(parent, (default,)))
                if not set(possible) <= set(needed):
                    self.errors.append(
                        f"{where}: exists only under {parent}: {', '.join(needed)}; write it there, as in "
                        f"'{parent}: {{choice: {{{needed[0]}: {{{name}: …}}}}}}'"
                    )
            domain = self.domain(domain_tree, where, name, knob, {**under, **flat})
            if domain is not None:
                domains[name] = domain
        return domains

    @staticmethod
    def _possible(name: str, tree: object) -> tuple[Value, ...]:
        if isinstance(tree, dict) and isinstance(tree.get("choice"), list | dict):
            return tuple(value for value in tree["choice"] if isinstance(value, str | int | float | bool | None))
        return () if isinstance(tree, dict | list) else (tree,)  # type: ignore[return-value]

    def domain(
        self, tree: object, where: str, name: str, knob: KnobLike, under: Mapping[str, Collection[Value]]
    ) -> Domain | None:
        if isinstance(tree, list):
            self.errors.append(f"{where}: a list; write {{choice: {tree!r}}}")
            return None
        if not isinstance(tree, dict):
            return Fixed(tree) if self._accepts(tree, where, name, knob) else None  # type: ignore[arg-type]
        kinds = [kind for kind in ("choice", "int", "float") if kind in tree]
        if len(kinds) != 1:
            self.errors.append(f"{where}: write a value, or one of {{choice: …}}, {{int: [low, high]}}, {{float: …}}")
            return None
        kind = kinds[0]
        extra = set(tree) - {kind} - ({"log", "step"} if kind == "int" else {"log"} if kind == "float" else set())
        if extra:
            self.errors.append(f"{where}: unknown key {', '.join(map(str, sorted(extra, key=str)))} beside {kind}")
        if kind == "choice":
            return self._choice(tree["choice"], where, name, knob, under)
        return self._range(tree, kind, where, name, knob)

    def _accepts(self, value: object, where: str, name: str, knob: KnobLike) -> bool:
        if knob.accepts(value):
            return True
        hint = "; write true or false" if knob.allowed.startswith("true") and isinstance(value, str) else ""
        self.errors.append(f"{where}: {unknown_value(name, knob, value)}{hint}")
        return False

    def _choice(
        self, tree: object, where: str, name: str, knob: KnobLike, under: Mapping[str, Collection[Value]]
    ) -> Choice | None:
        if not isinstance(tree, list | dict) or not tree:
            self.errors.append(f"{where}.choice: should be a list of values, or a mapping value: parameters")
            return None
        options: dict[Value, Mapping[str, Domain]] = {}
        for value in tree:
            if not self._accepts(value, f"{where}.choice", name, knob):
                continue
            if value in options:
                self.errors.append(f"{where}.choice: {value!r} stands twice")
            below = tree[value] if isinstance(tree, dict) else None
            inside = {**under, name: (value,)}
            options[value] = self.space(below, f"{where}.{value}", inside) if below is not None else {}
        return Choice(options)

    def _range(self, tree: dict[Any, Any], kind: str, where: str, name: str, knob: KnobLike) -> Domain | None:
        bounds, log, step = tree[kind], tree.get("log", False), tree.get("step", 1)
        numbers = int if kind == "int" else int | float
        if not (
            isinstance(bounds, list)
            and len(bounds) == 2
            and all(isinstance(bound, numbers) and not isinstance(bound, bool) for bound in bounds)
        ):
            self.errors.append(f"{where}.{kind}: should be [low, high], got {bounds!r}")
            return None
        faults = len(self.errors)
        low, high = bounds
        if not isinstance(log, bool):
            self.errors.append(f"{where}.log: should be true or false, got {log!r}")
        if not isinstance(step, int) or isinstance(step, bool) or step < 1 or (log is True and step != 1):
            self.errors.append(f"{where}.step: should be a whole number from 1, and 1 beside log, got {step!r}")
        if low >= high:
            self.errors.append(f"{where}.{kind}: low must be less than high, got {bounds!r}")
        if log is True and low <= 0:
            self.errors.append(f"{where}.{kind}: a log scale needs low > 0, got {low!r}")
        if kind == "float":
            low, high = float(low), float(high)
        if self._accepts(low, where, name, knob):
            self._accepts(high, where, name, knob)
        if len(self.errors) > faults:
            return None
        return IntRange(low, high, log, step) if kind == "int" else FloatRange(low, high, log)


def parse_space(tree: object, knobs: Mapping[str, KnobLike]) -> tuple[dict[str, Domain], list[str]]:
    """The space that a study file's ``space`` describes, and everything that is wrong with it."""
    parser = _SpaceParser(knobs)
    return parser.space(tree, "space", {}), parser.errors
