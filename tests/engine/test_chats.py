"""Real replies of the real model: streams, options, queueing, hanging up."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from tests.engine.process import EngineProcess, question, text_of, wait_until

pytestmark = pytest.mark.engine

LONG = "Write a long story about the sea."


def finishes_in_s(engine: EngineProcess, content: str = "Hi") -> float:
    started = time.monotonic()
    engine.chat(content, options={"num_predict": 1})
    return time.monotonic() - started


def test_a_reply_comes_in_pieces_that_join_to_the_answer(engine: EngineProcess) -> None:
    lines = engine.chat("What is the capital of France?")

    assert len(lines) > 5
    assert "Paris" in text_of(lines)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["done_reason"] == "stop"


def test_a_piece_arrives_while_the_rest_is_still_being_written(engine: EngineProcess) -> None:
    with engine.streaming("/api/chat", question(LONG, options={"num_predict": 400})) as lines:
        next(lines)
        second = next(lines)
        running = engine.ask("GET", "/api/version").status

    assert second["done"] is False
    assert running == 200


def test_the_counts_are_those_of_the_reply(engine: EngineProcess) -> None:
    last = engine.chat("What is the capital of France?")[-1]

    assert last["prompt_eval_count"] == 28
    assert 5 < last["eval_count"] < 30
    assert 0 < last["eval_duration"] < last["total_duration"]
    assert last["load_duration"] > 0


def test_num_predict_ends_the_reply_with_length(engine: EngineProcess) -> None:
    last = engine.chat(LONG, options={"num_predict": 7})[-1]

    assert (last["done_reason"], last["eval_count"]) == ("length", 7)


def test_a_whole_answer_says_the_same_as_a_stream(engine: EngineProcess) -> None:
    options = {"num_predict": 20}

    whole = engine.post("/api/chat", question(LONG, stream=False, options=options)).json

    assert whole["message"]["content"] == text_of(engine.chat(LONG, options=options))


def test_a_seed_makes_a_reply_repeatable(engine: EngineProcess) -> None:
    options = {"temperature": 1.5, "seed": 42, "num_predict": 25}

    replies = {text_of(engine.chat(LONG, options=options)) for _ in range(3)}
    other = text_of(engine.chat(LONG, options=options | {"seed": 43}))

    assert len(replies) == 1
    assert other not in replies


def test_without_a_seed_replies_differ(engine: EngineProcess) -> None:
    options = {"temperature": 1.5, "seed": -1, "num_predict": 25}

    replies = {text_of(engine.chat(LONG, options=options)) for _ in range(4)}

    assert len(replies) > 1


def test_a_stop_word_ends_the_reply_and_is_left_out(engine: EngineProcess) -> None:
    lines = engine.chat("What is the capital of France?", options={"stop": [" Paris"]})

    assert text_of(lines) == "The capital of France is"
    assert lines[-1]["done_reason"] == "stop"


def test_emoji_and_other_scripts_survive_both_ways(engine: EngineProcess) -> None:
    lines = engine.chat("Say 😀 家族 👨‍👩‍👧 back", options={"num_predict": 30})

    assert "\ufffd" not in text_of(lines)
    assert "👨" in text_of(lines)


def test_half_a_surrogate_pair_is_replaced_and_harms_nothing(engine: EngineProcess) -> None:
    body = json.dumps(question("Hi \ud83d", options={"num_predict": 2})).encode()

    answer = engine.post("/api/chat", body)

    assert answer.status == 200


def test_a_system_message_takes_the_place_of_the_models_own(engine: EngineProcess) -> None:
    messages = [{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": "Hi"}]

    with_own = engine.chat("Hi", options={"num_predict": 1})[-1]
    replaced = engine.chat("", messages=messages, options={"num_predict": 1})[-1]

    assert replaced["prompt_eval_count"] < with_own["prompt_eval_count"]


def test_generate_answers_a_prompt(engine: EngineProcess) -> None:
    body = {
        "model": "smollm2:135m",
        "prompt": "What is the capital of France?",
        "options": {"temperature": 0},
    }

    lines = engine.lines("/api/generate", body)

    assert "Paris" in "".join(line["response"] for line in lines)


def test_format_json_gives_json(engine: EngineProcess) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}

    lines = engine.chat("Give me a person.", format=schema, options={"num_predict": 60})

    assert isinstance(json.loads(text_of(lines))["age"], int)


def test_a_schema_that_is_none_is_refused_before_the_stream(engine: EngineProcess) -> None:
    answer = engine.post("/api/chat", question("Hi", format={"type": "nonsense"}))

    assert answer.status == 500
    assert "nonsense" in answer.json["error"]


def test_a_long_history_loses_its_oldest_messages_and_keeps_the_systems_words(engine: EngineProcess) -> None:
    history = [{"role": "system", "content": "Be brief."}]
    history += [{"role": role, "content": "again and again " * 12} for role in ("user", "assistant")] * 15
    history += [{"role": "user", "content": "What is the capital of France?"}]

    lines = engine.chat("", messages=history, options={"num_ctx": 512, "num_predict": 16})

    assert 128 < lines[-1]["prompt_eval_count"] < 512
    assert lines[-1]["done"] is True


def test_one_message_beyond_the_context_is_shortened(engine: EngineProcess) -> None:
    lines = engine.chat("word " * 2000, options={"num_ctx": 512, "num_predict": 3})

    assert lines[-1]["done"] is True
    assert lines[-1]["prompt_eval_count"] < 512


def test_truncate_false_refuses_what_does_not_fit(engine: EngineProcess) -> None:
    body = question("word " * 2000, truncate=False, options={"num_ctx": 512})

    answer = engine.post("/api/chat", body)

    inner = json.loads(answer.json["error"])["error"]
    assert answer.status == 400
    assert (inner["type"], inner["n_ctx"]) == ("exceed_context_size_error", 512)
    assert inner["n_prompt_tokens"] > 2000


def test_another_num_ctx_reloads_the_model(engine: EngineProcess) -> None:
    engine.chat("Hi", options={"num_ctx": 1024, "num_predict": 1})
    first = engine.ask("GET", "/api/ps").json["models"][0]["context_length"]

    engine.chat("Hi", options={"num_predict": 1})
    second = engine.ask("GET", "/api/ps").json["models"][0]["context_length"]

    assert (first, second) == (1024, 4096)


def test_num_ctx_ends_at_what_the_model_was_trained_on(engine: EngineProcess) -> None:
    engine.chat("Hi", options={"num_ctx": 10**9, "num_predict": 1})

    assert engine.ask("GET", "/api/ps").json["models"][0]["context_length"] == 8192


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1e308},
        {"temperature": 1e308},
        {"top_k": -5, "top_p": 0},
        {"seed": 10**18},
        {"seed": -5},
        {"num_predict": -(10**12)},
        {"repeat_penalty": 0},
        {"repeat_last_n": -1},
        {"num_ctx": -1},
        {"stop": [""]},
        {"stop": ["\ud83d"]},
        {"num_predict": 2.7},
        {"typical_p": 0.5, "min_p": 0.1, "presence_penalty": 1, "frequency_penalty": -1},
    ],
)
def test_odd_numbers_get_a_reply_and_break_nothing(options: dict[str, Any], engine: EngineProcess) -> None:
    answer = engine.post("/api/chat", question("Hi", stream=False, options={"num_predict": 2} | options))

    assert answer.status == 200
    assert answer.json["done"] is True


def test_hanging_up_in_mid_reply_frees_the_model_at_once(engine: EngineProcess) -> None:
    finishes_in_s(engine)
    with engine.streaming("/api/chat", question(LONG, options={"num_predict": 4000})) as lines:
        first = next(lines)

    waited_s = finishes_in_s(engine)

    assert first["done"] is False
    assert waited_s < 5, "4,000 tokens would have taken much longer"


def test_hanging_up_before_the_first_piece_frees_the_model(engine: EngineProcess) -> None:
    finishes_in_s(engine)
    connection = engine.connect()
    connection.request("POST", "/api/chat", json.dumps(question("word " * 3900)).encode())
    time.sleep(0.3)
    connection.close()

    waited_s = finishes_in_s(engine)

    assert waited_s < 5, "reading that prompt alone takes 10 s and more"


def test_hanging_up_in_the_queue_gives_up_the_place(engine: EngineProcess) -> None:
    with engine.streaming("/api/chat", question(LONG, options={"num_predict": 4000})) as lines:
        next(lines)
        waiting = engine.connect()
        waiting.request(
            "POST", "/api/chat", json.dumps(question(LONG, options={"num_predict": 4000})).encode()
        )
        time.sleep(0.3)
        waiting.close()
        time.sleep(0.3)

    assert finishes_in_s(engine) < 5


def test_a_second_chat_waits_for_the_first_and_both_are_whole(engine: EngineProcess) -> None:
    replies: dict[str, list[dict[str, Any]]] = {}

    def ask(name: str, content: str) -> None:
        replies[name] = engine.chat(content, options={"num_predict": 60})

    threads = [threading.Thread(target=ask, args=(name, f"{LONG} {name}")) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [replies[name][-1]["done_reason"] for name in "abc"] == ["length"] * 3


def test_keep_alive_zero_answers_and_unloads(own_engine: EngineProcess) -> None:
    last = own_engine.chat("Hi", keep_alive=0, options={"num_predict": 2})[-1]

    assert last["done"] is True
    wait_until(lambda: own_engine.ask("GET", "/api/ps").json == {"models": []})


def test_an_idle_model_goes_when_its_time_is_up(own_engine: EngineProcess) -> None:
    own_engine.chat("Hi", keep_alive="300ms", options={"num_predict": 2})

    wait_until(lambda: own_engine.ask("GET", "/api/ps").json == {"models": []})


def test_a_negative_keep_alive_keeps_the_model_for_ever(own_engine: EngineProcess) -> None:
    own_engine.post("/api/chat", {"model": "smollm2:135m", "keep_alive": -1})

    assert own_engine.ask("GET", "/api/ps").json["models"][0]["expires_at"].startswith("2319-")


def test_unloading_during_an_answer_lets_it_finish(own_engine: EngineProcess) -> None:
    with own_engine.streaming("/api/chat", question(LONG, options={"num_predict": 40})) as lines:
        next(lines)
        unloaded = own_engine.post("/api/generate", {"model": "smollm2:135m", "keep_alive": 0}).json
        last = list(lines)[-1]

    assert unloaded["done_reason"] == "unload"
    assert last["done_reason"] == "length"
    wait_until(lambda: own_engine.ask("GET", "/api/ps").json == {"models": []})


def test_a_model_deleted_during_an_answer_lets_it_finish(own_engine: EngineProcess) -> None:
    with own_engine.streaming("/api/chat", question(LONG, options={"num_predict": 40})) as lines:
        next(lines)
        deleted = own_engine.ask("DELETE", "/api/delete", {"model": "SmolLM2:135M"})
        last = list(lines)[-1]

    assert (deleted.status, deleted.body) == (200, b"")
    assert last["done_reason"] == "length"
    assert own_engine.ask("GET", "/api/tags").json == {"models": []}
    assert own_engine.ask("GET", "/api/ps").json["models"][0]["name"] == "smollm2:135m"
    assert own_engine.post("/api/chat", question("Hi")).status == 404


def test_the_name_comes_back_as_it_was_typed(engine: EngineProcess) -> None:
    last = engine.chat("Hi", model="SMOLLM2:135M", options={"num_predict": 1})[-1]

    assert last["model"] == "SMOLLM2:135M"


def test_weights_that_do_not_load_are_500_and_the_engine_stays(
    own_engine: EngineProcess, tmp_path: Any
) -> None:
    blob = max((tmp_path / "models" / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    content = blob.read_bytes()
    blob.unlink()
    blob.write_bytes(content[:60_000_000])

    answer = own_engine.post("/api/chat", question("Hi"))

    assert answer.status == 500
    assert "unable to load model" in answer.json["error"]
    assert own_engine.ask("GET", "/api/ps").json == {"models": []}


def test_weights_that_are_no_gguf_do_not_support_chat(own_engine: EngineProcess, tmp_path: Any) -> None:
    blob = max((tmp_path / "models" / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.unlink()
    blob.write_bytes(b"nothing of the kind" * 1000)

    answer = own_engine.post("/api/chat", question("Hi"))

    assert (answer.status, answer.json) == (400, {"error": '"smollm2:135m" does not support chat'})
    assert own_engine.ask("GET", "/api/tags").json["models"][0]["name"] == "smollm2:135m"
