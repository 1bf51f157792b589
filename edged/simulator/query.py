"""Query words (`?name=x`, `?#|`, ...) and the property list of a print.

Source: MikroTik manual, API page, section "Queries".
"""

import re
from collections.abc import Iterable, Sequence

from edged.simulator.replies import Trap, Words
from edged.simulator.values import same_value

_OPERATION = re.compile(r"(\d+)|(.)")


def matches(row: Words, queries: Sequence[str]) -> bool:
    """Tell whether a row passes the query words, given without their leading `?`.

    What is left on the stack must be true altogether.
    """
    stack: list[bool] = []
    for query in queries:
        if query.startswith("#"):
            _operate(stack, query[1:])
        else:
            stack.append(_evaluate(row, query))
    return all(stack)


def _evaluate(row: Words, query: str) -> bool:
    if query.startswith("-"):
        return query[1:] not in row
    if query.startswith(("<", ">")):
        name, _, wanted = query[1:].partition("=")
        return name in row and _ordered(query[0], row[name], wanted)
    name, equals, wanted = query.removeprefix("=").partition("=")
    if not equals:
        return name in row
    return name in row and same_value(row[name], wanted)


def _ordered(sign: str, value: str, wanted: str) -> bool:
    left: int | str = value
    right: int | str = wanted
    if value.isdecimal() and wanted.isdecimal():
        left, right = int(value), int(wanted)
        return left < right if sign == "<" else left > right
    return value < wanted if sign == "<" else value > wanted


def _operate(stack: list[bool], operations: str) -> None:
    tokens = list(_OPERATION.finditer(operations))
    try:
        for place, token in enumerate(tokens):
            follows_index = place > 0 and tokens[place - 1][1] is not None
            _step(
                stack,
                token,
                is_last=place == len(tokens) - 1,
                follows_index=follows_index,
            )
    except IndexError:
        raise _bad_query(operations) from None


def _step(stack: list[bool], token: re.Match[str], *, is_last: bool, follows_index: bool) -> None:
    if token[1] is not None:
        value = stack[-1 - int(token[1])]
        if is_last:
            stack[:] = [value]
        else:
            stack.append(value)
        return
    match token[2]:
        case "!":
            stack.append(not stack.pop())
        case "&":
            right, left = stack.pop(), stack.pop()
            stack.append(left and right)
        case "|":
            right, left = stack.pop(), stack.pop()
            stack.append(left or right)
        case ".":
            if not follows_index:
                stack.append(stack[-1])
        case _:
            raise _bad_query(token.string)


def _bad_query(operations: str) -> Trap:
    """Return the trap for operations that cannot be applied; no recorded text exists."""
    return Trap(f"failure: bad query operation {operations}", category=5)


def select(row: Words, proplist: Iterable[str] | None) -> Words:
    """Keep the asked properties; a row that has none of them stays as an empty row."""
    if proplist is None:
        return row
    return {name: row[name] for name in proplist if name in row}
