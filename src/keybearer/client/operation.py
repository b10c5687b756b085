"""Operations: a method that describes a request once, and is blocking, awaitable or the description by its driver.

``client.keys.get(id)`` returns a ``KeyView`` on :class:`Keybearer`, a coroutine of one on :class:`AsyncKeybearer`, and
on ``calls`` the :class:`Call` that would have been made. Type checkers and editors see the parameters in all three.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from .call import Call, Pages, Stream
from .drivers import AsyncDriver, Describing, SyncDriver

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")
D = TypeVar("D", bound=SyncDriver | AsyncDriver | Describing, covariant=True)


class Resource(Generic[D]):
    """A group of operations that one driver carries out."""

    def __init__(self, driver: D) -> None:
        self._driver: D = driver


class operation(Generic[P, T]):  # noqa: N801 (a decorator)
    """Turn a method that returns a ``Call[T]`` into one that carries it out."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self.describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, resource: None, owner: Any = None) -> operation[P, T]: ...
    @overload
    def __get__(self, resource: Resource[SyncDriver], owner: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, resource: Resource[AsyncDriver], owner: Any = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, resource: Resource[Describing], owner: Any = None) -> Callable[P, Call[T]]: ...
    def __get__(self, resource: Any, owner: Any = None) -> Any:
        if resource is None:
            return self

        @wraps(self.describe)
        def carry_out(*args: P.args, **kwargs: P.kwargs) -> Any:
            return resource._driver.run(self.describe(resource, *args, **kwargs))

        return carry_out


class series(Generic[P, T, S]):  # noqa: N801 (a decorator)
    """Turn a method that returns ``Pages[T]`` or a ``Stream[T]`` into an iterator over its items."""

    @overload
    def __init__(self: series[P, T, Pages[T]], describe: Callable[Concatenate[Any, P], Pages[T]]) -> None: ...
    @overload
    def __init__(self: series[P, T, Stream[T]], describe: Callable[Concatenate[Any, P], Stream[T]]) -> None: ...
    def __init__(self, describe: Callable[Concatenate[Any, P], Any]) -> None:
        self.describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, resource: None, owner: Any = None) -> series[P, T, S]: ...
    @overload
    def __get__(self, resource: Resource[SyncDriver], owner: Any = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, resource: Resource[AsyncDriver], owner: Any = None) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, resource: Resource[Describing], owner: Any = None) -> Callable[P, S]: ...
    def __get__(self, resource: Any, owner: Any = None) -> Any:
        if resource is None:
            return self

        @wraps(self.describe)
        def each(*args: P.args, **kwargs: P.kwargs) -> Any:
            return resource._driver.each(self.describe(resource, *args, **kwargs))

        return each
