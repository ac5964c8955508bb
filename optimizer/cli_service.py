"""Commands around a search: what other tools may call."""

from __future__ import annotations

import click

from optimizer.terminal import next_step, out


@click.command("serve-embedded")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; other machines reach 0.0.0.0.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes any that is free."
)
def serve_embedded(host: str, port: int) -> None:
    """Serve the embedded model over the OpenAI protocol, for other tools to call, until Ctrl-C."""
    from optimizer.serving import MODEL, serve

    def ready(address: str) -> None:
        out(f"model {MODEL!r} answers at {address}; Ctrl-C ends it")
        next_step(f"OPENAI_API_KEY=none phrasetune tune task.toml --model openai/{MODEL} --api-base {address}")

    serve(host, port, ready)
