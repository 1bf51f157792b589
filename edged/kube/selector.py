"""The selector that an object of Cilium's carries."""

from typing import Final

from edged.config.selector import Requirement, Selector
from edged.kube.raw import Json, items, labels, text, texts

_OPERATORS: Final = {"In": True, "NotIn": False, "Exists": True, "DoesNotExist": False}


def object_selector(raw: Json) -> Selector:
    """Read `matchLabels` and `matchExpressions`; an empty object matches everything."""
    equal = [
        Requirement(key=key, wanted=True, values=frozenset({value}))
        for key, value in labels(raw, "matchLabels").items()
    ]
    sets = [
        Requirement(
            key=text(one, "key"),
            wanted=_OPERATORS[text(one, "operator")],
            values=frozenset(texts(one, "values"))
            if text(one, "operator").endswith("In")
            else None,
        )
        for one in items(raw, "matchExpressions")
        if text(one, "operator") in _OPERATORS
    ]
    return Selector((*equal, *sets))
