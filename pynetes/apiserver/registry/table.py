"""Every handler and strategy, by what it serves."""

from collections.abc import Mapping

from pynetes.apiserver.registry.call import Handler, Strategy

#: (group, plural, subresource, verb) → handler; verb is create, update or get. Reviews have subresource "".
HANDLERS: Mapping[tuple[str, str, str, str], Handler] = {}

#: (group, plural) → what runs around create, update and delete.
STRATEGIES: Mapping[tuple[str, str], Strategy] = {}
