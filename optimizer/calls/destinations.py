"""Where calls go, and which key goes with them: the address and the name of the key's variable, never its value.

Knows how LiteLLM finds both, and takes the environment as an argument. The address shown is the one used: an address
from the environment is passed to LiteLLM as if the user had given it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from optimizer.events import Destination

# Default addresses that LiteLLM does not report.
USUAL = {
    "anthropic": "https://api.anthropic.com",
    "cohere": "https://api.cohere.com",
    "custom_openai": "https://api.openai.com/v1",
    "gemini": "https://generativelanguage.googleapis.com",
    "ollama_chat": "http://localhost:11434",
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
}
# Providers whose environment variables do not begin with their LiteLLM name.
PREFIXES = {
    "anthropic_text": ("ANTHROPIC",),
    "bedrock": ("AWS",),
    "custom_openai": ("OPENAI",),
    "gemini": ("GEMINI", "GOOGLE"),
    "huggingface": ("HUGGINGFACE", "HF"),
    "ollama_chat": ("OLLAMA",),
    "perplexity": ("PERPLEXITYAI", "PERPLEXITY"),
    "sagemaker": ("AWS",),
    "together_ai": ("TOGETHERAI", "TOGETHER_AI", "TOGETHER"),
    "vertex_ai": ("VERTEXAI", "GOOGLE"),
}
BASE_URL = {"anthropic", "custom_openai", "openai"}  # these have a variable …_BASE_URL besides …_API_BASE
KEYS = ("_API_KEY", "_API_TOKEN", "_ACCESS_KEY_ID", "_BEARER_TOKEN_BEDROCK", "_APPLICATION_CREDENTIALS", "_TOKEN")


def redirected(provider: str, environment: Mapping[str, str]) -> str:
    """Return the address that the environment sets for a provider, or an empty text."""
    endings = ("_BASE_URL", "_API_BASE") if provider in BASE_URL else ("_API_BASE",)
    names = (prefix + ending for prefix in _prefixes(provider) for ending in endings)
    return next((environment[name] for name in names if environment.get(name)), "")


def destination(provider: str, base: str, key: str, environment: Mapping[str, str]) -> Destination:
    """Return where calls to a provider go.

    Parameters
    ----------
    provider
        LiteLLM's name for it.
    base
        The address in use, or an empty text if it is not known.
    key
        The key in use, or an empty text if it is not known. Only the name of its variable is kept.
    environment
        The environment variables of this process.
    """
    base = base or USUAL.get(provider, "")
    own = [prefix + ending for prefix in _prefixes(provider) for ending in KEYS]
    names = [*own, *(name for name in environment if key and name.endswith(KEYS))]
    found = (name for name in names if environment.get(name) and key in {"", environment[name]})
    return Destination(_shown(base) if base else f"the usual address of {provider}", next(found, ""))


def _prefixes(provider: str) -> tuple[str, ...]:
    return PREFIXES.get(provider, (provider.upper(),))


def _shown(base: str) -> str:
    """Return an address without the parts that may be secret: user name, password and query."""
    parts = urlsplit(base)
    host = parts.netloc.rpartition("@")[2]
    shown = f"{parts.scheme}://{host}{parts.path}" if host else base.partition("?")[0].rpartition("@")[2]
    return shown.rstrip("/")
