"""Ranks of multisets and of words in lexicographic order, computed without enumerating them."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def multiset_count(size: int, kinds: int) -> int:
    """Number of multisets of `size` elements of `kinds` kinds: C(size + kinds - 1, size)."""
    return comb(size + kinds - 1, size)


def rank_multiset(elements: Sequence[int], kinds: int) -> int:
    """Place of a multiset among `itertools.combinations_with_replacement(range(kinds), size)`.

    Args:
        elements: the multiset's elements in ascending order, each in 0 .. kinds - 1.
        kinds: number of kinds.
    """
    rank, lowest = 0, 0
    for place, element in enumerate(elements):
        rest = len(elements) - place - 1
        rank += sum(multiset_count(rest, kinds - smaller) for smaller in range(lowest, element))
        lowest = element
    return rank


def unrank_multiset(rank: int, size: int, kinds: int) -> tuple[int, ...]:
    """The inverse of `rank_multiset`: `size` elements in ascending order."""
    elements: list[int] = []
    element = 0
    for rest in range(size - 1, -1, -1):
        while rank >= (count := multiset_count(rest, kinds - element)):
            rank -= count
            element += 1
        elements.append(element)
    return tuple(elements)


def word_count(letters: int, longest: int) -> int:
    """Number of words of 1 .. `longest` letters: the sum of letters^length."""
    return sum(letters**length for length in range(1, longest + 1))


def rank_word(word: Sequence[int], letters: int) -> int:
    """Place of a word among all words, the shorter ones first, then in lexicographic order."""
    rank = 0
    for letter in word:
        rank = rank * letters + letter
    return word_count(letters, len(word) - 1) + rank


def unrank_word(rank: int, letters: int) -> tuple[int, ...]:
    """The inverse of `rank_word`."""
    length = 1
    while rank >= letters**length:
        rank -= letters**length
        length += 1
    return tuple(rank // letters**power % letters for power in range(length - 1, -1, -1))
