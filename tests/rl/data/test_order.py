import collections

from rl.data.order import permutation, ranked


def test_a_permutation_has_every_number_once():
    for size in (1, 2, 7, 1000):
        assert sorted(permutation("0/epoch/0", size)) == list(range(size))


def test_a_permutation_follows_from_its_key_alone():
    assert permutation("0/epoch/3", 50).tolist() == permutation("0/epoch/3", 50).tolist()
    assert permutation("0/epoch/3", 50).tolist() != permutation("0/epoch/4", 50).tolist()
    assert permutation("0/epoch/3", 50).tolist() != permutation("1/epoch/3", 50).tolist()


def test_the_order_of_runs_that_exist_stays_as_it_is():
    assert permutation("0/epoch/0", 8).tolist() == [7, 5, 2, 1, 6, 4, 3, 0]


def test_every_order_is_as_likely_as_any_other():
    orders = collections.Counter(tuple(permutation(f"key {i}", 4)) for i in range(2400))
    assert len(orders) == 24
    assert all(60 < count < 140 for count in orders.values()), "100 each are expected, give or take 10"


def test_a_ranking_depends_on_the_names_and_not_on_where_they_stand():
    names = [f"name {i}" for i in range(100)]
    assert ranked(names, "0") == ranked([*reversed(names), *names], "0")
    assert sorted(ranked(names, "0")) == sorted(names)
    assert ranked(names, "0") != ranked(names, "1")


def test_a_ranking_of_fewer_names_is_the_same_ranking_with_gaps():
    names = [f"name {i}" for i in range(100)]
    assert ranked(names[::2], "0") == [name for name in ranked(names, "0") if name in names[::2]]
