"""Serving the embedded model over the OpenAI protocol, for other tools: `phrasetune serve-embedded`.

Offers chat completions with usage, log-probabilities and `n`, and the list of models, but no streaming. Knows the
protocol's format and the embedded model, but nothing of tasks, prompts or results.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from optimizer.embedded import EmbeddedModel
from optimizer.errors import InputError
from optimizer.records import Completion, Request
from search_spaces.prompt import ALTERNATIVES, Message, Settings

MODEL = "embedded"
# Defaults for a request without them. OpenAI's default temperature is 1, but the embedded model answers best at 0.
TEMPERATURE, MAX_TOKENS = 0.0, 256
MOST_BYTES = 64 * 1024**2  # largest request

Body = dict[str, Any]


def read_chat(body: Mapping[str, Any]) -> Request:
    """Read the request of a chat, whose contents may be texts or lists of parts.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If it is not in the protocol's format.
    """
    messages = tuple(Message(str(message["role"]), _text(message["content"])) for message in body["messages"])
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or MAX_TOKENS
    temperature = float(body.get("temperature") or TEMPERATURE)
    return Request(messages, Settings(temperature, int(limit), bool(body.get("logprobs"))))


def write_chat(body: Mapping[str, Any], completions: Sequence[Completion]) -> Body:
    """Return completions in the protocol's format, one choice for each."""
    told = min(int(body.get("top_logprobs") or 0), ALTERNATIVES)
    prompt, written = completions[0].prompt_tokens, sum(completion.completion_tokens for completion in completions)
    return {
        "id": "chatcmpl-embedded",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {
                "index": n,
                "finish_reason": completion.finish_reason,
                "message": {"role": "assistant", "content": completion.text},
                "logprobs": _logprobs(completion, told),
            }
            for n, completion in enumerate(completions)
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written},
    }


def respond(body: Mapping[str, Any]) -> Body:
    """Answer a chat with the embedded model."""
    request = read_chat(body)
    samples = (replace(request, sample=sample) for sample in range(int(body.get("n") or 1)))
    return write_chat(body, [EmbeddedModel().complete(sample) for sample in samples])


def refusal(message: str, code: str | None = None) -> Body:
    """Return an error in the protocol's format."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _text(content: str | Sequence[Mapping[str, str]]) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _logprobs(completion: Completion, told: int) -> Body | None:
    """Return the whole answer as one token, with the likeliest other answers: the model has no smaller tokens."""
    likely = sorted(completion.logprobs, key=lambda pair: -pair[1])
    said = dict(likely).get(completion.text)
    if said is None:
        return None
    others = [{"token": text, "logprob": value, "bytes": None} for text, value in likely[:told]]
    return {"content": [{"token": completion.text, "logprob": said, "bytes": None, "top_logprobs": others}]}


async def _chat(request: web.Request) -> web.Response:
    try:
        body = json.loads(await request.read())
        if body["model"] not in {MODEL, f"phrasetune/{MODEL}"}:
            return web.json_response(refusal(f"no such model; allowed: {MODEL}", "model_not_found"), status=404)
        if body.get("stream"):
            return web.json_response(refusal("streaming is not offered; leave `stream` out"), status=400)
        return web.json_response(respond(body))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return web.json_response(refusal(f"not a chat: {error!r}"), status=400)


async def _models(_request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "phrasetune"}]})


def serve(host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until the process is interrupted.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes any free one.
    ready
        Called with the address for clients once it answers.

    Raises
    ------
    InputError
        If the address cannot be used.
    """
    app = web.Application(client_max_size=MOST_BYTES)
    app.add_routes([web.post("/v1/chat/completions", _chat), web.get("/v1/models", _models)])
    listen(app, host, port, lambda address: ready(f"{address}/v1"))


def listen(app: web.Application, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve an application until the process is interrupted; parameters and errors as in `serve`."""

    async def run() -> None:
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            ready(f"http://{host}:{runner.addresses[0][1]}")
            await asyncio.Event().wait()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise InputError(f"{host}:{port}: cannot be listened at ({why}). Name another --host or --port.") from None
        finally:
            await runner.cleanup()

    asyncio.run(run())
