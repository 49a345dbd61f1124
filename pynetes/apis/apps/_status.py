"""What the status of a workload may not say: counts below zero, or parts above the whole."""

from collections.abc import Iterator, Sequence

from pynetes.machinery import field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Validate


def counts(*names: str, parts: Sequence[str] = (), ready: str = "", collisions: bool = False) -> Validate:
    """A validate_status hook: `names` from 0 up, `parts` at most replicas, availableReplicas at most what is ready.

    ready is how the message calls readyReplicas, "" where nothing is compared with them.
    """

    def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
        status = new.get("status") or {}
        for name in names:
            yield from validation.non_negative(status.get(name), f"status.{name}")
        whole, is_ready = status.get("replicas") or 0, status.get("readyReplicas") or 0
        for name in parts:
            if (status.get(name) or 0) > whole:
                yield field.invalid(f"status.{name}", status.get(name) or 0, "cannot be greater than status.replicas")
        available = status.get("availableReplicas") or 0
        if ready and available > is_ready:
            yield field.invalid("status.availableReplicas", available, f"cannot be greater than {ready}")
        if collisions and old is not None:
            yield from _not_decremented(status, old.get("status") or {})

    return validate


def _not_decremented(new: Object, old: Object) -> Iterator[field.Error]:
    before, after = old.get("collisionCount"), new.get("collisionCount")
    if before is not None and (after is None or after < before):
        yield field.invalid("status.collisionCount", after or 0, "cannot be decremented")
