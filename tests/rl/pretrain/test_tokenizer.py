import pytest

from reward.mod_chain import ModChain
from rl.pretrain.tokenizer import chain_tokenizer

TOKENIZER = chain_tokenizer(ModChain(modulus=13), 64)


def tokens(text: str) -> list[str]:
    return TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode(text))


def test_a_number_is_one_token_and_blanks_are_none() -> None:
    assert tokens("12+3*0-5 mod 13 =") == ["<bos>", "12", "+", "3", "*", "0", "-", "5", "mod", "13", "="]


@pytest.mark.parametrize("answer", ["0", "7", "12"])
def test_an_answer_is_one_token_and_reads_back(answer: str) -> None:
    (token,) = TOKENIZER.encode(answer, add_special_tokens=False)
    assert TOKENIZER.decode([token, TOKENIZER.eos_token_id], skip_special_tokens=True) == answer


def test_a_chat_asks_what_a_plain_text_does() -> None:
    messages = [{"role": "user", "content": "1+1 mod 13 ="}]
    chat = TOKENIZER.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert chat == TOKENIZER.encode("1+1 mod 13 =")


def test_other_text_is_unknown_and_the_vocabulary_is_filled_up() -> None:
    assert "<unk>" in tokens("14") and "<unk>" in tokens("x")
    assert len(TOKENIZER) == 64
    assert len(chain_tokenizer(ModChain(modulus=97), 64)) == 128
