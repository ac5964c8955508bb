"""Embeddings from a provider: a model that turns texts into vectors, called through the ledger like any other model.

A request has a batch of texts, each as a message; its completion is their vectors, in half precision as base64. So
results.db caches them, and budget, retries and reports treat them as they treat answers. Does not know what the vectors
are used for.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from optimizer.calls.faults import CallFailed, Fate
from optimizer.errors import ProviderError
from optimizer.ledger import Ledger
from optimizer.models import LONG, Service, classify_raised
from optimizer.records import Completion, Request
from search_spaces.prompt import Message, Settings

Vectors = NDArray[np.float32]
BATCH = 64  # texts per call: every provider accepts so many
KEPT = "<f2"  # half precision: its error of 1/2000 changes no answer


class EmbeddingModel:
    """An embedding model behind LiteLLM; a `RemoteModel` whose completions are vectors.

    Parameters
    ----------
    service
        How LiteLLM reaches it.
    address
        As in `models.Model`.
    price
        US dollars per token; None if not known.
    """

    def __init__(self, service: Service, address: str, price: float | None = None) -> None:
        self.name, self.address, self._service = service.name, address, service
        self.price = None if price is None else (price, 0.0)
        self.destination = service.destination

    async def ask(self, request: Request) -> Completion:
        """Make one attempt.

        Raises
        ------
        CallFailed
            If it returned no vectors.
        """
        # Providers refuse an empty text.
        texts = [message.content if message.content.strip() else "-" for message in request.messages]
        try:
            response = await self._service.litellm.aembedding(
                model=self.name,
                input=texts,
                timeout=LONG,
                num_retries=0,
                max_retries=0,
                drop_params=True,
                encoding_format="float",
                **self._service.told,
            )
        except Exception as error:  # noqa: BLE001 - LiteLLM has no common base class
            raise classify_raised(error) from None
        found = response.model_dump()
        tokens = int((found.get("usage") or {}).get("prompt_tokens") or 0)
        text = _packed([entry.get("embedding") for entry in found.get("data") or []], len(texts))
        return Completion(text, tokens, cost=tokens * (self.price or (0.0, 0.0))[0])

    async def leave(self) -> None:
        """Do nothing: LiteLLM manages its own connections."""


def _packed(vectors: Sequence[Sequence[float]], count: int) -> str:
    """Return `count` vectors, scaled to length 1, as text.

    Raises
    ------
    CallFailed
        If they are not so many finite vectors of one dimension, or if one is zero.
    """
    try:
        array = np.asarray(vectors, dtype=np.float32).reshape(count, -1)
    except (ValueError, TypeError):
        array = np.empty((0, 0), dtype=np.float32)
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    if not array.size or not np.isfinite(lengths).all() or not lengths.all():
        raise CallFailed(Fate.PASSING, f"no {count} vectors of one length were in the answer", billed=True)
    return base64.b64encode((array / lengths).astype(KEPT).tobytes()).decode()


class BoughtVectors:
    """Embeddings of texts, each bought once; an `Embedder` of `rivals.encoder`.

    Parameters
    ----------
    ledger
        The ledger of an `EmbeddingModel`.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.name, self._ledger = ledger.model.name, ledger
        self.priced = ledger.model.price is not None
        self._known: dict[str, tuple[Vectors, Completion]] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts [n, d], buying those that are not known yet.

        Raises
        ------
        ProviderError
            If a text has no vector.
        """
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        batches = [new[start : start + BATCH] for start in range(0, len(new), BATCH)]
        requests = [
            Request(tuple(Message("user", text) for text in batch), Settings(max_tokens=1)) for batch in batches
        ]
        for batch, (_, completion) in zip(batches, self._ledger.complete(requests), strict=True):
            if completion.error:
                raise ProviderError(f"{self.name}: {completion.error}")
            flat = np.frombuffer(base64.b64decode(completion.text), dtype=KEPT).astype(np.float32)
            n = len(batch)
            share = Completion("", round(completion.prompt_tokens / n), 0, completion.cost / n, completion.seconds / n)
            self._known |= {text: (vector, share) for text, vector in zip(batch, flat.reshape(n, -1), strict=True)}
        return np.stack([self._known[text][0] for text in texts])

    def paid(self, texts: Sequence[str]) -> list[Completion]:
        """Return each text's share of the tokens, US dollars and seconds of its call; all must have been bought."""
        return [self._known[text][1] for text in texts]
