"""What a field of a raw Stripe object may be; whatever is not that is Malformed, with the path to it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TypeVar

T = TypeVar("T")

# The year 9999 is the last that a datetime can hold.
_LAST_SECOND = 253_402_300_799
_LARGEST = 2**63 - 1


class Malformed(ValueError):
    """A Stripe object that is not what Stripe's objects look like; `path` names the field (`items.data.0.price.currency`)."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or 'object'}: {problem}")
        self.path = path


class Shape:
    """A raw JSON object, asked for its fields by the type they must have.

    A key that is absent and a key that is null are the same to every question: `maybe_…` answers None, the others raise Malformed.
    """

    __slots__ = ("path", "raw")

    def __init__(self, raw: object, path: str = "") -> None:
        if not isinstance(raw, Mapping):
            raise Malformed(path, f"expected an object, found {type(raw).__name__}")
        self.raw: Mapping[str, object] = raw
        self.path = path

    def at(self, key: str | int) -> str:
        """The dotted path of a field of this object."""
        return f"{self.path}.{key}" if self.path else str(key)

    def wrong(self, key: str, problem: str) -> Malformed:
        """The error to raise when a field is of the right type and still cannot be."""
        return Malformed(self.at(key), problem)

    def maybe_text(self, key: str) -> str | None:
        value = self.raw.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(key, f"expected a string, found {type(value).__name__}")

    def text(self, key: str) -> str:
        return self._present(key, self.maybe_text(key))

    def name(self, key: str = "id") -> str:
        """An id: a string that is not empty."""
        if not (value := self.text(key)):
            raise self.wrong(key, "an id is not empty")
        return value

    def maybe_choice(self, key: str, allowed: frozenset[str]) -> str | None:
        value = self.maybe_text(key)
        if value is not None and value not in allowed:
            raise self.wrong(key, f"unknown value {value[:40]!r}")
        return value

    def choice(self, key: str, allowed: frozenset[str]) -> str:
        return self._present(key, self.maybe_choice(key, allowed))

    def maybe_whole(self, key: str) -> int | None:
        value = self.raw.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, f"expected a whole number, found {type(value).__name__}")
        if not -_LARGEST <= value <= _LARGEST:
            raise self.wrong(key, "a number beyond what a database holds")
        return value

    def whole(self, key: str) -> int:
        return self._present(key, self.maybe_whole(key))

    def maybe_decimal(self, key: str) -> Decimal | None:
        """A number, or a string of one: Stripe sends `unit_amount_decimal` as a string and `percent_off` as a float."""
        value = self.raw.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
            raise self.wrong(key, f"expected a number, found {type(value).__name__}")
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            raise self.wrong(key, "expected a number, found other text") from None
        # Beyond 30 digits it is no price of anything, and arithmetic on it would be slow.
        if not number.is_finite() or abs(number.adjusted()) > 30:
            raise self.wrong(key, "expected a finite number of a sensible size")
        return number

    def flag(self, key: str, default: bool | None = None) -> bool:
        """A boolean; when it may be absent, pass what that means."""
        value = self.raw.get(key)
        if value is None:
            value = default
        if isinstance(value, bool):
            return value
        raise self.wrong(key, f"expected true or false, found {type(value).__name__}")

    def maybe_instant(self, key: str) -> datetime | None:
        """Unix seconds as an aware UTC datetime."""
        seconds = self.maybe_whole(key)
        if seconds is None:
            return None
        if not 0 <= seconds <= _LAST_SECOND:
            raise self.wrong(key, "not a time between 1970 and 9999")
        return datetime.fromtimestamp(seconds, UTC)

    def instant(self, key: str) -> datetime:
        return self._present(key, self.maybe_instant(key))

    def maybe_currency(self, key: str = "currency") -> str | None:
        value = self.maybe_text(key)
        if value is None or (len(value) == 3 and value.isascii() and value.isalpha() and value.islower()):
            return value
        raise self.wrong(key, "expected a currency of three lower-case letters")

    def currency(self, key: str = "currency") -> str:
        return self._present(key, self.maybe_currency(key))

    def maybe_part(self, key: str) -> "Shape | None":
        """A nested object."""
        value = self.raw.get(key)
        return None if value is None else Shape(value, self.at(key))

    def maybe_expanded(self, key: str) -> "Shape | None":
        """An expandable field when it is expanded; None when it is absent or only an id."""
        return None if isinstance(self.raw.get(key), str) else self.maybe_part(key)

    def maybe_reference(self, key: str) -> str | None:
        """The id in an expandable field, expanded or not."""
        expanded = self.maybe_expanded(key)
        return expanded.name() if expanded else (self.name(key) if self.raw.get(key) is not None else None)

    def reference(self, key: str) -> str:
        return self._present(key, self.maybe_reference(key))

    def listed(self, key: str) -> list[object]:
        """A JSON array; absent or null reads as empty."""
        value = self.raw.get(key)
        if value is None:
            return []
        if isinstance(value, list | tuple):
            return list(value)
        raise self.wrong(key, f"expected a list, found {type(value).__name__}")

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.listed(key)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, "expected a list of strings")
        return tuple(str(value) for value in values)

    def parts(self, key: str) -> Iterator["Shape"]:
        """The objects of a JSON array."""
        for place, value in enumerate(self.listed(key)):
            yield Shape(value, f"{self.at(key)}.{place}")

    def metadata(self) -> dict[str, str]:
        """The owner's own key-value pairs; absent reads as none."""
        shape = self.maybe_part("metadata")
        return {key: shape.text(key) for key in shape.raw} if shape else {}

    def _present(self, key: str, value: T | None) -> T:
        if value is None:
            raise self.wrong(key, "missing")
        return value
