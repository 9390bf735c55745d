"""Prepared cases in memory: what fits stays, what comes is prepared meanwhile, never too much."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from unetkit.data.cache import Cache, Memory, keepable


class Thing:
    """So many bytes that know their number."""

    def __init__(self, number, nbytes=100):
        self.number, self.nbytes = number, nbytes


class Maker:
    """Makes things, and counts those that are alive."""

    def __init__(self, nbytes=lambda _: 100, pause=0.0):
        self.made, self.threads, self.alive, self.most = [], set(), 0, 0
        self._nbytes, self._pause, self._lock = nbytes, pause, threading.Lock()

    def __call__(self, number):
        if self._pause:
            time.sleep(self._pause * np.random.default_rng(number).random())
        thing = Thing(number, self._nbytes(number))
        with self._lock:
            self.made.append(number)
            self.threads.add(threading.current_thread().name.partition("_")[0])
            self.alive += thing.nbytes
            self.most = max(self.most, self.alive)
        weakref.finalize(thing, self._gone, thing.nbytes)
        return thing

    def _gone(self, nbytes):
        with self._lock:
            self.alive -= nbytes


def rounds(count, times, seed=0):
    chance = np.random.default_rng(seed)
    return [int(n) for _ in range(times) for n in chance.permutation(count)]


def walk(cache, turns):
    for k, number in enumerate(turns):
        assert cache.take(number, iter(turns[k + 1 :])).number == number


def test_without_a_limit_each_is_made_once():
    maker = Maker()
    with Memory(workers=1) as memory:
        walk(Cache(maker, 30, memory), rounds(30, 4))
    assert sorted(maker.made) == list(range(30))


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("limit", [0, 1000, 2500, 8000])
def test_what_is_alive_stays_within_the_limit(limit, workers):
    """Or within two things, one in use and one coming, where the limit is less than that."""
    maker = Maker(pause=0.001)
    with Memory(limit, workers=workers) as memory:
        cache = Cache(maker, 40, memory)
        for k, number in enumerate(turns := rounds(40, 3)):
            cache.take(number, iter(turns[k + 1 :]))
            assert memory.used <= keepable(limit)
        gc.collect()
        room = max(limit, memory.used + 300)
        assert maker.most <= room


@pytest.mark.parametrize("fits", [0, 7, 20, 39])
def test_of_what_does_not_all_fit_the_part_that_fits_is_there_every_round(fits):
    maker = Maker()
    memory = Memory(fits * 100 * 8 / 7 + 1)
    cache = Cache(maker, 40, memory)
    walk(cache, rounds(40, 1))
    assert sorted(maker.made) == list(range(40))
    for again in range(1, 4):
        maker.made.clear()
        walk(cache, rounds(40, 1, seed=again))
        assert len(maker.made) == 40 - fits


def test_two_caches_share_a_memory():
    memory = Memory(1000 * 8 / 7 + 1)
    one, two = Maker(), Maker()
    first, second = Cache(one, 7, memory), Cache(two, 7, memory)
    walk(first, rounds(7, 2))
    walk(second, rounds(7, 2))
    assert len(one.made) == 7
    assert len(two.made) == 14 - 3
    assert memory.used == 1000


def test_what_comes_is_prepared_in_the_background_while_this_is_used():
    here, begun = threading.Event(), threading.Event()

    def make(number):
        if number == 1:
            begun.set()
            assert here.wait(10)
        return Thing(number)

    with Memory(workers=1) as memory:
        cache = Cache(make, 4, memory)
        assert cache.take(0, iter([1, 2])).number == 0  # though 1 cannot be ready yet
        assert begun.wait(10)
        here.set()
        assert cache.take(1, iter([2])).number == 1
        assert cache.take(2).number == 2


def test_what_waits_behind_another_is_made_here():
    """The one thread is busy with 1; nobody waits for it to come to 2."""
    busy, where = threading.Event(), {}

    def make(number):
        where[number] = threading.current_thread().name
        if number == 1:
            assert busy.wait(10)
        return Thing(number)

    with Memory(workers=1) as memory:
        cache = Cache(make, 4, memory)
        cache.take(0, iter([1]))  # sizes are known from here on, so that more are prepared ahead
        cache.take(3, iter([1, 2]))
        assert cache.take(2).number == 2
        busy.set()
        assert cache.take(1).number == 1
    assert where[2] == threading.current_thread().name
    assert where[1] != where[2]


def test_an_error_comes_when_it_is_the_turn_of_its_case():
    def make(number):
        if number == 2:
            raise ValueError("two")
        return Thing(number)

    with Memory(workers=1) as memory:
        cache = Cache(make, 4, memory)
        assert cache.take(0, iter([1, 2, 3])).number == 0
        assert cache.take(1, iter([2, 3])).number == 1
        for _ in range(2):
            with pytest.raises(ValueError, match="two"):
                cache.take(2, iter([3]))
        assert cache.take(3).number == 3


def test_threads_end_with_the_memory_and_waiting_is_counted():
    before = threading.active_count()
    with Memory(workers=2) as memory:
        cache = Cache(Maker(pause=0.02), 5, memory)
        walk(cache, rounds(5, 2))
        first = memory.waited
        assert first > 0
        walk(cache, rounds(5, 2))  # all are there by now
        assert memory.waited == first
    assert threading.active_count() == before


def test_an_error_in_the_loop_ends_the_threads_too():
    before = threading.active_count()
    maker = Maker(pause=0.01)

    def loop():
        with Memory(workers=1) as memory:
            cache = Cache(maker, 20, memory)
            cache.take(0, iter([1]))
            cache.take(1, iter(range(2, 20)))
            raise KeyError

    with pytest.raises(KeyError):
        loop()
    assert threading.active_count() == before
    assert len(maker.made) < 20  # those that had not begun never do


def test_many_threads_make_what_one_makes():
    """Sizes that differ, and a pool that answers in any order."""
    maker = Maker(nbytes=lambda number: 50 + 10 * number, pause=0.003)
    turns = rounds(25, 4)
    with Memory(3000, workers=4) as memory:
        walk(Cache(maker, 25, memory), turns)
    assert maker.threads >= {"prepare"}
    assert isinstance(memory._pool, ThreadPoolExecutor)
