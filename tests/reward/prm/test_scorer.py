from reward.prm.scorer import BatchedStepScorer
from reward.prm.steps import StepInput
from rollout.search.stepwise import Reading, StepScores
from rollout.types import Prompt

QUESTION = Prompt("q/0", "2+2?", (7, 8), {})


class TwoSequences:
    """Reads the question alone in one sequence and the solution in another."""

    levels = (0.5,)
    pause_token_ids = (9,)

    def step_ends(self, token_ids, has_ended):
        return (len(token_ids),) if token_ids else ()

    def inputs(self, reading):
        alone = StepInput(reading.prompt.token_ids, (0,), (1,))
        ends = self.step_ends(reading.token_ids, reading.has_ended)
        if not ends:
            return (alone,)
        return alone, StepInput((*reading.prompt.token_ids, *reading.token_ids), ends, (1 + ends[0],))


def test_sequences_are_read_once_and_their_rows_put_together_again():
    calls = []

    def read_all(inputs):
        calls.append(inputs)
        return [tuple((given.token_ids[position] / 10,) for position in given.positions) for given in inputs]

    scorer = BatchedStepScorer(TwoSequences(), read_all)
    scores = scorer.score([Reading(QUESTION, (1, 2)), Reading(QUESTION), Reading(QUESTION, (1, 2))])
    assert [len(inputs) for inputs in calls] == [2]
    assert scores[0] == StepScores((0, 2), ((0.8,), (0.2,)), num_tokens_read=6)
    assert scores[1] == StepScores((0,), ((0.8,),), num_tokens_read=2)
    assert scores[2] == scores[0]
    assert (scorer.levels, scorer.pause_token_ids, scorer.step_ends((1,), False)) == ((0.5,), (9,), (1,))


def test_no_readings_need_no_model():
    assert BatchedStepScorer(TwoSequences(), None).score([]) == []
