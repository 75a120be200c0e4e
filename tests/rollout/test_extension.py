from rollout.draws import DrawKey
from rollout.extension import Extension, shares_by_lane
from rollout.types import Prompt, SamplingParams


def request(prompt_id, lane, prefix=()):
    return Extension(Prompt(prompt_id, "", (1,), {}), prefix, SamplingParams(), DrawKey(0, prompt_id, lane), lane)


def test_every_request_goes_to_one_engine_and_lanes_of_a_prompt_are_dealt_out_evenly():
    shares = shares_by_lane([request("train/0/0", lane) for lane in range(9)], 3)
    assert sorted(index for share in shares for index in share) == list(range(9))
    assert [len(share) for share in shares] == [3, 3, 3]


def test_a_chain_stays_with_its_engine_whatever_else_is_drawn():
    several = [request(f"train/0/{i}", lane) for i in range(5) for lane in range(4)]
    home = {i: engine for engine, share in enumerate(shares_by_lane(several, 2)) for i in share}
    for i, one in enumerate(several):
        longer = request(one.prompt.id, one.lane, (7, 8, 9))
        assert shares_by_lane([longer], 2)[home[i]] == [0]
