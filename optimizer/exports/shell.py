"""A shell script that calls the model with curl; the inputs are its arguments.

The request's JSON is in single quotes, which JSON does not need itself; the arguments are converted to JSON by the
shell. The key stays in the environment, and is not visible in the list of processes. Knows nothing of file names and
folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from optimizer.exports.bodies import openai_body
from optimizer.exports.messages import fixed_turns
from optimizer.exports.proof import Draft, Exporter, Facts, Render, Winner, sentences
from search_spaces.prompt import Slot, Turn

SCRIPT = """\
#!/usr/bin/env bash
# A prompt tuned by phrasetune. Arguments: {usage}
# {told_key} OPENAI_BASE_URL names another server, OPENAI_MODEL another model.
# With PRINT=1 the request is shown, and not sent.
set -euo pipefail
export LC_ALL=C  # bytes are taken as they come
shopt -u patsub_replacement 2>/dev/null || true  # newer shells read signs of their own in a replacement

if [ "$#" -ne {count} ]; then
  echo "{count} arguments are needed, in this order: {usage}" >&2
  exit 2
fi

json() {{ # Write a text as the inside of a text of JSON.
  local text=$1 sign code number
  text=${{text//\\\\/\\\\\\\\}}
  text=${{text//\\"/\\\\\\"}}
  if [[ $text == *[[:cntrl:]]* ]]; then
    for number in {{1..31}} 127; do
      printf -v code '\\\\u%04x' "$number"
      printf -v sign "\\\\x$(printf %x "$number")"
      text=${{text//"$sign"/$code}}
    done
  fi
  printf %s "$text"
}}

model={model}
if [ -n "${{OPENAI_MODEL:-}}" ]; then model='"'$(json "$OPENAI_MODEL")'"'; fi
body={body}
if [ -n "${{PRINT:-}}" ]; then
  printf '%s\\n' "$body"
  exit
fi
url={server}
url=${{OPENAI_BASE_URL:-${{url:?is empty: put the address of the model into OPENAI_BASE_URL}}}}
printf %s "$body" | curl --silent --show-error --fail-with-body \\
  --header 'Content-Type: application/json' \\
  --header @<(printf 'Authorization: Bearer %s\\n' "{key}") \\
  --data-binary @- "$url/chat/completions"
"""
BODY = re.compile(r"^body=(.*)$", re.MULTILINE)
PIECE = re.compile(r"""'([^']*)'|"\$model"|"\$\(json "\$\{(\d+)\}"\)\"""")
NOWHERE = "The address of the model is read from OPENAI_BASE_URL."
HOW = "Run it with bash; the inputs are its arguments."


def _draft(winner: Winner) -> Draft:
    turns, inputs = fixed_turns(winner), winner.prompt.inputs
    body = openai_body(winner, [])
    messages = ", ".join(_message(turn, inputs) for turn in turns)
    settings = "".join(f", {_literal(key)}: {_literal(value)}" for key, value in body.items() if key in SETTINGS)
    told = ", ".join(re.sub(r"\W+", " ", name, flags=re.ASCII).strip() or "input" for name in inputs)
    text = SCRIPT.format(
        usage=told,
        count=len(inputs),
        model=f"'{_literal(body['model'])}'",
        server=_server(winner),
        key=_key(winner.facts),
        told_key=_told_key(winner.facts),
        body=f"""'{{"model": '"$model"', "messages": [{messages}]{settings}}}'""",
    )
    how = sentences(HOW, _told_key(winner.facts), "" if winner.facts.server else NOWHERE)
    return Draft(text, winner, note=how, carries=lambda inputs: "\0" not in "".join(inputs.values()))


SETTINGS = ("temperature", "max_tokens")


def _key(facts: Facts) -> str:
    """Read the key from the variable of the model's own provider: another provider's key is not this server's."""
    name = facts.key_variable
    return f"${{{name}:?names no key}}" if name == "OPENAI_API_KEY" else f"${{{name}:-none}}" if name else "none"


def _told_key(facts: Facts) -> str:
    name = facts.key_variable
    return f"The key is read from {name}." if name else "No key is sent."


def _server(winner: Winner) -> str:
    return "'" + winner.facts.server.replace("'", "%27") + "'"


def _message(turn: Turn, inputs: tuple[str, ...]) -> str:
    parts = [
        f"""'"$(json "${{{inputs.index(part.name) + 1}}}")"'""" if isinstance(part, Slot) else _literal(part)[1:-1]
        for part in turn.parts
    ]
    return f'{{"role": {_literal(turn.role)}, "content": "{"".join(parts)}"}}'


def _literal(value: object) -> str:
    """Return JSON without single quotes, which a shell takes literally between single quotes."""
    return json.dumps(value, ensure_ascii=False).replace("'", "\\u0027").replace("\x7f", "\\u007f")


def _read(path: Path, draft: Draft) -> Render:
    """Join the pieces of the body as a shell does."""
    [line] = BODY.findall(path.read_bytes().decode())
    pieces = list(PIECE.finditer(line))
    assert line == "".join(piece.group() for piece in pieces), "the body is one word of a shell"
    order = draft.prompt.inputs

    def render(inputs: Mapping[str, str]) -> list[dict[str, str]]:
        given = [json.dumps(inputs[name])[1:-1] for name in order]
        joined = "".join(
            given[int(piece[2]) - 1] if piece[2] else '"model"' if piece[1] is None else piece[1] for piece in pieces
        )
        return list(json.loads(joined)["messages"])

    return render


def _check(path: Path, draft: Draft) -> str:
    text = path.read_bytes().decode()
    wanted = f"\nmodel='{_literal(draft.winner.facts.bare_model)}'\n"
    server = f"\nurl={_server(draft.winner)}\n"
    settings = [f"{_literal(key)}: {_literal(value)}" for key, value in draft.prompt.settings.to_dict().items()]
    kept = wanted in text and server in text and all(setting in text for setting in settings)
    return "" if kept else "the model, its address or the settings are others"


CURL = Exporter(
    about="a shell script that asks with curl; the inputs are its arguments",
    usual_name="prompt.sh",
    draft=_draft,
    read=_read,
    check=_check,
    fidelity="exact; no argument of a program can hold the sign \\0",
)
